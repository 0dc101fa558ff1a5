"""Limits of an effect that hold at every look, from differences whose signs a coin has drawn.

One difference comes from one *block*: base and head run one after the other, in an order that a
fair coin draws for this block alone. If head differs from base by one constant on the scale of the
differences (by a constant factor, if they are logarithms), each difference minus that constant
would have the opposite sign had the coin fallen the other way, whatever the machine did meanwhile:
drift, outliers and autocorrelation would have been the same. So the signs are independent fair
coins, and tests on signs and ranks are exact (Fisher, The Design of Experiments, 1935, section 21).
This assumes that a run does not affect the next one, and that the noise does not depend on the
draw.

If the effect is not constant, a statement of "at most m" holds as long as the effect is at most m
in every block: no limit here falls when a difference grows. The same applies to "at least m".
"""

import functools
import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


def walsh_averages(differences: Sequence[float]) -> Floats:
    """Return the means of all pairs of differences, including self-pairs, in ascending order.

    Walsh, Annals of Mathematical Statistics 20, 1949.

    Raises:
        ValueError: there is no difference, or one is not finite.
    """
    return _sorted_averages(tuple(differences))


# A gate needs those of the same blocks again at each later look, and at several levels.
@functools.lru_cache(maxsize=128)
def _sorted_averages(differences: tuple[float, ...]) -> Floats:
    values = np.asarray(differences, dtype=np.float64)
    if not values.size:
        raise ValueError("there is no difference to judge")
    if not np.isfinite(values).all():
        raise ValueError(f"not every difference is a finite number: {values.tolist()}")
    # Halve first, so that no sum overflows.
    halves = values / 2
    averages: Floats = (halves[:, np.newaxis] + halves)[np.tri(values.size, dtype=bool)]
    averages.sort()
    averages.flags.writeable = False
    return averages


def pseudo_median(differences: Sequence[float]) -> float:
    """Return the median of the Walsh averages, which a few outliers hardly move.

    Hodges and Lehmann, Annals of Mathematical Statistics 34, 1963. Raise :class:`ValueError` as
    :func:`walsh_averages` does.
    """
    return float(np.median(walsh_averages(differences)))


@functools.cache
def signed_rank_tail(count: int) -> Floats:
    """Return the chance that the signed-rank statistic of ``count`` fair signs is at least 0, 1, ….

    The statistic is the sum of the ranks that have a positive sign, each rank from 1 to ``count``
    with a chance of one half (Wilcoxon, Biometrics Bulletin 1, 1945). The distribution is exact,
    computed by adding one rank at a time; the last entry, 0, is for what cannot be reached.
    """
    chances = np.ones(1)
    for rank in range(1, count + 1):
        with_rank = np.zeros(chances.size + rank)
        with_rank[: chances.size] = chances / 2
        with_rank[rank:] += chances / 2
        chances = with_rank
    tail = np.append(np.cumsum(chances[::-1])[::-1], 0.0)
    tail.flags.writeable = False
    return tail


def lower_limit(differences: Sequence[float], level: float) -> float:
    """Return a lower limit of the effect, with an error of at most ``level``, at one look.

    This is the inverted signed-rank test: the statistic for an effect is the number of Walsh
    averages above it (Tukey 1949), so the limit is the Walsh average beyond which too many lie.
    Differences of the same size and averages equal to the effect make the true error smaller, never
    larger: moved apart by an infinitesimal amount, they could only be counted more often.

    Returns:
        The limit, in the unit of the differences; minus infinity if ``2**-n`` is above the level,
        so that nothing is known.

    Raises:
        ValueError: there is no difference, one is not finite, or the level is not a probability.
    """
    averages, needed = walsh_averages(differences), _needed(len(differences), level)
    return float(averages[-needed]) if needed <= averages.size else -math.inf


def upper_limit(differences: Sequence[float], level: float) -> float:
    """Return an upper limit of the effect, the counterpart of :func:`lower_limit`."""
    averages, needed = walsh_averages(differences), _needed(len(differences), level)
    return float(averages[needed - 1]) if needed <= averages.size else math.inf


def _needed(count: int, level: float) -> int:
    """Return how many Walsh averages on one side of an effect are too many for it."""
    if not 0 <= level < 1:
        raise ValueError(f"{level:g} is not a level; it must be from 0 to below 1")
    tail = signed_rank_tail(count)
    return int(tail.size - np.searchsorted(tail[::-1], level, side="right"))


def power_shares(looks: Sequence[int], exponent: float) -> tuple[float, ...]:
    """Return the share of the permitted error that each look may use; together they are 1.

    At a fraction ``t`` of the last look's blocks ``t**exponent`` has been used (Kim and DeMets,
    Biometrika 74, 1987): evenly with an exponent of 1, late with a larger one. This is alpha
    spending (Lan and DeMets, Biometrika 70, 1983) with the increment as the whole level of a look:
    by the union bound the increments add up to the error, and no joint distribution over the looks
    has to be known.

    The shares are the same for every level, so that what is rejected at one level is rejected at
    every higher one, which Holm's procedure needs.
    """
    used = [(look / looks[-1]) ** exponent for look in looks]
    return tuple(now - before for before, now in zip((0.0, *used), used, strict=False))


def lower_limit_so_far(
    differences: Sequence[float], looks: Sequence[int], shares: Sequence[float], level: float
) -> float:
    """Return the highest limit over all looks so far, with an error of at most ``level`` ever.

    Args:
        differences: one for each block, in the order in which they were made.
        looks: the numbers of blocks after which to look; looks still to come are ignored.
        shares: the share of the level for each look.
        level: the chance that the effect is below the limit after any of the looks.

    Returns:
        The limit; minus infinity before the first look.
    """
    limits = (
        lower_limit(differences[:look], level * share)
        for look, share in zip(looks, shares, strict=True)
        if look <= len(differences)
    )
    return max(limits, default=-math.inf)


def upper_limit_so_far(
    differences: Sequence[float], looks: Sequence[int], shares: Sequence[float], level: float
) -> float:
    """Return the lowest of the upper limits so far; see :func:`lower_limit_so_far`."""
    limits = (
        upper_limit(differences[:look], level * share)
        for look, share in zip(looks, shares, strict=True)
        if look <= len(differences)
    )
    return min(limits, default=math.inf)
