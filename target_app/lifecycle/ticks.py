"""When something that repeats is due: arithmetic on given times, without a clock."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

SHORTEST_TICK_SECONDS: Final = 0.02
"""Below this, several phases share a turn: waking up costs more than spreading them gains."""


@dataclass(frozen=True, slots=True)
class Ticks:
    """The instants ``start + n * interval`` for n = 1, 2, 3, …, in seconds of any one clock.

    Each is computed from the start, so lateness is never passed on from one to the next.
    """

    start: float
    interval: float

    def after(self, now: float) -> float:
        """Return the first tick later than ``now``; ticks that were missed are skipped."""
        n = max(1, math.floor((now - self.start) / self.interval) + 1)
        tick = self.start + n * self.interval
        # Division may round down by one unit in the last place and give the present tick again.
        return tick if tick > now else self.start + (n + 1) * self.interval

    def number(self, now: float) -> int:
        """Return how many ticks have come by ``now``."""
        # after() is the first tick yet to come, so the one before it is the last that has come.
        return round((self.after(now) - self.start) / self.interval) - 1


@dataclass(frozen=True, slots=True)
class Turns:
    """The turns of an interval that is divided into ``phases`` equal parts.

    Each phase of an interval has its turn at exactly one tick; a tick has one phase, or several
    when the interval is too short for one each.
    """

    phases: int
    interval: float

    @property
    def per_interval(self) -> int:
        """The number of ticks in an interval."""
        return max(1, min(self.phases, math.floor(self.interval / SHORTEST_TICK_SECONDS)))

    @property
    def tick_seconds(self) -> float:
        """The time from one tick to the next."""
        return self.interval / self.per_interval

    def between(self, done: int, now: int) -> Iterator[int]:
        """Yield the phases whose turn came after tick ``done``, up to and including tick ``now``.

        Yield each at most once, however many ticks were missed.
        """
        ticks = self.per_interval
        for n in range(max(done, now - ticks) + 1, now + 1):
            part = n % ticks
            yield from range(
                math.ceil(part * self.phases / ticks), math.ceil((part + 1) * self.phases / ticks)
            )
