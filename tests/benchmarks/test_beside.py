"""A server is judged by its ratio to a reference of the same round, and by nothing else."""

from collections.abc import Iterator, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.beside import Beside, Bound
from reports.verdict import Verdict

COSTS = {"ours": 1.3, "reference": 1.0}


def measured(slowness: list[float], costs: Mapping[str, float] = COSTS) -> Beside:
    """Measure once for each number, on a machine that is so many times slower then."""
    times: Iterator[float] = iter([each for each in slowness for _ in costs])
    beside = Beside(list(costs), lambda name: {"cost": costs[name] * next(times)})
    for _ in slowness:
        beside.round()
    return beside


@given(st.lists(st.floats(0.01, 100), min_size=2, max_size=8))
def test_how_slow_the_machine_is_changes_no_verdict(slowness: list[float]) -> None:
    beside = measured(slowness)
    for bound, wanted in (
        (Bound(at_most=1.6), Verdict.HOLDS),
        (Bound(at_least=1.2), Verdict.HOLDS),
        (Bound(at_most=1.2), Verdict.REFUTED),
        (Bound(at_least=1.6), Verdict.REFUTED),
    ):
        assert beside.compare("cost", "ours", "reference", bound).verdict is wanted


def test_one_lucky_round_decides_nothing() -> None:
    ours = iter([1.0, 3.0, 3.0])
    beside = Beside(
        ["ours", "reference"], lambda name: {"cost": next(ours) if name == "ours" else 1}
    )
    for _ in range(3):
        beside.round()
    comparison = beside.compare("cost", "ours", "reference", Bound(at_most=1.5))
    assert comparison.verdict is Verdict.INCONCLUSIVE
    assert "inconclusive" in str(comparison)


def test_every_second_round_goes_backwards() -> None:
    seen: list[str] = []
    beside = Beside(["a", "b", "c"], lambda name: seen.append(name) or {"cost": 1.0})
    beside.round()
    beside.round()
    assert "".join(seen) == "abccba"


def test_a_figure_that_a_round_lacks_is_no_pass() -> None:
    with pytest.raises(KeyError):
        measured([1.0, 1.0]).compare("speed", "ours", "reference", Bound())


def test_one_round_is_no_basis() -> None:
    with pytest.raises(ValueError, match="at least 2 runs"):
        measured([1.0]).compare("cost", "ours", "reference", Bound())


def test_what_was_found_is_told_in_one_line() -> None:
    comparison = measured([1.0, 2.0]).compare("cost", "ours", "reference", Bound(at_most=1.6))
    assert str(comparison) == (
        "cost, ours beside reference: 1.30 times (1.30 to 1.30; at most 1.6): holds"
    )
    assert str(Bound(0.5, 2)) == "at least 0.5, at most 2"
    assert str(Bound()) == "not bounded"
