"""How much two unpaired sets of runs differ, with an exact interval and no assumed distribution.

The only assumptions are that the runs are independent and that both sets have the same spread,
whatever its shape: one may be shifted relative to the other.
"""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from benchmarks.judging.statistics import CONFIDENCE

FEWEST_A_SIDE: Final = 4
"""The fewest runs per side that can show a difference if both sides have equally many.

With 3 and 3, even the most extreme order has a chance of 1 in 20 on each side.
"""


@dataclass(frozen=True, slots=True)
class Shift:
    """The distance of one set above another: the estimate, and the ends of its 95 % interval."""

    value: float
    low: float
    high: float


def is_enough(base_runs: int, head_runs: int) -> bool:
    """Return whether these numbers of runs per side can show any difference at 95 %."""
    return _outside(base_runs, head_runs) is not None


def shift(base: Sequence[float], head: Sequence[float]) -> Shift:
    """Estimate how far ``head`` lies above ``base``.

    The estimate is the median of all differences between a value of one and a value of the other
    (Hodges & Lehmann 1963). The interval lies between two of these differences, such that the
    rank-sum test of Mann & Whitney (1947), with its exact distribution, rejects no shift within it
    (Moses's method: Hollander, Wolfe & Chicken, Nonparametric Statistical Methods, section 4.3).
    If some values are equal, it covers at least as often.

    Raises:
        ValueError: too few values, or one that is not finite.
    """
    outside = _outside(len(base), len(head))
    if outside is None:
        raise ValueError(
            f"an interval needs at least {FEWEST_A_SIDE} runs a side, there are {len(base)} and "
            f"{len(head)}"
        )
    if not all(math.isfinite(value) for value in (*base, *head)):
        raise ValueError("not every value is a finite number")
    differences = sorted(after - before for before in base for after in head)
    return Shift(statistics.median(differences), differences[outside], differences[-1 - outside])


def ratio(base: Sequence[float], head: Sequence[float]) -> Shift:
    """Estimate the factor by which ``head`` differs from ``base``: the shift of the logarithms.

    Raises:
        ValueError: too few values, or one that is not finite and above 0.
    """
    if any(not value > 0 for value in (*base, *head)):
        raise ValueError("a ratio needs values above 0")
    found = shift([math.log(value) for value in base], [math.log(value) for value in head])
    return Shift(math.exp(found.value), math.exp(found.low), math.exp(found.high))


@cache
def _outside(base_runs: int, head_runs: int) -> int | None:
    """Return how many differences lie outside the interval at each end, or None if too few runs."""
    allowed = (1 - CONFIDENCE) / 2 * math.comb(base_runs + head_runs, base_runs)
    orders = 0
    for below, count in enumerate(_rank_sum_counts(base_runs, head_runs)):
        orders += count
        if orders > allowed:
            return below - 1 if below else None
    return None


def _rank_sum_counts(first: int, second: int) -> list[int]:
    """Count the orders of two sets by the number of pairs in which the second's value is below.

    The counts are the coefficients of the Gaussian binomial, the product over i of
    (1 - x^(second+i)) / (1 - x^i); multiplying and dividing by such a factor take one pass each.
    """
    pairs = first * second
    counts = [1, *[0] * pairs]
    for i in range(1, first + 1):
        for at in range(pairs, second + i - 1, -1):
            counts[at] -= counts[at - second - i]
        for at in range(i, pairs + 1):
            counts[at] += counts[at - i]
    return counts
