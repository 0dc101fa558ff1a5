"""A subject is judged by its ratio to a reference of the same round, and by nothing else."""

import math
from collections.abc import Callable, Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cost.beside import FEWEST_ROUNDS, Beside, Bound
from benchmarks.cost.conftest import judge, make_rounds
from reports.outcome import Verdict
from swarmgate import RunInvalidError

COSTS = {"ours": 1.3, "reference": 1.0}


def measured(slowness: list[float], costs: Mapping[str, float] = COSTS) -> Beside:
    """Measure once for each number, on a machine that is so many times slower then."""
    times = iter([each for each in slowness for _ in costs])
    beside = Beside(list(costs), lambda name: {"cost": costs[name] * next(times)})
    for _ in slowness:
        beside.round()
    return beside


class Benchmark:
    """What of pytest-benchmark's fixture a benchmark here uses."""

    def __init__(self) -> None:
        self.extra_info: dict[str, object] = {}

    def pedantic(self, function: Callable[[], None], rounds: int) -> None:
        for _ in range(rounds):
            function()


@given(st.lists(st.floats(0.01, 100), min_size=FEWEST_ROUNDS, max_size=8))
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
    ours = iter([1.0, 3.0, 1.0, 1.0, 3.0])
    beside = Beside(
        ["ours", "reference"], lambda name: {"cost": next(ours) if name == "ours" else 1}
    )
    for _ in range(5):
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
        measured([1.0] * FEWEST_ROUNDS).compare("speed", "ours", "reference", Bound())


def test_a_figure_that_is_not_a_number_is_no_pass() -> None:
    beside = measured([1.0] * FEWEST_ROUNDS, {"ours": math.nan, "reference": 1.0})
    with pytest.raises(ValueError, match="ratio needs values above 0"):
        beside.compare("cost", "ours", "reference", Bound(at_most=2))
    with pytest.raises(ValueError, match="finite"):
        beside.by_itself("cost", "ours", Bound(at_most=2))


def test_few_rounds_are_no_basis() -> None:
    beside = measured([1.0] * (FEWEST_ROUNDS - 1))
    with pytest.raises(ValueError, match="4 rounds are too few; judged are at least 5"):
        beside.compare("cost", "ours", "reference", Bound())
    with pytest.raises(ValueError, match="4 rounds are too few"):
        beside.by_itself("cost", "ours", Bound())


def test_what_was_found_is_told_in_one_line() -> None:
    beside = measured([1.0, 2.0, 1.0, 1.0, 1.0])
    assert str(beside.compare("cost", "ours", "reference", Bound(at_most=1.6))) == (
        "cost, ours beside reference: 1.30 times (1.30 to 1.30; at most 1.60): holds"
    )
    assert str(beside.compare("cost", "ours", "reference", Bound())) == (
        "cost, ours beside reference: 1.30 times (1.30 to 1.30; not bounded): reported"
    )


def test_a_figure_that_no_machine_changes_is_told_in_its_unit() -> None:
    beside = Beside(["ours"], lambda _: {"memory_bytes": 9_000.0})
    for _ in range(FEWEST_ROUNDS):
        beside.round()
    for bound, told in (
        (Bound(at_most=12_000), "at most 12.0 kB): holds"),
        (Bound(at_most=8_000), "at most 8.00 kB): refuted"),
        (Bound(9_500, 10_000), "at least 9.50 kB, at most 10.0 kB): refuted"),
    ):
        comparison = beside.by_itself("memory_bytes", "ours", bound)
        assert str(comparison) == f"memory_bytes, ours: 9.00 kB (9.00 kB to 9.00 kB; {told}"


def test_what_shrinks_has_grown_by_little() -> None:
    """A growth has no lower bound; that of a ratio is 0."""
    beside = Beside(["ours"], lambda _: {"growth_bytes": -4_096.0})
    for _ in range(FEWEST_ROUNDS):
        beside.round()
    comparison = beside.by_itself("growth_bytes", "ours", Bound(-math.inf, 4_096))
    assert comparison.verdict is Verdict.HOLDS
    assert "; at most 4.10 kB): holds" in str(comparison)


def invalid_at(*calls: int) -> Beside:
    """Make a subject and a reference, of which some runs say nothing, by number from 1."""
    made = 0

    def measure(name: str) -> Mapping[str, float]:
        nonlocal made
        made += 1
        if made in calls:
            raise RunInvalidError("INVALID: the generator could not keep up")
        return {"cost": COSTS[name]}

    return Beside(list(COSTS), measure)


def test_a_round_that_says_nothing_is_told_and_left_out(capsys: pytest.CaptureFixture[str]) -> None:
    beside = invalid_at(2)
    make_rounds(Benchmark(), beside, 6)
    # Neither has a figure of that round: they would be paired with those of another one.
    assert [len(rounds) for rounds in beside.figures.values()] == [5, 5]
    assert "a round is left out: INVALID: the generator" in capsys.readouterr().out
    assert beside.compare("cost", "ours", "reference", Bound(at_most=1.6)).verdict is Verdict.HOLDS


def test_with_too_few_rounds_that_say_something_a_benchmark_does_not_pass() -> None:
    with pytest.raises(pytest.skip.Exception, match="inconclusive: of 6 rounds 4 were whole"):
        make_rounds(Benchmark(), invalid_at(1, 4), 6)
    with pytest.raises(pytest.skip.Exception, match="of 1 rounds 0 were whole"):
        make_rounds(Benchmark(), invalid_at(1), 1)


def test_what_goes_wrong_otherwise_fails_a_benchmark_at_once() -> None:
    def measure(_: str) -> Mapping[str, float]:
        raise AssertionError("a message was lost")

    with pytest.raises(AssertionError, match="was lost"):
        make_rounds(Benchmark(), Beside(["ours"], measure), 6)


def test_a_benchmark_fails_by_what_is_refuted_alone(capsys: pytest.CaptureFixture[str]) -> None:
    beside = measured([1.0] * FEWEST_ROUNDS)
    benchmark = Benchmark()
    holds, refuted = (
        beside.compare("cost", "ours", "reference", Bound(at_most=most)) for most in (1.6, 1.2)
    )
    judge(benchmark, holds)
    assert benchmark.extra_info == {"cost, ours beside reference": pytest.approx([1.3] * 5)}
    with pytest.raises(AssertionError) as failure:
        judge(benchmark, holds, refuted)
    assert str(refuted) in str(failure.value)
    assert str(holds) not in str(failure.value)
    assert str(holds) in capsys.readouterr().out


def test_what_cannot_be_told_fails_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    ours = iter([1.0, 3.0, 1.0, 1.0, 3.0])
    beside = Beside(["ours"], lambda _: {"cost": next(ours)})
    for _ in range(5):
        beside.round()
    judge(Benchmark(), beside.by_itself("cost", "ours", Bound(at_most=1.5)))
    assert "inconclusive" in capsys.readouterr().out
