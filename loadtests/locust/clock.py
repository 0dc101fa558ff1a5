"""The offset of another host's clock from ours, and its uncertainty: arithmetic on readings.

Each reading is a question and its answer over one connection (Cristian 1989): the other clock was
read some time between the two, so half the round trip bounds the error, however long each way took.
The reading with the shortest round trip says the most.
"""

import math
from collections import deque
from dataclasses import dataclass
from typing import Final

# Clocks drift by up to 100 parts per million: the older a reading, the less it says.
_DRIFT: Final = 100e-6
_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class Reading:
    """When we asked, what the other clock showed, when it answered; in ns of each clock."""

    asked_ns: int
    there_ns: int
    answered_ns: int


@dataclass(frozen=True, slots=True)
class Offset:
    """The other clock minus ours, which lies within ``uncertainty_ns`` of ``offset_ns``."""

    offset_ns: int
    uncertainty_ns: int


SAME_CLOCK: Final = Offset(0, 0)


def offset_of(reading: Reading, now_ns: int) -> Offset:
    """Return the offset according to one reading now."""
    half_ns = (reading.answered_ns - reading.asked_ns) / 2
    # The other clock may have been read as soon as we asked.
    age_ns = max(now_ns, reading.answered_ns) - reading.asked_ns
    return Offset(
        round(reading.there_ns - reading.asked_ns - half_ns),
        math.ceil(half_ns + age_ns * _DRIFT) + 1,
    )


class ClockEstimate:
    """The latest readings of one other clock."""

    def __init__(self) -> None:
        self._readings: deque[Reading] = deque(maxlen=_KEPT)

    def add(self, reading: Reading) -> None:
        """Add a reading."""
        self._readings.append(reading)

    @property
    def count(self) -> int:
        """The number of readings."""
        return len(self._readings)

    def best(self, now_ns: int) -> Offset | None:
        """Return the most certain offset, or None before the first reading."""
        offsets = (offset_of(reading, now_ns) for reading in self._readings)
        return min(offsets, key=lambda offset: offset.uncertainty_ns, default=None)
