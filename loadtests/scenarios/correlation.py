"""How a message of ours is put into what a server expects, and is found in what it sends.

Every message begins with a stamp (``measure/stamp.py``): ASCII that belongs to the run, found
wherever a server has put it. What follows the stamp is found again, too, within any number of JSON
strings (RFC 8259 section 7), which write some characters otherwise.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final, NamedTuple

from pydantic import AliasChoices, Field, field_validator

from loadtests.measure.recorder import Recorder
from loadtests.plan.feed import Row, no_row
from loadtests.plan.template import fill
from loadtests.scenarios.parameters import Parameters

_HOLE: Final = "{}"
# JSON in a string of JSON in a string …
_DEEPEST: Final = 8
# What is no JSON may have control characters in it.
_JSON: Final = json.JSONDecoder(strict=False)

SEVERAL: Final = "message:several in one"
"""The error of a message in which :func:`are_several` of ours are."""

Find = Callable[[bytes], bytes | None]


class CorrelatedParameters(Parameters):
    """What ``--param`` may set where the server may want a form of its own."""

    wrap: str | None = None
    """What is sent, with {} where the message goes, {n} for its sender's number and {saved.x} for
    what its steps kept; as it is if not."""

    find: str | None = None
    """Where the message is in what comes: json:a.b.0 or regex:PATTERN with one group; anywhere if
    not."""

    @field_validator("wrap")
    @classmethod
    def _has_one_hole(cls, wrap: str | None) -> str | None:
        if wrap is not None and wrap.count(_HOLE) != 1:
            raise ValueError("it must have {} once, for the message")
        return wrap

    @field_validator("find")
    @classmethod
    def _is_a_rule(cls, find: str | None) -> str | None:
        rule(find)
        return find


class PublishedParameters(CorrelatedParameters):
    """The same where some publish what others receive."""

    wrap: str | None = Field(None, validation_alias=AliasChoices("wrap", "publish"))
    """What is published, with {} where the message goes, {n} for the publisher's number and
    {saved.x} for what its steps kept; as it is if not. May be called publish, too."""


class Envelope:
    """What is sent: a message as it is, or within a form of the server's."""

    def __init__(self, wrap: str | None, row: Callable[[int], Row | None] = no_row) -> None:
        """Prepare.

        Args:
            wrap: the form, with one ``{}`` for the message, and places that are filled in for each
                sender (``plan/template.py``). A message within a JSON string is escaped.
            row: gives a sender's row of the data feed, by its number.
        """
        self._row = row
        self._is_plain = wrap is None
        self._before, _, self._after = (wrap or _HOLE).partition(_HOLE)
        self._known: dict[int, _Around] = {}

    def write(self, message: bytes, number: int, saved: Mapping[str, str] | None = None) -> bytes:
        """Return what a connection sends.

        Args:
            message: the message.
            number: the connection's.
            saved: what its steps have kept.
        """
        if self._is_plain:
            return message
        around = self._known.get(number)
        # One that was opened again has kept something else.
        if around is None or around.saved is not saved:
            around = self._known[number] = self._filled(number, saved)
        # Most are letters and digits, which JSON writes as they are.
        if around.is_json and not message.isalnum():
            message = _escaped(message)
        return b"%b%b%b" % (around.before, message, around.after)

    def _filled(self, number: int, saved: Mapping[str, str] | None) -> "_Around":
        row = self._row(number)
        before, after = (fill(part, number, row, saved) for part in (self._before, self._after))
        return _Around(saved, before.encode(), after.encode(), _is_json(f"{before}x{after}"))


class _Around(NamedTuple):
    """What stands around a message of one sender, and whether that is a JSON string."""

    saved: Mapping[str, str] | None
    before: bytes
    after: bytes
    is_json: bool


class Reading(NamedTuple):
    """One way to read a text: what stands before its stamp, and all from its stamp on."""

    before: bytes
    stamped: bytes


