"""What differs from connection to connection in an address, a header or a token."""

import re
from collections.abc import Mapping
from typing import Any, Final

from loadtests.errors import UsageError

_PLACE: Final = re.compile(r"\{n(?:%([1-9]\d*))?\}|\{feed\.([^{}]+)\}")


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
