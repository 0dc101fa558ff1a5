"""Fit one model to the runs of a series: coefficients, intervals, and whether it fits at all.

The unit is the run, and the figures of runs scatter in proportion to their magnitude: twice the
broadcast time has twice the scatter. So the method is quasi-likelihood with a constant coefficient
of variation (McCullagh & Nelder 1989, chapter 8: weights of one over the square of the fitted
value, found by iteration), which is ordinary least squares on the logarithms for a power law. It
assumes that runs are independent and that their relative scatter is the same at every size;
intervals are Student's t.

Whether the model fits is tested against the scatter of runs of the same size (the F test for lack
of fit: Draper & Smith 1998, section 2.1). If it does not fit, the deviations of the sizes are not
scatter that more runs would average out: the size becomes the unit, with as many degrees of freedom
as there are sizes beyond coefficients, and every interval is as wide as that makes it. The
deviation of a size not yet measured is then a separate component of variance.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Final

import numpy as np

from benchmarks.scaling.models import Floats, Model, Scale

CONFIDENCE: Final = 0.95
FEWEST_SIZES: Final = 3
LACK_OF_FIT: Final = 0.05
"""A model does not fit if the chance of such deviations, were it true, is below this."""

# Ten are more than a scatter of 50 % needs.
_MOST_ROUNDS: Final = 40
_SETTLED: Final = 1e-7


class NotEnoughError(ValueError):
    """Too little data to fit; the message says what is missing."""


@dataclass(frozen=True, slots=True)
class Points:
    """What runs measured: the figure of each run at its size, all above 0."""

    sizes: tuple[float, ...]
    values: tuple[float, ...]

    @property
    def distinct(self) -> tuple[float, ...]:
        """The distinct sizes, smallest first."""
        return tuple(sorted(set(self.sizes)))

    def without(self, size: float) -> "Points":
        """Return the points without the runs of one size."""
        kept = [pair for pair in zip(self.sizes, self.values, strict=True) if pair[0] != size]
        return Points(tuple(n for n, _ in kept), tuple(y for _, y in kept))

    def at(self, size: float) -> tuple[float, ...]:
        """Return what the runs of one size measured."""
        pairs = zip(self.sizes, self.values, strict=True)
        return tuple(value for held, value in pairs if held == size)


@dataclass(frozen=True, slots=True)
class Interval:
    """An estimate and the ends of its interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Fit:
    """A model fitted to points.

    Attributes:
        coefficients: the best ones, none of them below 0 unless the model is logarithmic.
        free: the best ones if they could be; intervals are centred on these, cut off at 0.
        unscaled: their covariance for a relative scatter of 1, by rows.
        scatter: the relative standard deviation on which the intervals of coefficients are based.
        freedom: its degrees of freedom.
        within: the relative standard deviation of runs of the same size.
        between: that of sizes around the model; 0 if it fits.
        lack_of_fit: the chance of deviations this large were the model true; None if there is one
            run per size, or no size beyond the coefficients.
        deviations: how far the runs of each size lie from the model, as the mean of ln(measured /
            fitted), by size.
    """

    model: Model
    points: Points
    coefficients: tuple[float, ...]
    free: tuple[float, ...]
    unscaled: tuple[tuple[float, ...], ...]
    scatter: float
    freedom: int
    within: float
    between: float
    lack_of_fit: float | None
    deviations: tuple[tuple[float, float], ...]

    @property
    def fits(self) -> bool:
        """Whether the scatter of runs explains the deviations."""
        return self.lack_of_fit is None or self.lack_of_fit >= LACK_OF_FIT

    def figure_at(self, size: float) -> float:
        """Return the figure that the model gives at a size."""
        row = self.model.basis(np.array([size]))[0]
        return self.model.figure(size, float(row @ np.array(self.coefficients)))

    def coefficient(self, number: int, confidence: float = CONFIDENCE) -> Interval:
        """Return one coefficient with Student's t interval."""
        half = self._quantile(confidence) * self.scatter * math.sqrt(self.unscaled[number][number])
        low, high = self.free[number] - half, self.free[number] + half
        if self.model.scale is not Scale.LOGARITHM:
            low, high = max(low, 0.0), max(high, 0.0)
        value = self.coefficients[number]
        return Interval(value, min(low, value), max(high, value))

    def ratio(self, above: int, below: int, confidence: float = CONFIDENCE) -> Interval:
        """Return the ratio of two coefficients with Fieller's interval (Fieller 1954).

        Its upper end is infinite if the coefficient below cannot be distinguished from 0.
        """
        t_squared = (self._quantile(confidence) * self.scatter) ** 2
        a, b = self.free[above], self.free[below]
        v_aa, v_bb = self.unscaled[above][above], self.unscaled[below][below]
        v_ab = self.unscaled[above][below]
        lead = b * b - t_squared * v_bb
        if not self.coefficients[below] > 0:
            return Interval(math.nan, 0.0, math.inf)
        value = self.coefficients[above] / self.coefficients[below]
        if not lead > 0:
            return Interval(value, 0.0, math.inf)
        middle = (a * b - t_squared * v_ab) / lead
        inner = middle**2 - (a * a - t_squared * v_aa) / lead
        half = math.sqrt(max(inner, 0.0))
        low, high = max(middle - half, 0.0), max(middle + half, 0.0)
        return Interval(value, min(low, value), max(high, value))

    def prediction(self, size: float, runs: int = 1, confidence: float = CONFIDENCE) -> Interval:
        """Return the predicted mean of ``runs`` new runs at a size, with its interval.

        It includes both the scatter of runs and that of the coefficients, and assumes that the
        model holds that far out. Its lower end is never below that at the largest measured size,
        since no model here ever falls (except for throughput and power laws).
        """
        low, high = self._ends(size, runs, confidence)
        if self.model.scale is Scale.PLAIN:
            largest = max(self.points.sizes)
            floor = self._ends(largest, runs, confidence)[0] if size > largest else 0.0
            low = max(low, floor, 0.0)
        value = self.figure_at(size)
        return Interval(value, min(low, value), max(high, value))

    def _ends(self, size: float, runs: int, confidence: float) -> tuple[float, float]:
        row = self.model.basis(np.array([size]))[0]
        fitted = float(row @ np.array(self.coefficients))
        middle = float(row @ np.array(self.free))
        noise = 1.0 if self.model.scale is Scale.LOGARITHM else fitted
        of_mean = noise**2 * (self.between**2 + self.within**2 / runs)
        of_model = self.scatter**2 * float(row @ np.array(self.unscaled) @ row)
        half = self._quantile(confidence) * math.sqrt(of_mean + of_model)
        # If a coefficient was cut off at 0 the two differ, and the interval includes both.
        ends = (
            self.model.figure(size, min(middle, fitted) - half),
            self.model.figure(size, max(middle, fitted) + half),
        )
        return min(ends), max(ends)

    def _quantile(self, confidence: float) -> float:
        # Imported here, or every command would start later. Not scipy.stats, which takes seconds.
        from scipy import special  # noqa: PLC0415

        return float(special.stdtrit(self.freedom, (1 + confidence) / 2))


