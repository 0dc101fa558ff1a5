"""What differs from connection to connection in an address, a header or a token."""

import re
from collections.abc import Mapping
from typing import Any, Final

from loadtests.errors import UsageError

# What looks like a place; JSON in a header does not.
_LIKE_A_PLACE: Final = re.compile(r"\{\s*[A-Za-z_][\w.%-]*\s*\}")
# Filled in once, where a run starts its target.
_PORT: Final = "{port}"
_PLACE: Final = re.compile(r"\{n(?:%([1-9]\d*))?\}|\{feed\.([^{}]+)\}")


def check_places(text: str) -> None:
    """Refuse a place that nothing is filled into. Raises UsageError."""
    for found in _LIKE_A_PLACE.findall(text):
        if found != _PORT and not _PLACE.fullmatch(found):
            raise UsageError(
                f"nothing is filled in for {found} in {text!r}; there are {{n}}, a connection's "
                "number, {n%10}, its remainder, and {feed.NAME}, of its row of the feed"
            )


def fill(text: str, number: int, row: Mapping[str, Any] | None = None) -> str:
    """Fill in what is a connection's own.

    ``{n}`` is its number, ``{n%10}`` the number's remainder, for what some have in common, and
    ``{feed.user}`` the value ``user`` of its row of the data feed.

    Raises:
        UsageError: the row has no such value.
    """
    if "{" not in text:
        return text

    def value(found: re.Match[str]) -> str:
        if found[2] is None:
            return str(number % int(found[1]) if found[1] else number)
        if row is None or found[2] not in row:
            known = ", ".join(row or ()) or "no feed; name one with --feed"
            raise UsageError(f"{{feed.{found[2]}}} is not in the feed, which has {known}")
        return str(row[found[2]])

    return _PLACE.sub(value, text)
