"""Known laws come back from noisy runs, and intervals hold the truth as often as they say."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.scaling.fit import NotEnoughError, Points, fit
from benchmarks.scaling.models import (
    AMDAHL,
    LINE,
    LINEARITHMIC,
    POWER,
    QUADRATIC,
    UNIVERSAL,
    Floats,
    Model,
)

SIZES = (2_000.0, 5_000.0, 10_000.0, 20_000.0)
WORKERS = (1.0, 2.0, 4.0, 8.0)
TIMES = 400
Law = Callable[[Floats], Floats]


def usl(n: Floats) -> Floats:
    return 1_000 * n / (1 + 0.05 * (n - 1) + 0.01 * n * (n - 1))


LAWS: dict[str, tuple[Model, Law, tuple[float, ...]]] = {
    "line": (LINE, lambda n: 5e7 + 15_000 * n, SIZES),
    "quadratic": (QUADRATIC, lambda n: 0.01 + 1e-5 * n + 1e-9 * n * n, SIZES),
    "n log n": (LINEARITHMIC, lambda n: 0.002 + 1e-6 * n * np.log(n), SIZES),
    "power": (POWER, lambda n: 1e-5 * n**1.3, SIZES),
    "amdahl": (AMDAHL, lambda n: 1_000 * n / (1 + 0.05 * (n - 1)), WORKERS),
    "usl": (UNIVERSAL, usl, WORKERS),
}


def runs(law: Law, sizes: tuple[float, ...], noise: Floats) -> Points:
    n = np.repeat(sizes, len(noise) // len(sizes))
    return Points(tuple(n.tolist()), tuple((law(n) * np.exp(noise)).tolist()))


def within(hits: int, times: int, nominal: float) -> bool:
    """Whether so many hits are what a rate would give, but for one chance in a million."""
    low, high = stats.binom.interval(1 - 1e-6, times, nominal)
    return bool(low <= hits <= high)


@pytest.mark.parametrize("name", LAWS)
def test_a_law_without_noise_comes_back_whole(name: str) -> None:
    model, law, sizes = LAWS[name]
    fitted = fit(model, runs(law, sizes, np.zeros(12)))
    far = 500 * sizes[-1]
    assert fitted.figure_at(far) == pytest.approx(float(law(np.array(far))), rel=1e-5)
    assert fitted.fits


@pytest.mark.parametrize("name", ["line", "power", "amdahl"])
def test_95_of_100_predictions_hold_a_run_ten_times_further_out(name: str) -> None:
    model, law, sizes = LAWS[name]
    generator, hits, far = np.random.default_rng(1), 0, 10 * sizes[-1]
    truth = float(law(np.array(far)))
    for _ in range(TIMES):
        fitted = fit(model, runs(law, sizes, generator.normal(0, 0.05, 12)))
        run = truth * math.exp(generator.normal(0, 0.05))
        interval = fitted.prediction(far)
        hits += interval.low <= run <= interval.high
    # A fit that is refused by chance has wider intervals, so somewhat more may be held.
    assert within(hits, TIMES, 0.95) or within(hits, TIMES, 0.965)


@pytest.mark.parametrize("new_runs", [1, 3, 30])
def test_95_of_100_predictions_hold_where_sizes_lie_off_the_law_themselves(new_runs: int) -> None:
    """Many runs of a size are no surer than the size is of lying on the law."""
    sizes, generator, hits, kept = (*SIZES, 30_000.0, 40_000.0), np.random.default_rng(7), 0, 0
    for _ in range(TIMES):
        off = np.repeat(generator.normal(0, 0.1, 6), 3)
        fitted = fit(LINE, runs(LAWS["line"][1], sizes, off + generator.normal(0, 0.02, 18)))
        measured = (5e7 + 15_000 * 25_000) * np.exp(
            generator.normal(0, 0.1) + generator.normal(0, 0.02, new_runs)
        ).mean()
        interval = fitted.prediction(25_000, new_runs)
        kept += not fitted.fits
        hits += bool(interval.low <= measured <= interval.high)
    assert kept >= 0.9 * TIMES
    assert within(hits, TIMES, 0.95) or within(hits, TIMES, 0.965)


def test_95_of_100_intervals_hold_the_slope() -> None:
    generator, hits = np.random.default_rng(2), 0
    for _ in range(TIMES):
        interval = fit(
            LINE, runs(LAWS["line"][1], SIZES, generator.normal(0, 0.05, 12))
        ).coefficient(1)
        hits += interval.low <= 15_000 <= interval.high
    assert within(hits, TIMES, 0.95) or within(hits, TIMES, 0.965)


def test_95_of_100_intervals_hold_contention_and_coherency() -> None:
    generator, contention, coherency = np.random.default_rng(3), 0, 0
    for _ in range(TIMES):
        fitted = fit(UNIVERSAL, runs(usl, WORKERS, generator.normal(0, 0.03, 12)))
        held = fitted.ratio(1, 0)
        contention += held.low <= 0.05 <= held.high
        held = fitted.ratio(2, 0)
        coherency += held.low <= 0.01 <= held.high
    for hits in (contention, coherency):
        assert within(hits, TIMES, 0.95) or within(hits, TIMES, 0.965)


def test_a_line_is_that_of_weighted_least_squares() -> None:
    """Against numpy's own fit, with the weights that ours came to."""
    noise = np.random.default_rng(4).normal(0, 0.1, 12)
    points = runs(LAWS["line"][1], SIZES, noise)
    fitted = fit(LINE, points)
    n, y = np.array(points.sizes), np.array(points.values)
    weights = 1 / np.array([fitted.figure_at(it) for it in n])
    slope, start = np.polyfit(n, y, 1, w=weights)
    assert fitted.coefficients == pytest.approx((start, slope), rel=1e-6)


