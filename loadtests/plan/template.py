"""Placeholders for what differs between connections in addresses, headers, tokens and messages."""

import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from loadtests.errors import UsageError

# What looks like a placeholder; JSON in a header does not.
_LIKE_A_PLACE: Final = re.compile(r"\$?\{\s*[A-Za-z_][\w.%-]*\s*\}")
# Filled in once, when a run starts its target.
_PORT: Final = "{port}"
_PLACE: Final = re.compile(
    r"\$\{(?P<env>[A-Z_][A-Z0-9_]*)\}|\{n(?:%(?P<of>[1-9]\d*))?\}"
    r"|\{(?P<kind>feed|saved)\.(?P<name>[^{}]+)\}"
)
_FILE: Final = "@"


def check_places(text: str) -> None:
    """Reject a placeholder that nothing is filled in for. Raises UsageError."""
    for found in _LIKE_A_PLACE.findall(text):
        if found != _PORT and (not _PLACE.fullmatch(found) or saved_names(found)):
            raise UsageError(
                f"unknown placeholder {found} in {text!r}; there are {{n}}, a connection's "
                "number, {n%10}, its remainder, {feed.NAME}, of its row of the feed, and "
                "${NAME}, of the environment"
            )


def split_places(text: str) -> list[tuple[str, str]]:
    """Split a text into pairs of literal text and the placeholder after it, the last one empty."""
    pairs, end = [], 0
    for found in _PLACE.finditer(text):
        pairs.append((text[end : found.start()], found[0]))
        end = found.end()
    return [*pairs, (text[end:], "")]


def is_file(text: str) -> bool:
    """Return whether a secret is to be read from a file."""
    return text.startswith(_FILE)


def feed_names(text: str) -> set[str]:
    """Return the names in a row of the feed that a text has placeholders for."""
    return {found["name"] for found in _PLACE.finditer(text) if found["kind"] == "feed"}


def saved_names(text: str) -> set[str]:
    """Return the names of values saved by steps (``ready.py``) that a text has placeholders for."""
    return {found["name"] for found in _PLACE.finditer(text) if found["kind"] == "saved"}


def fill(
    text: str,
    number: int,
    row: Mapping[str, Any] | None = None,
    saved: Mapping[str, str] | None = None,
    *,
    quote: Callable[[str], str] = str,
) -> str:
    """Fill in values of a connection or of the environment.

    ``{n}`` is its number, ``{n%10}`` the number's remainder, for what several have in common,
    ``{feed.user}`` the value ``user`` of its row of the data feed, ``{saved.id}`` what a step
    before the load has saved as ``id``, and ``${TOKEN}`` the variable ``TOKEN``. Each value is
    passed through ``quote``.

    Raises:
        UsageError: there is no such value.
    """
    if "{" not in text:
        return text

    def value(found: re.Match[str]) -> str:
        if found["env"]:
            return quote(_variable(found["env"]))
        if found["kind"]:
            values = row if found["kind"] == "feed" else saved
            return quote(_value(found["kind"], found["name"], values))
        return str(number % int(found["of"]) if found["of"] else number)

    return _PLACE.sub(value, text)


def fill_secret(text: str, number: int, row: Mapping[str, Any] | None = None) -> str:
    """Fill in as :func:`fill` does; ``@PATH`` is the content of that file, without its line end.

    Raises:
        UsageError: there is no such value, or no such file.
    """
    if not is_file(text):
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
            f"the variable {name} is not set; export it, because ${{{name}}} refers to it"
        ) from None


def _value(kind: str, name: str, values: Mapping[str, Any] | None) -> str:
    if values is None or name not in values:
        hint = "no feed; name one with --feed" if kind == "feed" else "nothing"
        known = ", ".join(values or ()) or hint
        whose = "the feed, which has" if kind == "feed" else "what the steps keep:"
        raise UsageError(f"{{{kind}.{name}}} is not in {whose} {known}")
    return str(values[name])
