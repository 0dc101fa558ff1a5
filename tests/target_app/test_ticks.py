"""When something that repeats is due."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_app.lifecycle.ticks import Ticks, Turns


@pytest.mark.parametrize(
    ("now", "due"),
    [(100.0, 110.0), (99.0, 110.0), (109.999, 110.0), (110.0, 120.0), (145.0, 150.0)],
)
def test_the_next_tick_is_the_first_multiple_later_than_now(now, due):
    assert Ticks(start=100.0, interval=10.0).after(now) == due


@pytest.mark.parametrize("interval", [0.1, 1 / 3, 7.0, 1e-3])
def test_each_tick_follows_the_one_before_and_none_is_given_twice(interval):
    ticks = Ticks(start=12345.678, interval=interval)
    now = ticks.start
    for n in range(1, 2000):
        now = ticks.after(now)
        assert math.isclose(now, 12345.678 + n * interval, rel_tol=1e-12)
        assert ticks.number(now) == n


@pytest.mark.parametrize(
    ("now", "number"), [(99.0, 0), (100.0, 0), (109.9, 0), (110.0, 1), (119.9, 1), (145.0, 4)]
)
def test_the_number_of_a_tick_is_how_many_have_come(now, number):
    assert Ticks(start=100.0, interval=10.0).number(now) == number


intervals = st.floats(min_value=1e-3, max_value=1e4)
phases = st.integers(min_value=1, max_value=256)


@given(phases, intervals, st.integers(min_value=0, max_value=10_000))
def test_every_phase_has_exactly_one_turn_in_any_whole_interval(count, interval, start):
    turns = Turns(count, interval)
    assert sorted(turns.between(start, start + turns.per_interval)) == list(range(count))


@given(phases, intervals, st.lists(st.integers(min_value=0, max_value=50), max_size=20))
def test_turns_taken_in_pieces_are_those_taken_at_once(count, interval, steps):
    turns = Turns(count, interval)
    done, taken = 0, []
    for step in steps:
        now = done + min(step, turns.per_interval)
        taken += turns.between(done, now)
        done = now
    at_once = [phase for n in range(done) for phase in turns.between(n, n + 1)]
    assert taken == at_once


@given(phases, intervals, st.integers(min_value=0, max_value=10_000))
def test_after_a_long_stall_nobody_has_two_turns(count, interval, missed):
    turns = Turns(count, interval)
    taken = list(turns.between(0, turns.per_interval + missed))
    assert sorted(taken) == list(range(count))


@given(phases, intervals)
def test_the_ticks_of_an_interval_fill_it(count, interval):
    turns = Turns(count, interval)
    assert math.isclose(turns.tick_seconds * turns.per_interval, interval)
    assert turns.per_interval <= count
