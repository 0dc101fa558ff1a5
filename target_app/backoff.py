"""How long to wait before trying again: arithmetic on given numbers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

MOST_DOUBLINGS: Final = 64
"""More of them overflow a float and change nothing."""


@dataclass(frozen=True, slots=True)
class Backoff:
    """Exponential backoff with jitter: twice the time after every failure, up to a limit.

    The wait is drawn from the upper half of its range, so that those who lost the same server at
    the same moment do not come back at the same moment, and nobody comes back at once.
    """

    first_seconds: float
    longest_seconds: float = 60.0

    def seconds(self, failures: int, draw: float) -> float:
        """Return the wait after so many ``failures`` in a row before this one.

        ``draw`` is a random number from 0 to 1.
        """
        doubled = self.first_seconds * 2.0 ** min(failures, MOST_DOUBLINGS)
        longest = min(doubled, max(self.first_seconds, self.longest_seconds))
        return longest * (1 + draw) / 2
