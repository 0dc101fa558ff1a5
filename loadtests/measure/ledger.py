"""The delivery ledger of one numbered stream at one receiver: arrivals, repeats and order.

A message is *reordered* when it arrives after one with a higher number (RFC 4737 section 3.3),
*duplicated* when it arrives again, *lost* when it never does. Each is counted separately and
exactly: one lost and one duplicated do not cancel out.
"""

from collections.abc import Iterator
from typing import Final

# The state before a stream that may begin with any number has begun.
_NOT_BEGUN: Final = -1


class Ledger:
    """The sequence numbers seen of one stream: 0, 1, 2, …, or from the first that arrives.

    Attributes:
        begin: the lowest known number of the stream.
        next_expected: the lowest number above all that arrived. The hot path of a receiver may
            compare and advance it in place, as :meth:`observe` does for an arrival in order.
        duplicated: arrivals beyond the first, of all numbers together.
        reordered: first arrivals that came after a higher number.
    """

    __slots__ = ("_missing", "begin", "duplicated", "next_expected", "reordered")

    def __init__(self, *, from_first: bool = False) -> None:
        """Begin with 0 or, if ``from_first``, with whatever number arrives first."""
        self.begin = 0
        self.next_expected = _NOT_BEGUN if from_first else 0
        self.duplicated = 0
        self.reordered = 0
        # Created at the first gap: most streams have none, and there is a ledger per connection.
        self._missing: set[int] | None = None

    def observe(self, sequence: int) -> bool:
        """Record one arrival; return whether it is the first with its number."""
        if not self.has_begun:
            self.begin = self.next_expected = sequence
        if sequence >= self.next_expected:
            if sequence > self.next_expected:
                self._missing = self._missing or set()
                self._missing.update(range(self.next_expected, sequence))
            self.next_expected = sequence + 1
            return True
        if sequence < self.begin:
            self._missing = self._missing or set()
            self._missing.update(range(sequence + 1, self.begin))
            self.begin = sequence
            self.reordered += 1
            return True
        if self._missing and sequence in self._missing:
            self._missing.remove(sequence)
            self.reordered += 1
            return True
        self.duplicated += 1
        return False

    @property
    def has_begun(self) -> bool:
        """Whether the number that the stream begins with is known."""
        return self.next_expected != _NOT_BEGUN

    @property
    def arrived(self) -> int:
        """How many numbers arrived, each counted once."""
        return self.next_expected - self.begin - len(self._missing or ()) if self.has_begun else 0

    def missing(self, sent: int) -> Iterator[int]:
        """Yield the numbers below ``sent`` that never arrived, in order."""
        yield from sorted(self._missing or ())
        yield from range(self.next_expected, sent)

    def lost(self, sent: int) -> int:
        """Count the numbers below ``sent`` that never arrived."""
        return len(self._missing or ()) + max(0, sent - self.next_expected)
