"""Intervals cover what they say, and nothing without a basis gets one."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from benchmarks.judging.statistics import (
    level_interval,
    mean_interval,
    ratio_interval,
)

values = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=20)
positives = st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=20)


@given(values)
def test_the_interval_is_that_of_student(sample: list[float]) -> None:
    estimate = mean_interval(sample)
    deviation = np.std(sample, ddof=1)
    if deviation < 1e-6:
        return
    low, high = stats.t.interval(
        0.95, len(sample) - 1, np.mean(sample), deviation / math.sqrt(len(sample))
    )
    assert (estimate.low, estimate.high) == pytest.approx((low, high), rel=1e-6, abs=1e-6)
    assert estimate.low <= estimate.value <= estimate.high
    assert estimate.runs == tuple(sample)


def test_95_of_100_intervals_hold_the_true_mean() -> None:
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        estimate = mean_interval(generator.normal(10, 3, 4).tolist())
        held += estimate.low <= 10 <= estimate.high
    assert 0.935 <= held / 2000 <= 0.965


@given(positives, st.floats(0.01, 100))
def test_the_interval_of_a_level_does_not_hang_on_its_unit(
    sample: list[float], factor: float
) -> None:
    estimate = level_interval(sample)
    scaled = level_interval([value * factor for value in sample])
    assert 0 <= estimate.low <= estimate.value * (1 + 1e-9)
    assert estimate.value <= estimate.high * (1 + 1e-9)
    assert estimate.value == pytest.approx(stats.gmean(sample), rel=1e-6)
    assert (scaled.low, scaled.value, scaled.high) == pytest.approx(
        tuple(factor * it for it in (estimate.low, estimate.value, estimate.high)), rel=1e-6
    )
    assert estimate.runs == tuple(sample)


@given(values.filter(lambda sample: min(sample) <= 0))
def test_a_level_that_may_be_0_is_a_mean(sample: list[float]) -> None:
    assert level_interval(sample) == mean_interval(sample)


@pytest.mark.parametrize("runs", [2, 3])
def test_95_of_100_intervals_hold_the_level_of_what_scatters_by_a_factor(runs: int) -> None:
    generator = np.random.default_rng(1)
    held = 0
    for _ in range(2000):
        estimate = level_interval((5 * np.exp(generator.normal(0, 0.3, runs))).tolist())
        held += estimate.low <= 5 <= estimate.high
    assert 0.935 <= held / 2000 <= 0.965


def test_runs_that_agree_are_at_their_level_exactly() -> None:
    estimate = level_interval([0.1, 0.1, 0.1])
    assert (estimate.low, estimate.value, estimate.high) == (0.1, 0.1, 0.1)


def test_levels_far_apart_say_nothing() -> None:
    estimate = level_interval([1e-200, 1e200])
    assert (estimate.low, estimate.high) == (0.0, math.inf)


@given(positives, st.floats(0.01, 100))
def test_a_ratio_to_a_scaled_copy_is_its_factor(sample: list[float], factor: float) -> None:
    estimate = ratio_interval([value * factor for value in sample], sample)
    assert (estimate.low, estimate.value, estimate.high) == pytest.approx((factor,) * 3, rel=1e-6)


@given(positives)
def test_a_ratio_turned_round_is_its_inverse(sample: list[float]) -> None:
    other = list(reversed(sample))
    there, back = ratio_interval(sample, other), ratio_interval(other, sample)
    assert there.value == pytest.approx(1 / back.value, rel=1e-6)


def test_a_drift_that_both_share_does_not_widen_their_ratio() -> None:
    base = [1.0, 2.0, 4.0]
    estimate = ratio_interval([1.1, 2.2, 4.4], base)
    assert estimate.high - estimate.low < 1e-9


def test_runs_that_agree_have_an_interval_of_no_width() -> None:
    estimate = mean_interval([0.0, 0.0, 0.0])
    assert (estimate.low, estimate.high) == (0.0, 0.0)


@pytest.mark.parametrize("sample", [[], [1.0]])
def test_one_run_is_no_basis(sample: list[float]) -> None:
    with pytest.raises(ValueError, match="at least 2 runs"):
        mean_interval(sample)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_what_is_no_number_is_refused(bad: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        mean_interval([1.0, bad])
    with pytest.raises(ValueError, match=r"above 0|finite"):
        ratio_interval([1.0, bad], [1.0, 1.0])


def test_unlike_numbers_of_runs_are_no_pairs() -> None:
    with pytest.raises(ValueError, match="2 runs cannot be paired with 3"):
        ratio_interval([1.0, 2.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="above 0"):
        ratio_interval([1.0, 0.0], [1.0, 2.0])
