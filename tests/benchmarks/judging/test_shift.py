"""The interval between two sets of runs: exact where it can be counted, and it covers."""

import itertools
import math
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.judging.shift import (
    FEWEST_A_SIDE,
    _rank_sum_counts,
    is_enough,
    ratio,
    shift,
)
from benchmarks.judging.statistics import CONFIDENCE

positive = st.floats(1e-6, 1e6)
sides = st.tuples(
    st.lists(positive, min_size=FEWEST_A_SIDE, max_size=9),
    st.lists(positive, min_size=FEWEST_A_SIDE, max_size=9),
)


@pytest.mark.parametrize(("first", "second"), [(1, 1), (2, 3), (4, 4), (5, 3), (1, 6)])
def test_the_distribution_of_the_rank_sum_is_what_counting_every_order_gives(
    first: int, second: int
) -> None:
    places = range(first + second)
    counted = Counter(
        sum(b < a for a in chosen for b in places if b not in chosen)
        for chosen in itertools.combinations(places, first)
    )
    counts = _rank_sum_counts(first, second)
    assert counts == [counted[below] for below in range(first * second + 1)]
    assert sum(counts) == math.comb(first + second, first)


def test_the_interval_leaves_out_what_the_published_tables_say() -> None:
    """The critical values of U, two-sided 5 %, with so many values on each side."""
    for runs, critical in ((4, 0), (5, 2), (6, 5), (8, 13), (10, 23)):
        # Differences are 0, 1, 2 ... in order, each once.
        head = [float(n * runs) for n in range(runs)]
        base = [-float(n) for n in range(runs)]
        found = shift(base, head)
        assert (found.low, found.high) == (critical, runs * runs - 1 - critical)


def test_four_runs_a_side_are_the_fewest_that_can_show_anything() -> None:
    assert is_enough(4, 4)
    assert not is_enough(3, 3)
    assert not is_enough(3, 4)
    assert is_enough(3, 5)
    assert not is_enough(0, 9)
    with pytest.raises(ValueError, match="at least 4 runs a side, there are 3 and 3"):
        shift([1, 2, 3], [4, 5, 6])


@pytest.mark.parametrize("wrong", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_has_no_interval(wrong: float) -> None:
    with pytest.raises(ValueError, match="finite"):
        shift([1, 2, 3, wrong], [1, 2, 3, 4])
    with pytest.raises(ValueError, match=r"finite|above 0"):
        ratio([1, 2, 3, 4], [1, 2, wrong, 4])


@pytest.mark.parametrize("wrong", [0.0, -1.0])
def test_what_is_not_above_nothing_has_no_ratio(wrong: float) -> None:
    with pytest.raises(ValueError, match="above 0"):
        ratio([1, 2, 3, wrong], [1, 2, 3, 4])


@given(sides, st.floats(1e-3, 1e3))
def test_a_head_that_is_so_many_times_as_much_has_so_many_times_the_ratio(
    both: tuple[list[float], list[float]], times: float
) -> None:
    base, head = both
    before, after = ratio(base, head), ratio(base, [times * value for value in head])
    assert after.low == pytest.approx(times * before.low)
    assert after.value == pytest.approx(times * before.value)
    assert after.high == pytest.approx(times * before.high)


@given(sides)
def test_base_and_head_in_each_others_place_have_the_inverse(
    both: tuple[list[float], list[float]],
) -> None:
    base, head = both
    one, other = ratio(base, head), ratio(head, base)
    assert one.low == pytest.approx(1 / other.high)
    assert one.value == pytest.approx(1 / other.value)
    assert one.low <= one.value <= one.high


@given(st.lists(positive, min_size=4, max_size=9), st.randoms())
def test_the_order_of_runs_does_not_matter(values: list[float], random) -> None:
    mixed = random.sample(values, len(values))
    assert ratio(values, values) == ratio(mixed, values)
    assert ratio(values, values).low <= 1 <= ratio(values, values).high


@pytest.mark.parametrize("runs", [(4, 4), (5, 7), (10, 10)])
@pytest.mark.parametrize("noise", ["normal", "cauchy", "few values"])
def test_a_ratio_of_1_is_within_as_often_as_is_said(runs: tuple[int, int], noise: str) -> None:
    """Seeded; the bound is four standard deviations below 95 of 100."""
    random, times = np.random.default_rng(1), 1000
    draw = {
        "normal": lambda n: random.lognormal(0, 0.1, n),
        "cauchy": lambda n: np.exp(0.02 * np.clip(random.standard_cauchy(n), -500, 500)),
        "few values": lambda n: random.integers(1, 4, n).astype(float),
    }[noise]
    covered = 0
    for _ in range(times):
        found = ratio(draw(runs[0]).tolist(), draw(runs[1]).tolist())
        covered += found.low <= 1 <= found.high
    slack = 4 * math.sqrt(CONFIDENCE * (1 - CONFIDENCE) / times)
    assert covered / times >= CONFIDENCE - slack


def test_a_tenth_more_is_found_where_runs_vary_by_three_percent() -> None:
    random = np.random.default_rng(2)
    found = 0
    for _ in range(200):
        base, head = random.lognormal(0, 0.03, 6), 1.1 * random.lognormal(0, 0.03, 6)
        found += ratio(base.tolist(), head.tolist()).low > 1
    assert found >= 190
