"""Which messages of a stream were due to a receiver that came or went while it was published.

All messages sent while it was there. A receiver may leave before the last of them arrive: of these,
only a message that took longer than allowed counts as missed.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loadtests.clients.connection import Connection


@dataclass(slots=True)
class Presence:
    """The period in which a receiver was connected, by the fleet's clock.

    Attributes:
        begin_ns: when it connected.
        end_ns: when it began to leave or its connection ended; None while it stays.
    """

    begin_ns: int
    end_ns: int | None = None

    def due(
        self, sent_ns: Sequence[int], received: tuple[int, int] | None, late_ns: int
    ) -> tuple[int, int]:
        """Return the first sequence number due to the receiver, and the one after the last.

        Args:
            sent_ns: when each message was sent, in order.
            received: the lowest number that reached it and the one after the highest, or None if
                none did; these were due in any case.
            late_ns: how long a message may take.
        """
        first = bisect_right(sent_ns, self.begin_ns)
        last = len(sent_ns) if self.end_ns is None else bisect_right(sent_ns, self.end_ns - late_ns)
        if first >= last:
            return received or (first, first)
        return (
            (first, last) if received is None else (min(first, received[0]), max(last, received[1]))
        )


class Attendance:
    """The receivers that come and go.

    Attributes:
        here: those that are connected and staying, in order of arrival.
        presences: when each was connected, keyed by the state that a scenario keeps for it.
    """

    def __init__(self) -> None:
        self.here: dict[Connection, None] = {}
        self.presences: dict[Any, Presence] = {}

    def come(self, connection: Connection, now_ns: int) -> None:
        """Record that a receiver arrives, at a time on the fleet's clock."""
        self.here[connection] = None
        self.presences[connection.state] = Presence(now_ns)

    def go(self, connection: Connection, now_ns: int) -> None:
        """Record that a receiver is leaving or has left; the first time counts."""
        if connection in self.here:
            del self.here[connection]
            self.presences[connection.state].end_ns = now_ns
