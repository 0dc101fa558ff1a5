"""When arrivals are due: pure arithmetic, without any clock.

Times are integer nanoseconds since the start of the load. In the open model arrivals come from
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
# Past the end of every run, yet still a number of nanoseconds that a timer accepts.
NEVER_NS: Final = 2**61


class ArrivalKind(StrEnum):
    """How the gaps between arrivals are distributed."""

    CONSTANT = "constant"
    POISSON = "poisson"


def constant_arrivals(rate: float, phase: float = 0.0) -> Iterator[int]:
    """Yield the times of evenly spaced arrivals, forever.

    Each time is computed from its number, so the pace does not drift.

    Args:
        rate: arrivals per second, above 0.
        phase: the first arrival's time as a share of one gap; fleets use it to interleave.
    """
    gap_ns = _NS_PER_SECOND / rate
    number = 0
    while True:
        yield round((number + phase) * gap_ns)
        number += 1


def poisson_arrivals(rate: float, seed: int) -> Iterator[int]:
    """Yield the times of a Poisson process, forever: gaps are exponential and independent.

    Args:
        rate: mean arrivals per second, above 0.
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
    """Arrivals at a rate that may change at any time, in steps short enough to follow it.

    Iteration yields times, some of which are not arrivals but the end of a step, at which the rate
    is read again.

    Attributes:
        is_due: whether the last time yielded is that of an arrival.
    """

    def __init__(self, kind: ArrivalKind, rate: Callable[[], float], *, seed: int) -> None:
        """Begin at time 0, with an arrival.

        Args:
            kind: how arrivals are spaced.
            rate: returns the current arrivals per second, 0 or more.
            seed: seed of Poisson arrivals.
        """
        self.is_due = False
        self._kind = kind
        self._rate = rate
        self._draw = random.Random(seed)
        self._elapsed_ns = 0.0
        # The distance to the next arrival, in arrivals.
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
    """Yield the arrivals of a profile, then a time past its end forever.

    Arrivals of rate 1, evenly spaced or from a Poisson process, are mapped through the inverse of
    the profile's integral, which makes them those of the profile (Cinlar 1975, section 4.7).

    Args:
        profile: the rate over time.
        kind: how arrivals are spaced.
        part: the share of the rate that these arrivals make up, above 0.
        seed: seed of Poisson arrivals.
        phase: phase of evenly spaced arrivals, as a share of one gap.
    """
    for unit_ns in arrivals(kind, 1.0, seed=seed, phase=phase):
        seconds = profile.seconds_to(unit_ns / _NS_PER_SECOND / part)
        if seconds == math.inf:
            break
        yield round(seconds * _NS_PER_SECOND)
    while True:
        yield NEVER_NS


def share(total: int, parts: int, part: int) -> int:
    """Return the size of one of ``parts`` parts that differ by at most one and sum to ``total``."""
    return total // parts + (part < total % parts)
