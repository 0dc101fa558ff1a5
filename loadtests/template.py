"""What differs from connection to connection in an address, a header, a token or a message."""

import re
from collections.abc import Mapping
from typing import Any, Final

from loadtests.errors import UsageError

# What looks like a place; JSON in a header does not.
_LIKE_A_PLACE: Final = re.compile(r"\{\s*[A-Za-z_][\w.%-]*\s*\}")
# Filled in once, where a run starts its target.
_PORT: Final = "{port}"
_PLACE: Final = re.compile(r"\{n(?:%([1-9]\d*))?\}|\{(feed|saved)\.([^{}]+)\}")


def check_places(text: str) -> None:
    """Refuse a place that nothing is filled into. Raises UsageError."""
    for found in _LIKE_A_PLACE.findall(text):
        if found != _PORT and (not _PLACE.fullmatch(found) or saved_names(found)):
            raise UsageError(
                f"nothing is filled in for {found} in {text!r}; there are {{n}}, a connection's "
                "number, {n%10}, its remainder, and {feed.NAME}, of its row of the feed"
            )


def saved_names(text: str) -> set[str]:
    """Give the names for which a text has places of what steps keep (:mod:`loadtests.ready`)."""
    return {found[3] for found in _PLACE.finditer(text) if found[2] == "saved"}


def fill(
    text: str,
    number: int,
    row: Mapping[str, Any] | None = None,
    saved: Mapping[str, str] | None = None,
) -> str:
    """Fill in what is a connection's own.

    ``{n}`` is its number, ``{n%10}`` the number's remainder, for what some have in common,
    ``{feed.user}`` the value ``user`` of its row of the data feed, and ``{saved.id}`` what a step
    before the load has kept as ``id``.

    Raises:
        UsageError: there is no such value.
    """
    if "{" not in text:
        return text

    def value(found: re.Match[str]) -> str:
        if found[2] is None:
            return str(number % int(found[1]) if found[1] else number)
        values = row if found[2] == "feed" else saved
        if values is None or found[3] not in values:
            hint = "no feed; name one with --feed" if found[2] == "feed" else "kept nothing"
            known = ", ".join(values or ()) or hint
            whose = "the feed, which has" if found[2] == "feed" else "what the steps keep:"
            raise UsageError(f"{{{found[2]}.{found[3]}}} is not in {whose} {known}")
        return str(values[found[3]])

    return _PLACE.sub(value, text)
