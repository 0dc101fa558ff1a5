"""What differs from connection to connection in an address, a header, a token or a message."""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from loadtests.errors import UsageError

# What looks like a place; JSON in a header does not.
_LIKE_A_PLACE: Final = re.compile(r"\$?\{\s*[A-Za-z_][\w.%-]*\s*\}")
# Filled in once, where a run starts its target.
_PORT: Final = "{port}"
_PLACE: Final = re.compile(
    r"\$\{(?P<env>[A-Z_][A-Z0-9_]*)\}|\{n(?:%(?P<of>[1-9]\d*))?\}"
    r"|\{(?P<kind>feed|saved)\.(?P<name>[^{}]+)\}"
)
_FILE: Final = "@"


def check_places(text: str) -> None:
    """Refuse a place that nothing is filled into. Raises UsageError."""
    for found in _LIKE_A_PLACE.findall(text):
        if found != _PORT and (not _PLACE.fullmatch(found) or saved_names(found)):
            raise UsageError(
                f"nothing is filled in for {found} in {text!r}; there are {{n}}, a connection's "
                "number, {n%10}, its remainder, {feed.NAME}, of its row of the feed, and "
                "${NAME}, of the environment"
            )


def has_places(text: str) -> bool:
    """Tell whether something is filled in, so that the text itself says nothing."""
    return text.startswith(_FILE) or _PLACE.search(text) is not None


def saved_names(text: str) -> set[str]:
    """Give the names for which a text has places of what steps keep (:mod:`loadtests.ready`)."""
    return {found["name"] for found in _PLACE.finditer(text) if found["kind"] == "saved"}


def fill(
    text: str,
    number: int,
    row: Mapping[str, Any] | None = None,
    saved: Mapping[str, str] | None = None,
) -> str:
    """Fill in what is a connection's own, or of the environment.

    ``{n}`` is its number, ``{n%10}`` the number's remainder, for what some have in common,
    ``{feed.user}`` the value ``user`` of its row of the data feed, ``{saved.id}`` what a step
    before the load has kept as ``id``, and ``${TOKEN}`` the variable ``TOKEN``.

    Raises:
        UsageError: there is no such value.
    """
    if "{" not in text:
        return text

    def value(found: re.Match[str]) -> str:
        if found["env"]:
            return _variable(found["env"])
        if found["kind"]:
            return _value(found["kind"], found["name"], row if found["kind"] == "feed" else saved)
        return str(number % int(found["of"]) if found["of"] else number)

    return _PLACE.sub(value, text)


def fill_secret(text: str, number: int, row: Mapping[str, Any] | None = None) -> str:
    """Fill in as :func:`fill` does; ``@PATH`` is what stands in that file, without its line end.

    Raises:
        UsageError: there is no such value, or no such file.
    """
    if not text.startswith(_FILE):
        return fill(text, number, row)
    try:
        return Path(text.removeprefix(_FILE)).read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
        raise UsageError(f"cannot read {text!r}: {why}") from None


def _variable(name: str) -> str:
    try:
        return os.environ[name]
    except KeyError:
        raise UsageError(
            f"the variable {name} is not set; export it, for ${{{name}}} is to be filled in"
        ) from None


def _value(kind: str, name: str, values: Mapping[str, Any] | None) -> str:
    if values is None or name not in values:
        hint = "no feed; name one with --feed" if kind == "feed" else "nothing"
        known = ", ".join(values or ()) or hint
        whose = "the feed, which has" if kind == "feed" else "what the steps keep:"
        raise UsageError(f"{{{kind}.{name}}} is not in {whose} {known}")
    return str(values[name])