def fit(model: Model, points: Points) -> Fit:
    """Fit a model.

    Raises:
        NotEnoughError: fewer than three sizes or fewer sizes than coefficients, or no more runs
            than coefficients.
        ValueError: a figure or a size that is not finite and above 0.
    """
    _check(model, points)
    sizes, values = np.array(points.sizes), np.array(points.values)
    rows, response = model.basis(sizes), model.response(sizes, values)
    (coefficients,), (weights,) = _solve(model, rows, response[None, :])
    fitted = rows @ coefficients
    unscaled = _inverse(rows.T @ (weights[:, None] * rows))
    free = unscaled @ (rows.T @ (weights * response))
    residuals = np.sqrt(weights) * (response - fitted)
    found = _scatter(points, residuals, len(coefficients))
    return Fit(
        model=model,
        points=points,
        coefficients=tuple(coefficients.tolist()),
        free=tuple(free.tolist()),
        unscaled=tuple(tuple(row) for row in unscaled.tolist()),
        scatter=found.scatter,
        freedom=found.freedom,
        within=found.within,
        between=found.between,
        lack_of_fit=found.chance,
        deviations=_deviations(model, coefficients, points),
    )


def predict(model: Model, sizes: Floats, values: Floats, size: float) -> Floats:
    """Fit a model to many samples, one per row, at the same sizes; predict each figure at a size.

    This omits what intervals need; see :func:`fit` for the method.
    """
    coefficients, _ = _solve(model, model.basis(sizes), model.response(sizes, values))
    row = model.basis(np.array([size]))[0]
    return np.array([model.figure(size, float(it)) for it in coefficients @ row])


def _check(model: Model, points: Points) -> None:
    if not all(math.isfinite(it) and it > 0 for it in (*points.sizes, *points.values)):
        raise ValueError("a figure or a size is not a finite number above 0")
    needed = max(FEWEST_SIZES, len(model.coefficients))
    if len(points.distinct) < needed:
        raise NotEnoughError(
            f"{model.label} needs runs of {needed} sizes, there are {len(points.distinct)}"
        )
    if len(points.sizes) <= len(model.coefficients):
        raise NotEnoughError(
            f"{model.label} needs {len(model.coefficients) + 1} runs, there are {len(points.sizes)}"
        )