def readings(text: bytes, tag: bytes) -> Iterator[Reading]:
    """Read a text as it is, then as the JSON string in which its stamp stands, and so on.

    Args:
        text: what came; nothing is given of one without the tag.
        tag: what a stamp begins with.
    """
    read: bytes | None = text
    for _ in range(_DEEPEST):
        start = -1 if read is None else read.find(tag)
        if read is None or start < 0:
            return
        yield Reading(read[:start], read[start:])
        read = _string_around(read, start)


class Finder:
    """Finds the text in which a message of ours came, and counts what is none or not told apart."""

    __slots__ = ("_find", "_recorder", "_stamp_bytes", "_tag")

    def __init__(self, find: str | None, tag: bytes, stamp_bytes: int, recorder: Recorder) -> None:
        """Prepare.

        Args:
            find: as of :func:`rule`.
            tag: what a stamp begins with.
            stamp_bytes: how long one is.
            recorder: where what is not found is counted.
        """
        self._find = rule(find)
        self._tag = tag
        self._stamp_bytes = stamp_bytes
        self._recorder = recorder

    def text(self, payload: bytes) -> bytes | None:
        """Return the text, to be read by :func:`readings`; None if it has been counted."""
        text = payload if self._find is None else self._find(payload)
        if text is None or self._tag not in text:
            self._recorder.unsolicited += 1
            return None
        if are_several(text, self._tag, self._stamp_bytes):
            self._recorder.errors[SEVERAL] += 1
            return None
        return text


def are_several(text: bytes, tag: bytes, stamp_bytes: int) -> bool:
    """Return whether a text has stamps of more than one message, and so is ambiguous."""
    if text.count(tag) < 2:
        return False
    # Whole ones, for what follows the tag may by chance look like it.
    stamp = b"%b[0-9a-f]{%d}" % (tag, stamp_bytes - len(tag))
    return len(set(re.findall(stamp, text))) > 1


def rule(find: str | None) -> Find | None:
    """Make the function of a rule, which gives the text that a message is in, None if it has none.

    Args:
        find: ``json:a.b.0``, keys and indices down to a string, or ``regex:PATTERN`` whose first
            group is the text; None is no rule.

    Raises:
        ValueError: it is none of these.
    """
    if find is None:
        return None
    kind, _, what = find.partition(":")
    if kind == "json" and what:
        path = tuple(what.removeprefix("$.").split("."))
        return lambda payload: _at(payload, path)
    if kind == "regex":
        try:
            pattern = re.compile(what.encode(), re.DOTALL)
        except re.error as error:
            raise ValueError(str(error)) from None
        if pattern.groups == 1:
            return lambda payload: match[1] if (match := pattern.search(payload)) else None
    raise ValueError("write json:a.b.0 or regex:PATTERN with one (group)")


def _at(payload: bytes, path: tuple[str, ...]) -> bytes | None:
    """Return the string at a path of keys and indices, None where there is none."""
    try:
        value: Any = json.loads(payload)
        for key in path:
            value = value[int(key)] if isinstance(value, list) else value[key]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
    return value.encode(errors="replace") if isinstance(value, str) else None


def _string_around(text: bytes, place: int) -> bytes | None:
    """Return what the JSON string around a place of a text says, None where there is none."""
    quote = text.rfind(b'"', 0, place)
    while quote > 0 and _is_escaped(text, quote):
        quote = text.rfind(b'"', 0, quote)
    if quote < 0:
        return None
    try:
        said, _ = _JSON.raw_decode(text[quote:].decode())
    except ValueError:
        return None
    return str(said).encode(errors="replace")


def _is_escaped(text: bytes, place: int) -> bool:
    before = text[:place]
    return (len(before) - len(before.rstrip(b"\\"))) % 2 == 1


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _escaped(message: bytes) -> bytes:
    """Write a message as it stands in a JSON string; what is no text is left as it is."""
    try:
        return json.dumps(message.decode(), ensure_ascii=False)[1:-1].encode()
    except UnicodeError:
        return message
