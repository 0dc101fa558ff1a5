"""How messages travel on a server with a form of its own: what is sent, and what comes back."""

from collections import deque
from collections.abc import Callable
from time import perf_counter_ns

from loadtests.clients.connection import Connection
from loadtests.measure.recorder import Recorder
from loadtests.plan.feed import Row
from loadtests.scenarios.correlation import CorrelatedParameters, Envelope, rule


class Codec:
    """Puts messages into the form that a server expects, and finds them in what it sends."""

    def __init__(
        self,
        parameters: CorrelatedParameters,
        row: Callable[[int], Row | None],
        recorder: Recorder,
        acknowledged: str | None,
    ) -> None:
        """Prepare.

        Args:
            parameters: the form, and the rule by which a message is found.
            row: gives a sender's row of the data feed, by its number.
            recorder: where acknowledgements are timed, and what is no message of ours is counted.
            acknowledged: what acknowledges a message has this in it; None where nothing does.
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
        """Return what is sent so that ``message`` comes back to a connection. Hot."""
        if self._acknowledged:
            self._waiting.setdefault(connection, deque()).append(perf_counter_ns())
        return self._write(message, connection.number, connection.saved)

    def forget(self, connection: Connection) -> None:
        """Wait for nothing of a connection any more."""
        self._waiting.pop(connection, None)

    def text_in(self, connection: Connection, payload: bytes, now_ns: int) -> bytes | None:
        """Return the text in which a message of ours is; None if there is none. Hot."""
        if self._acknowledged and self._acknowledged in payload:
            if waiting := self._waiting.get(connection):
                self._time(now_ns - waiting.popleft())
            return None
        text = payload if self._find is None else self._find(payload)
        if text is None:
            self._recorder.unsolicited += 1
        return text