def _solve(model: Model, rows: Floats, responses: Floats) -> tuple[Floats, Floats]:
    """Return the coefficients for each sample of responses, and the weights used to find them."""
    if model.scale is Scale.LOGARITHM:
        weights = np.ones_like(responses)
        return _least_squares(rows, responses, weights), weights
    fitted, coefficients = responses, np.zeros((len(responses), rows.shape[1]))
    for _ in range(_MOST_ROUNDS):
        before = fitted
        coefficients = _least_squares_above_zero(rows, responses, 1 / before**2)
        fitted = coefficients @ rows.T
        if np.allclose(fitted, before, rtol=_SETTLED, atol=0):
            break
    return coefficients, 1 / fitted**2


def _least_squares(rows: Floats, responses: Floats, weights: Floats) -> Floats:
    normal = np.einsum("mi,ip,iq->mpq", weights, rows, rows)
    right = (weights * responses) @ rows
    solved: Floats = (_inverse(normal) @ right[:, :, None])[:, :, 0]
    return solved


def _inverse(normal: Floats) -> Floats:
    """Invert after scaling each column to length 1: a size and its square are far apart."""
    lengths = np.sqrt(np.diagonal(normal, axis1=-2, axis2=-1))
    outer = lengths[..., :, None] * lengths[..., None, :]
    inverse: Floats = np.linalg.inv(normal / outer) / outer
    return inverse


def _least_squares_above_zero(rows: Floats, responses: Floats, weights: Floats) -> Floats:
    """Return the best coefficients with none below 0, over all subsets that may be above 0."""
    count = rows.shape[1]
    best = np.zeros((len(responses), count))
    least = np.full(len(responses), math.inf)
    # Start with all of them: if they are all above 0, nothing else has to be tried.
    sets = (set_ for size in range(count, 0, -1) for set_ in combinations(range(count), size))
    for kept in sets:
        columns = list(kept)
        part = _least_squares(rows[:, columns], responses, weights)
        fitted = part @ rows[:, columns].T
        squares = np.sum(weights * (responses - fitted) ** 2, axis=1)
        may_be = np.all(part >= 0, axis=1) & np.all(fitted > 0, axis=1)
        better = may_be & (squares < least)
        least[better] = squares[better]
        best[better] = 0.0
        best[np.ix_(better, columns)] = part[better]
        if len(kept) == count and np.all(better):
            break
    return best


@dataclass(frozen=True, slots=True)
class _Scatter:
    """The sources of a fit's scatter, and the chance of its lack of fit."""

    scatter: float
    freedom: int
    within: float
    between: float = 0.0
    chance: float | None = None


def _scatter(points: Points, residuals: Floats, coefficients: int) -> _Scatter:
    groups = [residuals[np.array(points.sizes) == size] for size in points.distinct]
    within = sum(float(np.sum((group - group.mean()) ** 2)) for group in groups)
    total = float(residuals @ residuals)
    between = max(total - within, 0.0)
    free_within = len(residuals) - len(groups)
    free_between = len(groups) - coefficients
    free = len(residuals) - coefficients
    pooled = math.sqrt(total / free)
    if free_within < 1 or free_between < 1:
        return _Scatter(pooled, free, pooled)
    chance = _chance(between / free_between, within / free_within, free_between, free_within)
    if chance >= LACK_OF_FIT:
        return _Scatter(pooled, free, pooled, chance=chance)
    # The mean square between sizes also contains the scatter of the runs, ``each`` of them a size.
    of_sizes, of_runs = between / free_between, within / free_within
    each = len(residuals) / len(groups)
    return _Scatter(
        scatter=math.sqrt(of_sizes),
        freedom=free_between,
        within=math.sqrt(of_runs),
        between=math.sqrt(max(of_sizes - of_runs, 0.0) / each),
        chance=chance,
    )


def _chance(between: float, within: float, free_between: int, free_within: int) -> float:
    """Return the chance of a ratio of variances this large or larger."""
    # Runs that all agree to the last digit of a float have no meaningful scatter.
    if within <= np.finfo(float).eps ** 2:
        return 1.0 if between <= np.finfo(float).eps else 0.0
    from scipy import special  # noqa: PLC0415 - see Fit._quantile

    return float(special.fdtrc(free_between, free_within, between / within))


def _deviations(
    model: Model, coefficients: Sequence[float] | Floats, points: Points
) -> tuple[tuple[float, float], ...]:
    rows = model.basis(np.array(points.distinct))
    fitted = [
        model.figure(size, float(row @ np.asarray(coefficients)))
        for size, row in zip(points.distinct, rows, strict=True)
    ]
    return tuple(
        (size, float(np.mean(np.log(np.array(points.at(size)) / value))))
        for size, value in zip(points.distinct, fitted, strict=True)
    )
