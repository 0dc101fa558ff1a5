"""What repeated runs say: estimates with their 95 % intervals, as pure arithmetic.

The unit is the run: one fresh process each, one number from each. Messages of one run share its
luck and are not independent observations, so nothing here ever looks inside a run.
"""

import math
import statistics
from collections.abc import Sequence
from typing import Final

from reports.claim_result import Estimate
from reports.outcome import Verdict

CONFIDENCE: Final = 0.95
FEWEST_RUNS: Final = 2


def mean_interval(values: Sequence[float]) -> Estimate:
    """Estimate the mean of what each run measured, with Student's t interval (Student 1908).

    Runs that all gave the same value, such as no errors at all, give an interval of zero width: it
    says that these runs did not differ, and their number is shown next to it.

    Raises:
        ValueError: fewer than two values, or one that is not finite.
    """
    _check(values)
    mean = statistics.fmean(values)
    half = _half_width(values)
    return Estimate(mean, mean - half, mean + half, tuple(values))


def level_interval(values: Sequence[float]) -> Estimate:
    """Estimate the level of runs: the geometric mean of values above 0, otherwise the mean.

    Times, sizes and rates scatter from run to run by a factor, which makes their logarithms
    symmetric; the interval is that of the logarithms (Student 1908), transformed back. It never
    reaches below 0, and few runs suffice if the bound is far away.

    Raises:
        ValueError: fewer than two values, or one that is not finite.
    """
    _check(values)
    if not all(value > 0 for value in values):
        return mean_interval(values)
    if len(set(values)) == 1:
        return Estimate(values[0], values[0], values[0], tuple(values))
    return _brought_back([math.log(value) for value in values], tuple(values))


def ratio_interval(values: Sequence[float], baseline: Sequence[float]) -> Estimate:
    """Estimate the factor by which ``values`` differ from ``baseline``, run by run in pairs.

    This is the mean of the logarithms of the pairs' ratios with Student's t interval, transformed
    back: drift between pairs (on a shared machine) cancels out within each.

    Raises:
        ValueError: different numbers of runs, fewer than two pairs, or a value that is not above 0.
    """
    if len(values) != len(baseline):
        raise ValueError(f"{len(values)} runs cannot be paired with {len(baseline)}")
    if any(not value > 0 for value in (*values, *baseline)):
        raise ValueError("a ratio needs values above 0")
    _check(values)
    _check(baseline)
    logs = [math.log(value / base) for value, base in zip(values, baseline, strict=True)]
    return _brought_back(logs, tuple(math.exp(log) for log in logs))


def verdict(estimate: Estimate, low: float, high: float) -> Verdict:
    """Judge whether the figure lies in ``low`` to ``high``; only the whole interval decides."""
    if low <= estimate.low and estimate.high <= high:
        return Verdict.HOLDS
    if estimate.high < low or estimate.low > high:
        return Verdict.REFUTED
    return Verdict.INCONCLUSIVE


def _brought_back(logs: Sequence[float], runs: tuple[float, ...]) -> Estimate:
    mean, half = statistics.fmean(logs), _half_width(logs)
    try:
        high = math.exp(mean + half)
    except OverflowError:
        high = math.inf
    return Estimate(math.exp(mean), math.exp(mean - half), high, runs)


def _half_width(values: Sequence[float]) -> float:
    deviation = statistics.stdev(values)
    if deviation == 0:
        return 0.0
    # Imported here, or every command would start later. Not scipy.stats, which takes seconds.
    from scipy import special  # noqa: PLC0415

    quantile = float(special.stdtrit(len(values) - 1, (1 + CONFIDENCE) / 2))
    return quantile * deviation / math.sqrt(len(values))


def _check(values: Sequence[float]) -> None:
    if len(values) < FEWEST_RUNS:
        raise ValueError(f"an interval needs at least {FEWEST_RUNS} runs, there are {len(values)}")
    if not all(math.isfinite(value) for value in values):
        raise ValueError(f"not every value is a finite number: {list(values)}")
