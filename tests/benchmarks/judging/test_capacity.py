"""The search ends, soon, around the true capacity, and says so when there is no such thing."""

import math
from collections.abc import Callable

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from benchmarks.judging.capacity import (
    STEP,
    Answer,
    Ending,
    Span,
    Standing,
    Trial,
    TrialResult,
    answer,
    candidates,
    next_load,
)
from benchmarks.judging.knee import knee_interval

Server = Callable[[float], TrialResult]
H, B, N = TrialResult.HELD, TrialResult.BROKE, TrialResult.NOTHING


def found_on(span: Span, server: Server) -> tuple[Answer, list[Trial]]:
    """Search a simulated server; the search has to end."""
    trials: list[Trial] = []
    while (load := next_load(span, trials)) is not None:
        assert span.low <= load <= span.high
        assert load == int(load) or not span.is_whole
        trials.append(Trial(load, server(load)))
        assert len(trials) <= most_runs(span)
    return answer(span, trials), trials


def most_runs(span: Span) -> int:
    """Bound the runs of a search: a load for each step up, and for each halving, of each step."""
    steps = math.log(span.high / span.low, STEP) + 3
    halvings = math.log2(math.log(STEP) / math.log1p(span.precision)) + 3
    return math.ceil(span.repeats * steps * halvings)


def sharp(knee: float) -> Server:
    return lambda load: H if load <= knee else B


spans = st.builds(
    Span,
    low=st.integers(1, 100).map(float),
    high=st.integers(101, 10**6).map(float),
    precision=st.floats(0.01, 1),
    repeats=st.integers(1, 9),
    is_whole=st.booleans(),
)


@given(spans, st.floats(0.001, 2))
def test_a_sharp_knee_lies_between_what_holds_and_what_breaks(span: Span, share: float) -> None:
    knee = span.low * (span.high / span.low) ** share
    assume(share < 0.999)
    found, trials = found_on(span, sharp(knee))
    assert found.ending is Ending.FOUND
    assert found.holds is not None
    assert found.breaks is not None
    assert found.holds <= knee < found.breaks
    is_near = found.breaks <= found.holds * (1 + span.precision)
    # Whole numbers, and numbers as people write them, do not come nearer than this.
    assert is_near or found.breaks - found.holds <= max(1 * span.is_whole, found.holds * 0.02)
    low, high = knee_interval(trials)
    assert min(low, found.holds) <= knee <= max(high, found.breaks)


@given(spans)
def test_the_runs_of_a_sharp_knee_grow_with_the_logarithm_of_the_span(span: Span) -> None:
    _, trials = found_on(span, sharp(math.sqrt(span.low * span.high)))
    steps = math.log(span.high / span.low, STEP) + 2
    halvings = math.log2(math.log(STEP) / math.log1p(span.precision)) + 2
    # One run of what holds, most of them of what breaks, all of them of the two ends.
    needed = span.repeats - span.majority + 1
    assert len(trials) <= steps + halvings * max(needed, 1) + 4 * span.repeats


@given(spans)
def test_a_server_that_holds_everything_is_told_as_above_the_span(span: Span) -> None:
    found, trials = found_on(span, lambda _: H)
    assert (found.ending, found.holds, found.breaks) == (Ending.ABOVE, span.high, None)
    assert sum(trial.load == span.high for trial in trials) == span.repeats


@given(spans)
def test_a_server_that_holds_nothing_is_told_as_below_the_span(span: Span) -> None:
    found, trials = found_on(span, lambda _: B)
    assert (found.ending, found.holds, found.breaks) == (Ending.BELOW, None, span.low)
    assert {trial.load for trial in trials} == {span.low}
    assert len(trials) <= span.repeats


@given(spans, st.integers(0, 2**32), st.floats(0.001, 1))
def test_a_search_ends_whatever_the_server_says(span: Span, seed: int, noise: float) -> None:
    generator = np.random.default_rng(seed)
    knee = math.sqrt(span.low * span.high)

    def moody(load: float) -> TrialResult:
        if generator.random() < noise:
            return (H, B, N)[int(generator.integers(3))]
        return sharp(knee)(load)

    found, trials = found_on(span, moody)
    assert found.ending is not Ending.UNFINISHED
    tried = {it.load: it for it in candidates(span, trials)}
    assert all(it.runs <= span.repeats for it in tried.values())
    # What is said to hold did so in most of its runs, and what breaks did not.
    if found.holds is not None:
        assert tried[found.holds].held >= span.majority
    if found.breaks is not None:
        assert tried[found.breaks].standing is Standing.BREAKS
        assert found.holds is None or found.holds < found.breaks


