"""How often something may be done: a token bucket, arithmetic on given times."""

from __future__ import annotations


class TokenBucket:
    """A bucket that lets ``per_second`` pass on average, and ``burst`` at once.

    It is full at first. Times are seconds of any one clock that does not go back.
    """

    __slots__ = ("_burst", "_filled_at", "_per_second", "_tokens")

    def __init__(self, per_second: float, burst: float, now: float) -> None:
        self._per_second = per_second
        self._burst = burst
        self._tokens = burst
        self._filled_at = now

    def take(self, now: float) -> bool:
        """Take one token if there is one at ``now``; return whether there was."""
        earned = (now - self._filled_at) * self._per_second
        self._tokens = min(self._burst, self._tokens + earned)
        self._filled_at = now
        if self._tokens < 1:
            return False
        self._tokens -= 1
        return True
