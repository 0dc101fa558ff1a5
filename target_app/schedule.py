"""When something that repeats is due: arithmetic on given times, with no clock of its own."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Ticks:
    """The instants ``start + n * interval`` for n = 1, 2, 3, …, in seconds of any one clock.

    Each is computed from the start, so lateness is never passed on from one to the next.
    """

    start: float
    interval: float

    def after(self, now: float) -> float:
        """Return the first tick later than ``now``; ticks that were missed are left out."""
        n = max(1, math.floor((now - self.start) / self.interval) + 1)
        tick = self.start + n * self.interval
        # Division may round down by one unit in the last place and give the present tick again.
        return tick if tick > now else self.start + (n + 1) * self.interval