def test_a_straight_line_in_a_parabola_s_clothes_is_found_not_to_fit() -> None:
    noise = np.random.default_rng(5).normal(0, 0.01, 12)
    points = runs(lambda n: 1e-8 * n * n + 1e-4 * n, SIZES, noise)
    line, parabola = fit(LINE, points), fit(QUADRATIC, points)
    assert not line.fits
    assert parabola.fits
    # What lies off the line by size cannot be averaged out by runs: few degrees of freedom.
    assert line.freedom == 2
    assert line.scatter > 5 * parabola.scatter


positives = st.floats(1e-3, 1e6)


@given(
    st.sampled_from(sorted(LAWS)),
    st.lists(st.floats(-0.3, 0.3), min_size=12, max_size=12),
    st.floats(1.5, 100),
)
def test_projections_widen_with_distance(name: str, noise: list[float], further: float) -> None:
    model, law, sizes = LAWS[name]
    fitted = fit(model, runs(law, sizes, np.array(noise)))
    near = fitted.prediction(2 * sizes[-1])
    far = fitted.prediction(2 * sizes[-1] * further)
    assume(math.isfinite(far.high) and near.low > 0)
    assert near.low <= near.value <= near.high
    assert far.low <= far.value <= far.high
    if model.scale == "plain":
        assert far.high - far.low >= (near.high - near.low) * (1 - 1e-9)
    else:
        # A throughput may shrink again; its interval widens in proportion.
        assume(far.low > 0)
        assert far.high / far.low >= near.high / near.low * (1 - 1e-9)


@given(st.lists(st.floats(-0.5, 0.5), min_size=12, max_size=12), positives)
def test_another_unit_changes_the_figure_and_nothing_else(noise: list[float], unit: float) -> None:
    points = runs(LAWS["line"][1], SIZES, np.array(noise))
    scaled = Points(points.sizes, tuple(value * unit for value in points.values))
    one, other = fit(QUADRATIC, points), fit(QUADRATIC, scaled)
    assert other.scatter == pytest.approx(one.scatter, rel=1e-4, abs=1e-12)
    assert other.figure_at(1e6) == pytest.approx(one.figure_at(1e6) * unit, rel=1e-4)


@given(st.lists(st.floats(-0.9, 0.9), min_size=12, max_size=12))
def test_no_coefficient_is_ever_below_0_and_no_law_falls(noise: list[float]) -> None:
    for model in (LINE, QUADRATIC, LINEARITHMIC):
        fitted = fit(model, runs(lambda n: 3e8 - 1e4 * n, SIZES, np.array(noise)))
        assert min(fitted.coefficients) >= 0
        assert fitted.figure_at(1e6) >= fitted.figure_at(2e4) * (1 - 1e-12)
        assert fitted.prediction(1e7).low >= 0


def test_a_mean_of_runs_is_predicted_more_closely_than_one() -> None:
    fitted = fit(LINE, runs(LAWS["line"][1], SIZES, np.random.default_rng(6).normal(0, 0.1, 12)))
    one, three = fitted.prediction(1e5), fitted.prediction(1e5, runs=3)
    assert three.high - three.low < one.high - one.low
    sure = fitted.prediction(1e5, confidence=0.99)
    assert sure.high - sure.low > one.high - one.low


@pytest.mark.parametrize(
    ("model", "sizes", "complaint"),
    [
        (LINE, (1.0, 2.0), "line needs runs of 3 sizes, there are 2"),
        (LINE, (1.0, 1.0, 1.0), "line needs runs of 3 sizes, there are 1"),
        (QUADRATIC, (1.0, 2.0, 3.0), "quadratic needs 4 runs, there are 3"),
    ],
)
def test_too_little_is_refused_in_words(
    model: Model, sizes: tuple[float, ...], complaint: str
) -> None:
    with pytest.raises(NotEnoughError, match=complaint):
        fit(model, Points(sizes, tuple(1.0 for _ in sizes)))


@pytest.mark.parametrize("wrong", [math.nan, math.inf, 0.0, -1.0])
def test_a_figure_that_is_none_is_refused(wrong: float) -> None:
    with pytest.raises(ValueError, match="not a finite number above 0"):
        fit(LINE, Points((1.0, 2.0, 3.0), (1.0, 2.0, wrong)))
