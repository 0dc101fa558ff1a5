"""How a stamped message travels on endpoints that wrap it: what is sent, and what comes back.

The wires of the reference server never parse JSON: a stamp is ASCII of a known length, so its
reply is found by the run's tag wherever the server has put it.
"""

from collections import deque
from collections.abc import Callable
from time import perf_counter_ns
from typing import Final, Protocol

from loadtests.connection import Connection
from loadtests.correlation import Envelope, Find

_QUOTE: Final = b'"'


class Wire(Protocol):
    """What an endpoint makes of a message."""

    def wrap(self, connection: Connection, stamped: bytes) -> bytes:
        """Give what is sent so that ``stamped`` comes back to ``connection``."""

    def unwrap(self, connection: Connection, payload: bytes, now_ns: int) -> bytes | None:
        """Give the text in which the stamped message is, None if it is no reply. Hot."""


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


class CorrelatedWire:
    """Any server that wraps a message: a form makes what is sent, a rule finds the reply."""

    def __init__(self, envelope: Envelope, find: Find | None) -> None:
        self._write = envelope.write
        self._find = find

    def wrap(self, connection: Connection, stamped: bytes) -> bytes:
        """Put the message where the form has its hole."""
        return self._write(stamped, connection.number, connection.saved)

    def unwrap(self, connection: Connection, payload: bytes, now_ns: int) -> bytes | None:  # noqa: ARG002
        """Find the text in which the message is; without a rule that is all of it."""
        return payload if self._find is None else self._find(payload)
