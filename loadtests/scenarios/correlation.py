"""How our messages are put into the format a server expects, and found in what it sends.

Every message begins with a stamp (``measure/stamp.py``): ASCII that belongs to the run, found
wherever a server puts it. What follows the stamp is also recovered from any number of nested JSON
strings (RFC 8259 section 7), which escape some characters.
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
# How deeply JSON strings may be nested in JSON strings.
_DEEPEST: Final = 8
# Text that is not valid JSON may contain control characters.
_JSON: Final = json.JSONDecoder(strict=False)

SEVERAL: Final = "message:several in one"
"""The error of a message that contains several of ours (:func:`are_several`)."""

Find = Callable[[bytes], bytes | None]


class CorrelatedParameters(Parameters):
    """Parameters settable with ``--param`` where the server may expect its own format."""

    wrap: str | None = None
    """The text to send, with {} for the message, {n} for its sender's number and {saved.x} for what
    its steps kept; without it, the message is sent as it is."""

    find: str | None = None
    """Where to find the message in what arrives: json:a.b.0 or regex:PATTERN with one group;
    without it, anywhere."""

    @field_validator("wrap")
    @classmethod
    def _has_one_hole(cls, wrap: str | None) -> str | None:
        if wrap is not None and wrap.count(_HOLE) != 1:
            raise ValueError("it must contain {} once, for the message")
        return wrap

    @field_validator("find")
    @classmethod
    def _is_a_rule(cls, find: str | None) -> str | None:
        rule(find)
        return find


class PublishedParameters(CorrelatedParameters):
    """The same parameters where some connections publish what others receive."""

    wrap: str | None = Field(None, validation_alias=AliasChoices("wrap", "publish"))
    """The text to publish, with {} for the message, {n} for the publisher's number and {saved.x}
    for what its steps kept; without it, the message is published as it is. May also be called
    publish."""


class Envelope:
    """The payload to send: a message as it is, or wrapped in the server's format."""

    def __init__(self, wrap: str | None, row: Callable[[int], Row | None] = no_row) -> None:
        """Create an envelope.

        Args:
            wrap: the format, with one ``{}`` for the message, and placeholders that are filled in
                for each sender (``plan/template.py``). A message within a JSON string is escaped.
            row: returns a sender's row of the data feed, given its number.
        """
        self._row = row
        self._is_plain = wrap is None
        self._before, _, self._after = (wrap or _HOLE).partition(_HOLE)
        self._known: dict[int, _Around] = {}

    def write(self, message: bytes, number: int, saved: Mapping[str, str] | None = None) -> bytes:
        """Return the payload that a connection sends.

        Args:
            message: the message.
            number: the connection's number.
            saved: what its steps have kept.
        """
        if self._is_plain:
            return message
        around = self._known.get(number)
        # A connection that was reopened has kept something else.
        if around is None or around.saved is not saved:
            around = self._known[number] = self._filled(number, saved)
        # Most messages are letters and digits, which JSON writes as they are.
        if around.is_json and not message.isalnum():
            message = _escaped(message)
        return b"%b%b%b" % (around.before, message, around.after)

    def _filled(self, number: int, saved: Mapping[str, str] | None) -> "_Around":
        row = self._row(number)
        before, after = (fill(part, number, row, saved) for part in (self._before, self._after))
        return _Around(saved, before.encode(), after.encode(), _is_json(f"{before}x{after}"))


class _Around(NamedTuple):
    """The text around one sender's message, and whether it puts the message in a JSON string."""

    saved: Mapping[str, str] | None
    before: bytes
    after: bytes
    is_json: bool


class Reading(NamedTuple):
    """One reading of a text: what precedes its stamp, and everything from the stamp on."""

    before: bytes
    stamped: bytes


def readings(text: bytes, tag: bytes) -> Iterator[Reading]:
    """Yield a text as it is, then as the JSON string around its stamp, and so on.

    Args:
        text: what arrived; nothing is yielded if it does not contain the tag.
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
    """A finder of our messages in what arrives, which counts foreign and ambiguous ones."""

    __slots__ = ("_find", "_recorder", "_stamp_bytes", "_tag")

    def __init__(self, find: str | None, tag: bytes, stamp_bytes: int, recorder: Recorder) -> None:
        """Create a finder.

        Args:
            find: as for :func:`rule`.
            tag: what a stamp begins with.
            stamp_bytes: the length of a stamp.
            recorder: where foreign and ambiguous messages are counted.
        """
        self._find = rule(find)
        self._tag = tag
        self._stamp_bytes = stamp_bytes
        self._recorder = recorder

    def text(self, payload: bytes) -> bytes | None:
        """Return the text for :func:`readings`, or None if it was counted instead."""
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
    # Match whole stamps, because what follows the tag may look like it by chance.
    stamp = b"%b[0-9a-f]{%d}" % (tag, stamp_bytes - len(tag))
    return len(set(re.findall(stamp, text))) > 1


def rule(find: str | None) -> Find | None:
    """Compile a rule into a function that returns the text that contains a message, or None.

    Args:
        find: ``json:a.b.0``, keys and indices down to a string, or ``regex:PATTERN`` whose first
            group is the text; None means no rule.

    Raises:
        ValueError: the rule is none of these.
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
    """Return the string at a path of keys and indices, or None if there is none."""
    try:
        value: Any = json.loads(payload)
        for key in path:
            value = value[int(key)] if isinstance(value, list) else value[key]
    except (ValueError, KeyError, IndexError, TypeError, RecursionError):
        return None
    return value.encode(errors="replace") if isinstance(value, str) else None


def _string_around(text: bytes, place: int) -> bytes | None:
    """Return the decoded JSON string around a position in a text, or None if there is none."""
    quote = text.rfind(b'"', 0, place)
    while quote > 0 and _is_escaped(text, quote):
        quote = text.rfind(b'"', 0, quote)
    if quote < 0:
        return None
    try:
        decoded, _ = _JSON.raw_decode(text[quote:].decode())
    except ValueError:
        return None
    return str(decoded).encode(errors="replace")


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
    """Escape a message for a JSON string; leave it unchanged if it is not text."""
    try:
        return json.dumps(message.decode(), ensure_ascii=False)[1:-1].encode()
    except UnicodeError:
        return message
