"""The flags of a run as keywords of Python: their own names, and numbers, lists and mappings."""

import difflib
import shlex
from collections.abc import Iterator, Mapping
from typing import Any, Final, get_type_hints

from loadtests.errors import UsageError
from loadtests.run.flags import Flags, flag_of, read_flags

# What a flag may be called as well.
RENAMED: Final = {
    "connections": "count",
    "parameters": "param",
    "thresholds": "threshold",
    "command": "target_cmd",
    "environment": "target_env",
    "cwd": "target_dir",
}
# What is a person's at a terminal, or the caller's own affair.
_LEFT_OUT: Final = ("file", "dry_run", "output", "json_output", "quiet")
_TYPES: Final[Mapping[str, Any]] = get_type_hints(Flags)
DEFAULT_PATH: Final = "/ws"

_FLAGS: Final[Mapping[str, str]] = {
    **{name: name for name in _TYPES if name not in _LEFT_OUT},
    **RENAMED,
}
KEYWORDS: Final = ("path", *_FLAGS)


def flags_of(keywords: Mapping[str, object]) -> Flags:
    """Give the flags that keywords mean; ``None`` leaves one out, or one value of a mapping.

    A flag that may be repeated takes a list, or a mapping where it has the form ``NAME=VALUE``.
    ``path`` is of a server that ``command`` starts, in place of a whole ``url``.

    Raises:
        UsageError: an unknown keyword, or a value that cannot be meant.
    """
    given = {name: value for name, value in keywords.items() if value is not None}
    for name in given:
        if name not in KEYWORDS:
            near = difflib.get_close_matches(name, KEYWORDS, n=1)
            meant = f"; did you mean {near[0]}?" if near else ""
            raise UsageError(f"no keyword is called {name!r}{meant} (docs/pytest.md)")
    url = _url(given)
    words: list[str] = []
    count: list[str] = []
    taken: dict[str, str] = {}
    for name, value in given.items():
        if name in ("path", "url"):
            continue
        flag = _FLAGS[name]
        if flag in taken:
            raise UsageError(f"{name} and {taken[flag]} are the same; leave one of them out")
        taken[flag] = name
        if flag == "count":
            count = [_text(name, value)]
        else:
            words += _words(name, flag, value)
    flags, _ = read_flags([*words, "--", url, *count], {})
    return flags


def _url(given: Mapping[str, object]) -> str:
    """Give the address: what is given, or that of a server on this machine."""
    if "url" in given:
        if "path" in given:
            raise UsageError("url has a path already; leave path out")
        return _text("url", given["url"])
    if not given.keys() & {"command", "target_cmd"}:
        raise UsageError("name the server: command='… {port} …' starts it, or url='ws://…'")
    path = _text("path", given.get("path", DEFAULT_PATH))
    if not path.startswith("/"):
        raise UsageError(f"path {path!r} is no path; write it like {DEFAULT_PATH}")
    return f"ws://127.0.0.1:{{port}}{path}"


def _words(name: str, flag: str, value: object) -> Iterator[str]:
    """Write one flag as a command line has it."""
    written = flag_of(flag)
    if _TYPES[flag] is bool:
        if not isinstance(value, bool):
            raise UsageError(f"{name} is {value!r}; it must be True or False")
        if value:
            yield written
        return
    for item in _items(name, flag, value):
        yield f"{written}={item}"


def _items(name: str, flag: str, value: object) -> Iterator[str]:
    """Give the texts of a flag: one, or as many as it is repeated."""
    is_repeated = "list" in str(_TYPES[flag])
    if is_repeated and isinstance(value, Mapping):
        between = ": " if flag == "header" else "="
        for key, held in value.items():
            if held is not None:
                yield f"{key}{between}{_text(name, held)}"
    elif is_repeated and isinstance(value, list):
        for item in value:
            yield _text(name, item)
    elif flag == "target_cmd" and isinstance(value, list):
        yield shlex.join(_text(name, word) for word in value)
    else:
        yield _text(name, value)


def _text(name: str, value: object) -> str:
    """Write a text or a number."""
    if isinstance(value, bool):
        return str(value).lower()
    if not isinstance(value, str | int | float):
        raise UsageError(f"{name} is {value!r}; it must be a text or a number")
    return str(value)
