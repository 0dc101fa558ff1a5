"""When arrivals are due: pure arithmetic, given no clock and asked for none.

Times are integers of nanoseconds since the start of the load. In the open model arrivals come from
here, whether or not earlier replies are back (Schroeder, Wierman and Harchol-Balter 2006).
"""

import math
import random
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final, Self

import numpy as np

from loadtests.plan.rate_profile import Profile

_NS_PER_SECOND: Final = 1_000_000_000
_CHUNK: Final = 1024
_STEP_NS: Final = 20_000_000
# Past the end of every run, and still a number of nanoseconds that a timer takes.
NEVER_NS: Final = 2**61


class ArrivalKind(StrEnum):
    """How the gaps between arrivals are distributed."""

    CONSTANT = "constant"
    POISSON = "poisson"


def constant_arrivals(rate: float, phase: float = 0.0) -> Iterator[int]:
    """Yield the times of arrivals at an even pace, for ever.

    Each time is computed from its number, so the pace does not drift.

    Args:
        rate: arrivals a second, above 0.
        phase: the first arrival's time as a share of one gap; fleets interleave with it.
    """
    gap_ns = _NS_PER_SECOND / rate
    number = 0
    while True:
        yield round((number + phase) * gap_ns)
        number += 1


def poisson_arrivals(rate: float, seed: int) -> Iterator[int]:
    """Yield the times of a Poisson process, for ever: gaps are exponential and independent.

    Args:
        rate: mean arrivals a second, above 0.
        seed: the same seed gives the same times.
    """
    generator = np.random.default_rng(seed)
    elapsed_ns = 0.0
    while True:
        for gap_ns in generator.exponential(_NS_PER_SECOND / rate, _CHUNK).tolist():
            elapsed_ns += gap_ns
            yield round(elapsed_ns)


def arrivals(kind: ArrivalKind, rate: float, *, seed: int, phase: float = 0.0) -> Iterator[int]:
    """Return the arrivals of one kind; see the two generators above."""
    if kind is ArrivalKind.POISSON:
        return poisson_arrivals(rate, seed)
    return constant_arrivals(rate, phase)


class FollowingArrivals:
    """Arrivals at a rate that may change at any time, in steps so short that it is followed.

    Iterating gives times, some of which are no arrivals but the end of a step, at which the rate is
    asked for anew.

    Attributes:
        is_due: whether the time given last is that of an arrival.
    """

    def __init__(self, kind: ArrivalKind, rate: Callable[[], float], *, seed: int) -> None:
        """Begin at time 0, with an arrival.

        Args:
            kind: how arrivals are spaced.
            rate: arrivals a second now, 0 or more.
            seed: of Poisson arrivals.
        """
        self.is_due = False
        self._kind = kind
        self._rate = rate
        self._draw = random.Random(seed)
        self._elapsed_ns = 0.0
        # What is left until the next arrival, in arrivals.
        self._left = 0.0

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> int:
        if self.is_due:
            is_poisson = self._kind is ArrivalKind.POISSON
            self._left = self._draw.expovariate(1.0) if is_poisson else 1.0
        in_step = self._rate() * _STEP_NS / _NS_PER_SECOND
        self.is_due = self._left <= in_step
        if self.is_due:
            self._elapsed_ns += _STEP_NS * self._left / in_step if in_step else 0.0
        else:
            self._left -= in_step
            self._elapsed_ns += _STEP_NS
        return round(self._elapsed_ns)


def profile_arrivals(
    profile: Profile, kind: ArrivalKind, *, part: float, seed: int, phase: float = 0.0
) -> Iterator[int]:
    """Yield the arrivals of a rate that changes, then for ever a time past its end.

    Arrivals at an even pace, or of a Poisson process, of rate 1 are mapped through the inverse of
    the profile's integral, which makes them those of the profile (Cinlar 1975, section 4.7).

    Args:
        profile: the rate over time.
        kind: how arrivals are spaced.
        part: the share of it that these arrivals are, above 0.
        seed: of Poisson arrivals.
        phase: of even ones, as a share of one gap.
    """
    for unit_ns in arrivals(kind, 1.0, seed=seed, phase=phase):
        seconds = profile.seconds_to(unit_ns / _NS_PER_SECOND / part)
        if seconds == math.inf:
            break
        yield round(seconds * _NS_PER_SECOND)
    while True:
        yield NEVER_NS


def share(total: int, parts: int, part: int) -> int:
    """Return the size of one of ``parts`` parts that differ by one at most and sum to ``total``."""
    return total // parts + (part < total % parts)
