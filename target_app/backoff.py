"""How long to wait before trying again: arithmetic on given numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with jitter: a failure multiplies the wait by ``factor``, up to a limit.

    The wait is drawn from the upper half of its range, so that clients that lost the same server at
    the same moment do not come back at the same moment, and none comes back at once. A first wait
    above the longest is the longest too. Raise :class:`ValueError` for times that are not finite
    and above 0, and for a factor below 1.
    """

    first_seconds: float = 5.0
    longest_seconds: float = 60.0
    factor: float = 2.0

    def __post_init__(self) -> None:
        for seconds in (self.first_seconds, self.longest_seconds):
            if not 0 < seconds < math.inf:
                raise ValueError(f"{self}: its times have to be above 0 and finite")
        if not 1 <= self.factor < math.inf:
            raise ValueError(f"{self}: its factor has to be 1 at least and finite")

    def seconds(self, failures: int, draw: float) -> float:
        """Return the wait after a failure that follows ``failures`` others in a row.

        ``draw`` is a random number from 0 to 1.
        """
        try:
            grown = self.first_seconds * self.factor**failures
        except OverflowError:
            grown = math.inf
        return min(grown, self._limit) * ((1 + draw) / 2)

    def forgives(self, lasted_seconds: float) -> bool:
        """Return whether a connection that lasted this long makes up for the failures before it.

        It has to last for the longest wait: a server that accepts every connection and ends it at
        once is then tried no more often than one that refuses it.
        """
        return lasted_seconds >= self._limit

    @property
    def _limit(self) -> float:
        return max(self.first_seconds, self.longest_seconds)
