"""Arrivals keep their rate, do not drift, and are the same for the same seed."""

from itertools import islice

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loadtests.plan.schedule import (
    ArrivalKind,
    arrivals,
    constant_arrivals,
    poisson_arrivals,
    share,
)

rates = st.floats(0.01, 1e6)


@given(rates, st.integers(1, 500), st.floats(0, 1, exclude_max=True))
def test_constant_arrivals_never_drift(rate: float, number: int, phase: float) -> None:
    times = list(islice(constant_arrivals(rate, phase), number))
    assert times[-1] == pytest.approx((number - 1 + phase) / rate * 1e9, abs=1)
    assert times == sorted(times)


@given(st.integers(2, 8), st.floats(1, 1000))
def test_interleaved_processes_keep_the_pace_of_one(parts: int, rate: float) -> None:
    together = sorted(
        time
        for part in range(parts)
        for time in islice(constant_arrivals(rate / parts, part / parts), 10)
    )
    alone = list(islice(constant_arrivals(rate), 10 * parts))
    assert together == pytest.approx(alone, abs=2)


def test_poisson_gaps_are_exponential() -> None:
    times = np.array(list(islice(poisson_arrivals(1000, seed=5), 20_000)))
    gaps = np.diff(times, prepend=0) / 1e9
    assert stats.kstest(gaps, stats.expon(scale=1 / 1000).cdf).pvalue > 0.01


@given(st.integers(0, 2**32))
def test_a_seed_gives_the_same_arrivals_again(seed: int) -> None:
    first, second = (list(islice(poisson_arrivals(50, seed), 100)) for _ in range(2))
    assert first == second
    assert first == sorted(first)


def test_the_kind_chooses_the_process() -> None:
    constant = arrivals(ArrivalKind.CONSTANT, 10, seed=1)
    assert list(islice(constant, 3)) == [0, 100_000_000, 200_000_000]
    poisson = arrivals(ArrivalKind.POISSON, 10, seed=1)
    assert list(islice(poisson, 3)) == list(islice(poisson_arrivals(10, 1), 3))


@given(st.integers(0, 100_000), st.integers(1, 100))
def test_shares_are_even_and_sum_to_the_whole(total: int, parts: int) -> None:
    shares = [share(total, parts, part) for part in range(parts)]
    assert sum(shares) == total
    assert max(shares) - min(shares) <= 1


@given(st.integers(1, 1000), st.integers(1, 20))
def test_a_share_never_shrinks_as_the_whole_grows(total: int, parts: int) -> None:
    for part in range(parts):
        assert share(total, parts, part) <= share(total + 1, parts, part)
