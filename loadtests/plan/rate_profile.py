"""A load that changes over time: a rate as a piecewise linear function, and its integral.

Pure arithmetic. Ramps, steps, spikes and holds are all segments that go linearly from one rate to
another.
"""

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Final

from reports.units import parse_rate, parse_seconds

_SEGMENT: Final = re.compile(r"\s*(\S+?)(?:\s*\.\.\s*(\S+))?\s+for\s+(\S+)\s*")
_EXAMPLE: Final = "0..1k/s for 10s, 1k/s for 30s"


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a profile: the rate, in arrivals per second, goes linearly from begin to end."""

    begin: float
    end: float
    seconds: float

    @property
    def arrivals(self) -> float:
        """The number of arrivals: the area under the segment."""
        return (self.begin + self.end) / 2 * self.seconds

    def seconds_to(self, arrivals: float) -> float:
        """Return when this many of its arrivals have come, in seconds since its start.

        This solves begin·t + (end - begin)/(2·seconds)·t² = arrivals, in the form that loses no
        digits when the slope is small (Press et al., Numerical Recipes, section 5.6).
        """
        slope = (self.end - self.begin) / self.seconds
        root = math.sqrt(max(0.0, self.begin**2 + 2 * slope * arrivals))
        total = self.begin + root
        return min(self.seconds, 2 * arrivals / total) if total else 0.0


@dataclass(frozen=True)
class Profile:
    """A sequence of segments."""

    segments: tuple[Segment, ...]

    @property
    def seconds(self) -> float:
        """How long it lasts."""
        return sum(segment.seconds for segment in self.segments)

    @property
    def arrivals(self) -> float:
        """How many arrivals it has in total."""
        return sum(segment.arrivals for segment in self.segments)

    @cached_property
    def _ends(self) -> Sequence[tuple[float, float]]:
        """For each segment, the arrivals and the seconds up to its end."""
        arrivals = accumulate(segment.arrivals for segment in self.segments)
        seconds = accumulate(segment.seconds for segment in self.segments)
        return tuple(zip(arrivals, seconds, strict=True))

    def seconds_to(self, arrivals: float) -> float:
        """Return when this many arrivals have come, in seconds since the start; inf if never."""
        before = elapsed = 0.0
        for segment, (until, ends) in zip(self.segments, self._ends, strict=True):
            if arrivals < until or (arrivals == until and arrivals > before):
                return elapsed + segment.seconds_to(arrivals - before)
            before, elapsed = until, ends
        return math.inf

    def __str__(self) -> str:
        return ", ".join(
            (
                f"{segment.begin:g}/s for {segment.seconds:g}s"
                if segment.begin == segment.end
                else f"{segment.begin:g}..{segment.end:g}/s for {segment.seconds:g}s"
            )
            for segment in self.segments
        )


def parse_profile(text: str) -> Profile:
    """Parse a profile such as ``0..1k/s for 10s, 1k/s for 30s, 5k/s for 2s, 1k..0/s for 5s``.

    Raises:
        ValueError: a part is invalid; the message names it and shows the notation.
    """
    return Profile(tuple(_parse_segment(part) for part in text.split(",")))


def _parse_segment(text: str) -> Segment:
    match = _SEGMENT.fullmatch(text)
    if match is None:
        raise ValueError(f"{text.strip()!r} is not part of a profile; write it like {_EXAMPLE}")
    begin = parse_rate(match[1])
    end = parse_rate(match[2]) if match[2] else begin
    seconds = parse_seconds(match[3])
    if seconds <= 0 or begin < 0 or end < 0:
        raise ValueError(f"{text.strip()!r} has a negative rate or no duration")
    return Segment(begin, end, seconds)
