"""How messages travel through a server with its own format: what is sent and what comes back."""

from collections import deque
from collections.abc import Callable
from time import perf_counter_ns

from loadtests.clients.connection import Connection
from loadtests.measure.recorder import Recorder
from loadtests.plan.feed import Row
from loadtests.scenarios.correlation import CorrelatedParameters, Envelope, rule


class Codec:
    """A translator between our messages and the format that a server expects and sends."""

    def __init__(
        self,
        parameters: CorrelatedParameters,
        row: Callable[[int], Row | None],
        recorder: Recorder,
        acknowledged: str | None,
    ) -> None:
        """Create a codec.

        Args:
            parameters: the format, and the rule by which a message is found.
            row: returns a sender's row of the data feed, given its number.
            recorder: where acknowledgements are timed, and messages that are not ours counted.
            acknowledged: a text that every acknowledgement contains; None if there are none.
        """
        self._write = Envelope(parameters.wrap, row).write
        self._find = rule(parameters.find)
        self._recorder = recorder
        self._acknowledged = acknowledged and acknowledged.encode()
        # Acknowledgements carry no number, but come in the order of the messages.
        self._waiting: dict[Connection, deque[int]] = {}
        if self._acknowledged:
            self._time = recorder.durations("acknowledgement").append

    def form_of(self, message: bytes, connection: Connection) -> bytes:
        """Return the payload to send so that ``message`` comes back to a connection. Hot path."""
        if self._acknowledged:
            self._waiting.setdefault(connection, deque()).append(perf_counter_ns())
        return self._write(message, connection.number, connection.saved)

    def forget(self, connection: Connection) -> None:
        """Stop waiting for acknowledgements on a connection."""
        self._waiting.pop(connection, None)

    def text_in(self, connection: Connection, payload: bytes, now_ns: int) -> bytes | None:
        """Return the text that contains a message of ours, or None if there is none. Hot path."""
        if self._acknowledged and self._acknowledged in payload:
            if waiting := self._waiting.get(connection):
                self._time(now_ns - waiting.popleft())
            return None
        text = payload if self._find is None else self._find(payload)
        if text is None:
            self._recorder.unsolicited += 1
        return text
