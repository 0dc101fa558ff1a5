"""Gates are replayed over a series in its own order, and what they decided is counted."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from typer.testing import CliRunner

from benchmarks.gate.sides import BASE
from benchmarks.gate_power.__main__ import TABLE, app
from benchmarks.gate_power.heads import MEMORY
from benchmarks.gate_power.power_report import Whole, power_markdown
from benchmarks.gate_power.replays import (
    drawn,
    effect,
    from_every_start,
    one_after_the_other,
    share_interval,
)
from benchmarks.gate_power.series import (
    SERIES,
    Round,
    SeriesError,
    append,
    draw_groups,
    read_series,
)
from benchmarks.judging.plan import ExactMetric, Plan, SampledMetric, plan_gate
from reports.gate_decision import GateVerdict

CPU = "server.cpu_per_message_seconds"
METRIC = SampledMetric(f"echo: {CPU}", 0.05)
FIGURES = {METRIC.name: CPU}
CALLS = ExactMetric("code: counts.system_calls_per_echo", share=0.02)


def rounds_of(effects: Mapping[str, float], count: int, scatter: float = 0.02) -> list[Round]:
    """Make a series in which each head is slower by a factor; the machine gets slower meanwhile."""
    luck = random.Random(7)
    made = []
    for number in range(count):
        drift = 1 + number / count

        def once(factor: float, drift: float = drift) -> float:
            return 1e-4 * drift * factor * math.exp(luck.gauss(0, scatter))

        values = {name: {CPU: (once(1.0), once(factor))} for name, factor in effects.items()}
        made.append(Round(number, [BASE, *values], 5.0, 0.5, values))
    return made


PLAN: Plan = plan_gate([METRIC], 24)


def test_gates_one_after_the_other_share_no_round() -> None:
    rounds = rounds_of({"the same": 1.0, "+25 %": 1.25}, 100)
    same = one_after_the_other(PLAN, rounds, "the same", FIGURES)
    slower = one_after_the_other(PLAN, rounds, "+25 %", FIGURES)
    assert same.verdicts == {GateVerdict.PASSES: same.gates}
    assert slower.verdicts == {GateVerdict.FAILS: slower.gates}
    for replayed in (same, slower):
        assert sum(replayed.blocks) <= len(rounds)
        assert sum(replayed.blocks) + PLAN.looks[-1] > len(rounds) - max(replayed.blocks)


def test_a_gate_begins_at_every_round_that_has_enough_behind_it() -> None:
    rounds = rounds_of({"the same": 1.0}, 30)
    assert from_every_start(PLAN, rounds, "the same", FIGURES).gates == 7
    none = from_every_start(PLAN, rounds[:23], "the same", FIGURES)
    assert none.gates == 0
    assert math.isnan(none.share(GateVerdict.FAILS))


def test_gates_are_drawn_from_the_rounds_of_a_head() -> None:
    rounds = rounds_of({"the same": 1.0, "+25 %": 1.25}, 40)
    same = drawn(PLAN, rounds, "the same", FIGURES, samples=7)
    slower = drawn(PLAN, rounds, "+25 %", FIGURES, samples=7)
    assert same[GateVerdict.PASSES].value > 0.9
    assert same[GateVerdict.FAILS].value == 0
    assert slower[GateVerdict.FAILS].value == 1
    for ended in (same, slower):
        assert sum(share.value for share in ended.values()) == pytest.approx(1)
    assert drawn(PLAN, rounds, "the same", FIGURES, samples=7) == same


def test_more_rounds_make_the_interval_of_drawn_gates_narrower() -> None:
    # A scatter at which a gate finds +10 % about every second time.
    few, many = (
        drawn(PLAN, rounds_of({"+10 %": 1.1}, count, scatter=0.05), "+10 %", FIGURES, samples=20)
        for count in (40, 1_000)
    )
    fails = GateVerdict.FAILS
    assert many[fails].high - many[fails].low < few[fails].high - few[fails].low
    assert many[fails].low < many[fails].value < many[fails].high


@pytest.mark.parametrize("higher_is_better", [False, True])
def test_a_head_that_is_worse_by_what_is_just_accepted_is_not_decided(
    *, higher_is_better: bool
) -> None:
    plan = plan_gate([replace(METRIC, higher_is_better=higher_is_better)], 24)
    rounds = rounds_of({"the same": 1.0}, 40, scatter=0.01)
    ended = drawn(plan, rounds, "the same", FIGURES, by_arithmetic=True, samples=7)
    assert ended[GateVerdict.INCONCLUSIVE].value > 0.8


def test_the_effect_that_was_injected_is_measured_whatever_the_machine_does() -> None:
    value, low, high = effect(rounds_of({"slower": 1.1}, 60), "slower", CPU)
    assert low < 1.1 < high
    assert value == pytest.approx(1.1, rel=0.02)


@given(st.integers(0, 200), st.integers(1, 200))
def test_the_interval_of_a_share_holds_it_and_stays_a_chance(hits: int, of: int) -> None:
    hits = min(hits, of)
    low, high = share_interval(hits, of)
    assert 0 <= low <= hits / of <= high <= 1
    mirrored = share_interval(of - hits, of)
    assert mirrored == pytest.approx((1 - high, 1 - low))


def test_the_interval_of_a_share_is_that_of_clopper_and_pearson() -> None:
    # None of n: 1 - (alpha / 2) ** (1 / n); so the rule of three, a little wider.
    assert share_interval(0, 100) == (0.0, pytest.approx(1 - 0.025 ** (1 / 100)))
    with pytest.raises(ValueError, match="no tries"):
        share_interval(0, 0)


@given(st.integers(), st.integers(0, 1000))
def test_every_head_has_its_turn_beside_base_drawn_from_seed_and_round(
    seed: int, number: int
) -> None:
    heads = ["a", "b", "c", "d", "e"]
    groups = draw_groups(seed, number, heads)
    assert sorted(name for group in groups for name in group if name != BASE) == heads
    assert [group[1] for group in groups[:2]] == [BASE, BASE]
    assert [len(group) for group in groups] == [3, 3, 2]
    assert groups == draw_groups(seed, number, heads)


@pytest.mark.parametrize("heads", ["a", "ab", "abc"])
def test_each_head_comes_before_base_as_often_as_after(heads: str) -> None:
    drawn = [draw_groups(1, number, list(heads)) for number in range(2000)]
    (groups,) = zip(*([g for g in it if "a" in g] for it in drawn), strict=True)
    before = sum(group.index("a") < group.index(BASE) for group in groups)
    assert abs(before - 1000) < 5 * math.sqrt(500)


def test_a_series_is_read_back_but_for_a_line_that_was_cut(tmp_path: Path) -> None:
    path = tmp_path / "series.jsonl"
    rounds = rounds_of({"x": 1.0}, 3)
    for round_ in rounds:
        append(path, round_)
    with path.open("a") as file:
        file.write('{"number": 3, "or')
    assert [it.values for it in read_series(path)] == [it.values for it in rounds]
    path.write_text("{}\n")
    with pytest.raises(SeriesError, match="is damaged"):
        read_series(path)
    with pytest.raises(SeriesError, match="cannot read"):
        read_series(tmp_path / "nothing")


def counted(calls: Sequence[float]) -> list[dict[str, float]]:
    return [{"counts.system_calls_per_echo": it} for it in calls]


def test_rounds_of_a_busy_machine_can_be_left_out(tmp_path: Path) -> None:
    figures = {CPU: (1e-4, 1e-4), MEMORY: (8e3, 8e3)}
    for number, load in enumerate((0.5, 9.0)):
        append(tmp_path / SERIES, Round(number, [BASE, "x"], 5.0, load, {"x": figures}))
    told = CliRunner().invoke(app, ["table", str(tmp_path), "--most-load", "2", "--samples", "2"])
    assert told.exit_code == 0, told.output
    assert "1 rounds, 2 runs" in told.output
    assert not (tmp_path / TABLE).exists()


def test_the_tables_say_what_was_measured_and_what_was_decided() -> None:
    plan = plan_gate([METRIC, CALLS], 24)
    text = power_markdown(
        plan,
        rounds_of({"the same": 1.0, "+25 % CPU": 1.25}, 60),
        [Whole("+25 % CPU", "fails", 8, 88.0, "fails after 8 of 24 blocks: it is slower")],
        {BASE: counted([7, 7, 7, 7]), "the same": counted([7] * 4), "+1": counted([8] * 4)},
        samples=3,
    )
    lines = text.splitlines()
    (same, *_) = [line for line in lines if line.startswith("| the same") and "100 %" in line]
    assert "| 0 % (0 % to" in same
    assert any(line.startswith("| +25 % CPU | fails | 8 | 88.0 s |") for line in lines)
    assert any("8 (+14.3 %)" in line for line in lines)
    assert "| +1 | 2 | 2 | counts.system_calls_per_echo |" in lines
    assert "| the same | 2 | 0 | – |" in lines
    assert "60 rounds, 180 runs of 5.00 s" in text
    assert any(line.startswith("| the same, each figure raised") for line in lines)
