"""Which messages of a stream were to reach a receiver that came or went while it was published.

All of those that were sent while it was there. Who is about to go may go before the last ones come:
of these only what took longer than a message may take is missed.
"""

from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from loadtests.clients.connection import Connection


@dataclass(slots=True)
class Presence:
    """When a receiver was there, by the fleet's clock.

    Attributes:
        begin_ns: from when on it was connected.
        end_ns: when it began to go, or its connection ended; None while it stays.
    """

    begin_ns: int
    end_ns: int | None = None

    def due(
        self, sent_ns: Sequence[int], heard: tuple[int, int] | None, late_ns: int
    ) -> tuple[int, int]:
        """Return the numbers that were to reach it, from the first up to but not with the last.

        Args:
            sent_ns: when each message was sent, in order.
            heard: the lowest number that reached it and the one after the highest, None if none
                has; these were to reach it in any case.
            late_ns: how long a message may take.
        """
        first = bisect_right(sent_ns, self.begin_ns)
        last = len(sent_ns) if self.end_ns is None else bisect_right(sent_ns, self.end_ns - late_ns)
        if first >= last:
            return heard or (first, first)
        return (first, last) if heard is None else (min(first, heard[0]), max(last, heard[1]))


class Attendance:
    """The receivers that come and go.

    Attributes:
        here: those that are here and stay, in the order in which they came.
        presences: when each was here, by what a scenario keeps of it.
    """

    def __init__(self) -> None:
        self.here: dict[Connection, None] = {}
        self.presences: dict[Any, Presence] = {}

    def come(self, connection: Connection, now_ns: int) -> None:
        """Note that one comes, at a time of the fleet's clock."""
        self.here[connection] = None
        self.presences[connection.state] = Presence(now_ns)

    def go(self, connection: Connection, now_ns: int) -> None:
        """Note that one goes, or has gone; the first time counts."""
        if connection in self.here:
            del self.here[connection]
            self.presences[connection.state].end_ns = now_ns
