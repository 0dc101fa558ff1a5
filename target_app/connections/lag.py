"""The lag of one connection, as a state machine: no socket, no task, no clock.

A connection has a :class:`Lag` from the moment at which a message could not be written at once
until it has caught up. Its driver (:mod:`target_app.connections.catch_up`) writes what
:meth:`Lag.next` returns, one message at a time, and reports the outcome::

    BEHIND ──next() is None, nothing waits─────────────► CAUGHT_UP
       │
       ├──next() is None, a close was requested────────► CLOSING
       ├──run_out(), or no room with policy disconnect─► CLOSING
       └──lose()───────────────────────────────────────► LOST ◄── lose() ── CLOSING

Every message given to it is counted exactly once, as sent, dropped or lost.
"""

from __future__ import annotations

import enum
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, Protocol

if TYPE_CHECKING:
    from target_app.counters import Counters
    from target_app.message import Message

OVERHEAD_BYTES: Final = 16
"""Bytes that a waiting message counts for beyond its frame: its place in the queue."""


class Phase(enum.Enum):
    """What is being done for the connection now."""

    BEHIND = enum.auto()
    """Messages wait, or one is being written."""
    CAUGHT_UP = enum.auto()
    """Everything was sent: messages are written at once again."""
    CLOSING = enum.auto()
    """No more messages will be sent; all that is left is to close the connection."""
    LOST = enum.auto()
    """The connection has ended, or nothing more can be done for it."""


class Close(NamedTuple):
    """How a connection is to be closed."""

    code: int
    reason: str


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much may wait for one connection, for how long, and what happens beyond that.

    An empty queue admits any message, so that one larger than ``bytes`` can still be sent.
    """

    policy: Literal["disconnect", "drop-oldest", "drop-newest"]
    messages: int
    bytes: int
    seconds: float
    """How long writing one message may take, with the policy ``disconnect``."""


class Lag:
    """What one connection still has to be sent, and how that ends."""

    __slots__ = (
        "_bounds",
        "_counters",
        "bytes",
        "close",
        "deadline",
        "phase",
        "waiting",
        "writing",
    )

    def __init__(self, bounds: Bounds, counters: Counters) -> None:
        self._bounds = bounds
        self._counters = counters
        self.phase = Phase.BEHIND
        self.waiting: deque[Message] = deque()
        self.bytes = 0
        """How many bytes the waiting messages count for."""
        self.writing = False
        """Whether a message is being written; it no longer waits."""
        self.deadline: float | None = None
        """When the write in progress has taken too long, in the driver's seconds."""
        self.close: Close | None = None
        """The requested close, to be sent after all that waits. None if it lags too far behind."""

    def push(self, message: Message) -> bool:
        """Queue ``message``; return False if it will not be sent."""
        if self.phase is not Phase.BEHIND or self.close is not None:
            self._counters.messages_lost += 1
            return False
        size = _size(message)
        policy = self._bounds.policy
        if policy == "drop-oldest":
            while not self._fits(size):
                self._take()
                self._counters.messages_dropped += 1
        elif not self._fits(size):
            if policy == "disconnect":
                self._counters.messages_lost += 1
                self._stop(Phase.CLOSING)
            else:
                self._counters.messages_dropped += 1
            return False
        self.waiting.append(message)
        self.bytes += size
        return True

    def close_after(self, close: Close) -> None:
        """Request ``close`` once everything that waits is sent; the first request stands."""
        if self.close is None:
            self.close = close

    def begin(self, now: float) -> None:
        """Note that a message that never waited here is being written as of ``now``."""
        self.writing = True
        self._set_deadline(now)

    def next(self, now: float) -> Message | None:
        """Return the message to write next, or None: the phase then says what to do."""
        assert not self.writing, "the message before is still being written"
        if self.phase is not Phase.BEHIND:
            return None
        if self.waiting:
            message = self._take()
            self.begin(now)
            return message
        self.phase = Phase.CAUGHT_UP if self.close is None else Phase.CLOSING
        return None

    def written(self) -> None:
        """Note that the message in progress was written, even if it was late."""
        self._counters.messages_sent += 1
        self.writing = False

    def run_out(self) -> None:
        """Note that the write in progress was aborted, for lack of time or room: close it."""
        self._abandon()
        if self.phase is Phase.BEHIND:
            self._stop(Phase.CLOSING)

    def lose(self) -> None:
        """Note that the connection has ended: nothing more can be sent."""
        self._abandon()
        self._stop(Phase.LOST)

    def _fits(self, size: int) -> bool:
        return not self.waiting or (
            len(self.waiting) < self._bounds.messages and self.bytes + size <= self._bounds.bytes
        )

    def _take(self) -> Message:
        message = self.waiting.popleft()
        self.bytes -= _size(message)
        return message

    def _set_deadline(self, now: float) -> None:
        if self._bounds.policy == "disconnect":
            self.deadline = now + self._bounds.seconds

    def _abandon(self) -> None:
        self._counters.messages_lost += self.writing
        self.writing = False

    def _stop(self, phase: Phase) -> None:
        # A message being written is not counted here: it may still succeed, and then it was sent.
        self.phase = phase
        self._counters.messages_lost += len(self.waiting)
        self.waiting.clear()
        self.bytes = 0


def _size(message: Message) -> int:
    return len(message.frame) + OVERHEAD_BYTES


class Laggard(Protocol):
    """The driver of one connection's lag, as the connection sees it."""

    @property
    def state(self) -> Lag:
        """What still has to be sent."""

    def push(self, message: Message) -> bool:
        """Queue ``message``; return False if it will not be sent."""
