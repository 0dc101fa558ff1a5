"""How a stamped message travels on endpoints that wrap it: what is sent, and what comes back.

The wires of the reference server never parse JSON: a stamp is ASCII of a known length, so its
reply is found by the run's tag wherever the server has put it.
"""

import json
import re
from collections import deque
from collections.abc import Callable
from time import perf_counter_ns
from typing import Final, Protocol

from loadtests.connection import Connection
from loadtests.errors import UsageError

_QUOTE: Final = b'"'
_HOLE: Final = b"{}"


class Wire(Protocol):
    """What an endpoint makes of a message."""

    def wrap(self, connection: Connection, stamped: bytes) -> bytes:
        """Give what is sent so that ``stamped`` comes back to ``connection``."""

    def unwrap(self, connection: Connection, payload: bytes, now_ns: int) -> bytes | None:
        """Give the stamped message within ``payload``, None if that is no reply. Hot."""


Find = Callable[[bytes], bytes | None]


class EventsWire:
    """``/ws/py_client``: an event that the server sends to the client it names, which is itself."""

    def __init__(self, tag: bytes, stamped_bytes: int) -> None:
        self._tag = tag
        self._bytes = stamped_bytes
        self._ids: dict[Connection, bytes] = {}

    def wrap(self, connection: Connection, stamped: bytes) -> bytes:
        """Address the message to this very connection, by the id that it was given."""
        return b'{"event":"send_to_client","client_id":"%b","data":{"data":{"text":"%b"}}}' % (
            self._ids.get(connection, b""),
            stamped,
        )

    def unwrap(self, connection: Connection, payload: bytes, now_ns: int) -> bytes | None:  # noqa: ARG002
        """Find the stamp; take the id from the event that grants the connection."""
        start = payload.find(self._tag)
        if start >= 0 and payload.startswith(b'{"event":"message"'):
            return payload[start : start + self._bytes]
        _, found, rest = payload.partition(b'"event":"connect","client_id":"')
        if found:
            self._ids[connection] = rest.partition(_QUOTE)[0]
        return None


class SessionWire:
    """``/ws/{session_id}``: a question, acknowledged at once and answered later.

    The answer is the reply; how long the acknowledgement took is timed beside it.
    """

    def __init__(self, tag: bytes, stamped_bytes: int, acknowledged: Callable[[int], None]) -> None:
        self._tag = tag
        self._bytes = stamped_bytes
        self._acknowledgement = acknowledged
        # Acknowledgements carry no number, but come in the order of the questions.
        self._asked: dict[Connection, deque[int]] = {}

    def wrap(self, connection: Connection, stamped: bytes) -> bytes:
        """Ask the message as a question."""
        self._asked.setdefault(connection, deque()).append(perf_counter_ns())
        return b'{"type":"STUDENT_INTERRUPTION","payload":{"questionText":"%b"}}' % stamped

    def unwrap(self, connection: Connection, payload: bytes, now_ns: int) -> bytes | None:
        """Find the stamp in an answer; time an acknowledgement."""
        start = payload.find(self._tag)
        if start >= 0 and b"INTERRUPTION_ANSWER" in payload:
            return payload[start : start + self._bytes]
        if b"INTERRUPTION_ACKNOWLEDGED" in payload and (asked := self._asked.get(connection)):
            self._acknowledgement(now_ns - asked.popleft())
        return None


class FoundWire:
    """Any server that wraps a message: a template makes what is sent, a rule finds the reply."""

    def __init__(self, template: bytes | None, find: Find | None) -> None:
        self._before, _, self._after = (template or _HOLE).partition(_HOLE)
        self._find = find

    def wrap(self, connection: Connection, stamped: bytes) -> bytes:  # noqa: ARG002
        """Put the message where the template has its hole."""
        return b"%b%b%b" % (self._before, stamped, self._after)

    def unwrap(self, connection: Connection, payload: bytes, now_ns: int) -> bytes | None:  # noqa: ARG002
        """Find the message by the rule; without one a reply is what was sent."""
        if self._find is not None:
            return self._find(payload)
        end = len(payload) - len(self._after)
        if not (payload.startswith(self._before) and payload.endswith(self._after)):
            return None
        return payload[len(self._before) : end]


def found_wire(wrap: str | None, find: str | None) -> FoundWire | None:
    """Make the wire of a correlation rule; None where messages travel as they are.

    Args:
        wrap: the template of what is sent, with one ``{}``.
        find: ``json:a.b.0``, keys and indices down to a string, or ``regex:PATTERN`` whose first
            group is the message.

    Raises:
        UsageError: no such rule, or a template without its ``{}``.
    """
    if wrap is not None and wrap.encode().count(_HOLE) != 1:
        raise UsageError(f"parameter wrap is {wrap!r}; it must have {{}} once, for the message")
    if wrap is None and find is None:
        return None
    return FoundWire(wrap.encode() if wrap else None, None if find is None else _rule(find))


def _rule(find: str) -> Find:
    kind, _, rule = find.partition(":")
    if kind == "json" and rule:
        path = tuple(rule.removeprefix("$.").split("."))
        return lambda payload: _at(payload, path)
    if kind == "regex":
        try:
            pattern = re.compile(rule.encode(), re.DOTALL)
        except re.error as error:
            raise UsageError(f"parameter find is {find!r}: {error}") from None
        if pattern.groups == 1:
            return lambda payload: match[1] if (match := pattern.search(payload)) else None
    raise UsageError(
        f"parameter find is {find!r}; write json:a.b.0 or regex:PATTERN with one (group)"
    )


def _at(payload: bytes, path: tuple[str, ...]) -> bytes | None:
    """Give the string at a path of keys and indices, None where there is none."""
    try:
        value = json.loads(payload)
        for key in path:
            value = value[int(key)] if isinstance(value, list) else value[key]
    except (ValueError, KeyError, IndexError, TypeError):
        return None
    return value.encode() if isinstance(value, str) else None
