"""How long a client waits before it tries again: arithmetic on given numbers.

Names and formulas follow Brooker, "Exponential Backoff And Jitter" (AWS Architecture Blog, 2015).
"""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

# More doublings would overflow a float and change nothing.
_MOST_DOUBLINGS: Final = 64


class BackoffKind(StrEnum):
    """How the wait grows with the number of failures."""

    NONE = "none"
    FIXED = "fixed"
    EXPONENTIAL = "exponential"


@dataclass(frozen=True, slots=True)
class Backoff:
    """A client's backoff policy.

    Attributes:
        first_seconds: the wait after the first failure, and after every failure if it is fixed.
        longest_seconds: the wait that an exponential backoff grows to.
        jitter: draw the wait uniformly from zero to its full value ("full jitter").
    """

    kind: BackoffKind
    first_seconds: float
    longest_seconds: float
    jitter: bool

    def seconds(self, failures: int, draw: float) -> float:
        """Return the wait before the next try.

        Args:
            failures: how many tries have failed in a row; 0 is before the first try.
            draw: a random number from 0 to 1.
        """
        if self.kind is BackoffKind.NONE:
            return 0.0
        wait = self.first_seconds
        if self.kind is BackoffKind.EXPONENTIAL:
            wait = min(self.longest_seconds, wait * 2.0 ** min(failures, _MOST_DOUBLINGS))
        return wait * draw if self.jitter else wait
