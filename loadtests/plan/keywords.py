"""Options of a run as Python keyword arguments: by name, with numbers, lists and mappings."""

import shlex
from collections.abc import Mapping
from typing import Any, Final

from loadtests.errors import UsageError
from loadtests.plan.option import Kind
from loadtests.plan.run_options import OF_THE_OUTPUT, OPTIONS, RunOption
from reports.figures import nearest

# Alternative names of options.
RENAMED: Final = {
    "connections": "count",
    "parameters": "param",
    "thresholds": "threshold",
    "command": "target_cmd",
    "environment": "target_env",
    "cwd": "target_dir",
}
DEFAULT_PATH: Final = "/ws"

_OPTIONS: Final[Mapping[str, str]] = {
    **{name: name for name in OPTIONS if name not in OF_THE_OUTPUT},
    **RENAMED,
}
KEYWORDS: Final = ("path", *_OPTIONS)


def given_by(keywords: Mapping[str, object]) -> dict[str, Any]:
    """Return the options given by keywords; ``None`` omits a keyword, or one value of a mapping.

    A repeatable option takes a list, or a mapping if it has the form ``NAME=VALUE``. ``path`` is
    for a server that ``command`` starts, in place of a whole ``url``.

    Raises:
        UsageError: an unknown keyword, or an invalid value.
    """
    wanted = {name: value for name, value in keywords.items() if value is not None}
    for name in wanted:
        if name not in KEYWORDS:
            raise UsageError(
                f"no keyword is called {name!r}{nearest(name, KEYWORDS)} (docs/pytest.md)"
            )
    given: dict[str, Any] = {"url": _url(wanted)}
    taken: dict[str, str] = {}
    for name, value in wanted.items():
        if name in ("path", "url"):
            continue
        option = OPTIONS[_OPTIONS[name]]
        if option.name in taken:
            raise UsageError(f"{name} and {taken[option.name]} are the same; leave one of them out")
        taken[option.name] = name
        text = _as_on_the_command_line(name, option, value)
        _check(option, text)
        # A command line omits a switch that is off.
        if text is not False:
            given[option.name] = text
    return given


def _check(option: RunOption, given: object) -> None:
    try:
        option.read(given)
    except ValueError as error:
        raise UsageError(f"{option.flag}: {error}") from None


def _url(wanted: Mapping[str, object]) -> str:
    """Return the address: the one given, or that of a server on this machine."""
    if "url" in wanted:
        if "path" in wanted:
            raise UsageError("url has a path already; leave path out")
        return _text("url", wanted["url"])
    if not wanted.keys() & {"command", "target_cmd"}:
        raise UsageError("name the server: command='… {port} …' starts it, or url='ws://…'")
    path = _text("path", wanted.get("path", DEFAULT_PATH))
    if not path.startswith("/"):
        raise UsageError(f"path {path!r} is not a path; write it like {DEFAULT_PATH}")
    return f"ws://127.0.0.1:{{port}}{path}"


def _as_on_the_command_line(name: str, option: RunOption, value: object) -> object:
    """Return the value as a command line would give it."""
    if option.kind is Kind.SWITCH:
        if not isinstance(value, bool):
            raise UsageError(f"{name} is {value!r}; it must be True or False")
        return value
    if option.kind is Kind.LIST:
        return _texts(name, option, value)
    if option.name == "target_cmd" and isinstance(value, list):
        return shlex.join(_text(name, word) for word in value)
    return _text(name, value)


def _texts(name: str, option: RunOption, value: object) -> list[str]:
    """Return the texts of a repeated option."""
    if isinstance(value, Mapping):
        between = ": " if option.name == "header" else "="
        held = {key: item for key, item in value.items() if item is not None}
        return [f"{key}{between}{_text(name, item)}" for key, item in held.items()]
    return [_text(name, item) for item in (value if isinstance(value, list) else [value])]


def _text(name: str, value: object) -> str:
    """Return a text or a number as text."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise UsageError(f"{name} is {value!r}; it must be a text or a number")
    return str(value)
