"""How long to wait before trying again."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_app.backoff import Backoff

draws = st.floats(min_value=0, max_value=1)
failures = st.integers(min_value=0, max_value=100_000)
times = st.floats(min_value=1e-3, max_value=1e6)
backoffs = st.builds(Backoff, times, times, st.floats(min_value=1, max_value=1e6))


@pytest.mark.parametrize(
    ("failed", "shortest", "longest"), [(0, 2.5, 5), (1, 5, 10), (2, 10, 20), (4, 30, 60)]
)
def test_the_wait_doubles_from_5_seconds_up_to_a_minute(failed, shortest, longest):
    assert Backoff().seconds(failed, 0.0) == shortest
    assert Backoff().seconds(failed, 1.0) == longest


def test_another_factor_makes_it_grow_otherwise():
    assert [Backoff(1.0, 20.0, 3.0).seconds(failed, 1.0) for failed in range(4)] == [1, 3, 9, 20]


def test_a_first_wait_above_the_longest_stays_what_it_is():
    assert [Backoff(120.0, 60.0).seconds(failed, 1.0) for failed in range(3)] == [120] * 3


def test_ten_thousand_failures_overflow_nothing():
    assert Backoff().seconds(10_000, 1.0) == 60


@given(backoffs, failures, draws)
def test_every_wait_is_between_half_the_first_and_the_longest(backoff, failed, draw):
    longest = max(backoff.first_seconds, backoff.longest_seconds)
    assert backoff.first_seconds / 2 <= backoff.seconds(failed, draw) <= longest


@given(backoffs, failures, draws)
def test_another_failure_never_shortens_the_wait(backoff, failed, draw):
    assert backoff.seconds(failed + 1, draw) >= backoff.seconds(failed, draw)


@given(backoffs, failures, draws, draws)
def test_the_draw_decides_within_a_factor_of_two(backoff, failed, one, another):
    shorter, longer = sorted(backoff.seconds(failed, draw) for draw in (one, another))
    assert longer <= 2 * shorter


@given(backoffs, failures, draws)
def test_a_connection_makes_up_for_its_failures_only_if_it_outlasts_every_wait(
    backoff, failed, draw
):
    longest = max(backoff.first_seconds, backoff.longest_seconds)
    assert backoff.forgives(longest)
    assert not backoff.forgives(math.nextafter(longest, 0))
    assert not backoff.forgives(math.nextafter(backoff.seconds(failed, draw), 0))


@pytest.mark.parametrize("wrong", [0.0, -1.0, math.inf, math.nan])
def test_a_wait_that_is_no_time_is_refused(wrong):
    with pytest.raises(ValueError, match="above 0 and finite"):
        Backoff(wrong)
    with pytest.raises(ValueError, match="above 0 and finite"):
        Backoff(1.0, wrong)


@pytest.mark.parametrize("wrong", [0.5, -2.0, math.inf, math.nan])
def test_a_factor_that_would_shorten_the_wait_is_refused(wrong):
    with pytest.raises(ValueError, match="factor"):
        Backoff(factor=wrong)