@given(st.floats(30, 3000), st.integers(0, 2**32))
def test_where_the_generator_is_the_limit_no_capacity_is_told(wall: float, seed: int) -> None:
    generator = np.random.default_rng(seed)
    span = Span(10, 1e5)

    def server(load: float) -> TrialResult:
        # In one of ten runs below it as well.
        return N if load > wall or generator.random() < 0.1 else H

    found, _ = found_on(span, server)
    assert found.ending is Ending.UNJUDGED
    assert found.breaks is None
    assert found.unjudged is not None
    assert found.holds is None or found.holds < found.unjudged


def test_what_breaks_below_the_generators_limit_is_found_all_the_same() -> None:
    found, _ = found_on(Span(100, 1e5), lambda load: N if load > 700 else sharp(500)(load))
    assert found.ending is Ending.FOUND
    assert found.holds is not None
    assert 450 < found.holds <= 500


def test_one_run_that_breaks_by_chance_far_below_is_outvoted() -> None:
    hiccups = iter([B])
    found, _ = found_on(
        Span(100, 1e5), lambda load: next(hiccups, H) if load == 400 else sharp(5000)(load)
    )
    assert found.ending is Ending.FOUND
    assert found.holds is not None
    assert found.holds > 4700


def test_a_larger_load_that_holds_above_one_that_breaks_is_told() -> None:
    # Such as one that is slow only at a certain pace, just where the search looks.
    found, _ = found_on(Span(100, 1e5, 1.0), lambda load: B if 350 < load < 450 else H)
    assert found.ending is Ending.CONTRADICTED
    assert (found.holds, found.breaks, found.contradicting) == (200, 400, (800,))


def test_a_search_that_is_not_over_says_what_is_known() -> None:
    span = Span(100, 1e5)
    trials = [Trial(100, H), Trial(200, H), Trial(200, H), Trial(400, B), Trial(400, B)]
    found = answer(span, trials)
    assert (found.ending, found.holds, found.breaks) == (Ending.UNFINISHED, 200, 400)
    assert answer(span, []).holds is None


@pytest.mark.parametrize(
    ("spread", "lapse", "at_least"), [(0.0, 0.02, 0.95), (0.02, 0.01, 0.95), (0.05, 0.01, 0.95)]
)
def test_the_interval_has_the_true_knee_as_often_as_it_says(
    spread: float, lapse: float, at_least: float
) -> None:
    """Noise as a server has: odds of 9 to 1 turn round over up to a quarter more load."""
    generator = np.random.default_rng(7)
    inside = asked = 0
    for _ in range(200):
        knee = math.exp(generator.uniform(math.log(50), math.log(20_000)))

        def server(load: float, knee: float = knee) -> TrialResult:
            away = math.log(load / knee)
            held = float(away < 0) if not spread else 1 / (1 + math.exp(min(away / spread, 500)))
            return H if generator.random() < lapse + (1 - 2 * lapse) * held else B

        found, trials = found_on(Span(10, 1e5), server)
        if found.holds is None or found.breaks is None:
            continue
        low, high = knee_interval(trials)
        asked += 1
        inside += min(low, found.holds) <= knee <= max(high, found.breaks)
    assert asked > 190
    assert inside / asked >= at_least


def test_more_runs_of_each_load_make_the_interval_narrower() -> None:
    widths = []
    for repeats in (1, 3, 5):
        _, trials = found_on(Span(10, 1e5, repeats=repeats), sharp(777))
        low, high = knee_interval(trials)
        widths.append(high / low)
    assert widths == sorted(widths, reverse=True)
    assert widths[-1] < 1.1


def test_no_interval_comes_of_runs_that_could_not_be_judged() -> None:
    with pytest.raises(ValueError, match="no run could be judged"):
        knee_interval([Trial(10, N)])
