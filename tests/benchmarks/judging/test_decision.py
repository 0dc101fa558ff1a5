"""The gate fails and passes no more often than promised, and says when it does not know."""

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.judging.decision import Block, decide, replay
from benchmarks.judging.noise import Noise, simulate_differences
from benchmarks.judging.plan import ExactMetric, Metric, Plan, SampledMetric, plan_gate
from benchmarks.judging.simulation import run_gates
from reports.gate_decision import GateDecision, GateVerdict, MetricDecision

CPU = SampledMetric("cpu", 0.05)
RATE = SampledMetric("rate", 0.05, higher_is_better=True)
MEMORY = SampledMetric("memory", 0.05)
CALLS = ExactMetric("calls")

positives = st.lists(st.floats(0.5, 2), min_size=12, max_size=12)


def blocks_of(base: Sequence[float], head: Sequence[float], name: str = "cpu") -> list[Block]:
    return [Block({name: [b]}, {name: [h]}) for b, h in zip(base, head, strict=True)]


def most(gates: int, rate: float) -> float:
    """Return what a kept rate exceeds about once in a million tests."""
    return gates * rate + 5 * math.sqrt(gates * rate * (1 - rate)) + 1


def noisy(ratio: float) -> list[Block]:
    """Return 48 blocks whose ratios scatter evenly around one, by up to a fifth, shuffled."""
    spread = [0.2 * (2 * (block * 7 % 48) / 47 - 1) for block in range(48)]
    return blocks_of([1.0] * 48, [ratio * math.exp(it) for it in spread])


def only(decision: GateDecision) -> MetricDecision:
    (metric,) = decision.metrics
    return metric


def judge(metric: Metric, blocks: Sequence[Block], most_blocks: int = 12) -> MetricDecision:
    return only(decide(plan_gate([metric], most_blocks), blocks))


# What is promised.


@pytest.mark.parametrize("noise", Noise)
def test_servers_that_differ_by_exactly_what_matters_fail_and_pass_as_rarely_as_promised(
    noise: Noise,
) -> None:
    gates, rate = 200, 0.2
    plan = plan_gate([CPU, RATE], 24, false_alarm=rate, false_pass=rate)
    cpu = simulate_differences(noise, 0.05, (gates, 24), seed=1) + CPU.margin
    falling = simulate_differences(noise, 0.05, (gates, 24), seed=2) - RATE.margin
    ended = run_gates(plan, [cpu, falling])
    assert ended.verdicts[GateVerdict.FAILS] <= most(gates, rate)
    # To pass, both would have to be taken for what they are not.
    assert ended.verdicts[GateVerdict.PASSES] <= most(gates, rate)


@pytest.mark.parametrize("noise", Noise)
def test_a_gate_passes_with_one_metric_worse_as_rarely_as_promised(noise: Noise) -> None:
    gates, rate = 200, 0.2
    plan = plan_gate([CPU, RATE], 24, false_pass=rate)
    cpu = simulate_differences(noise, 0.05, (gates, 24), seed=3) + CPU.margin
    passed = run_gates(plan, [cpu, np.zeros((gates, 24))]).verdicts[GateVerdict.PASSES]
    assert passed <= most(gates, rate)
    # The rate is made use of: a gate that never passes would keep it too.
    assert passed >= gates * rate / 4


@pytest.mark.parametrize("noise", Noise)
def test_the_same_server_twice_does_not_fail(noise: Noise) -> None:
    gates = 100
    plan = plan_gate([CPU, RATE, MEMORY], 48)
    found = [simulate_differences(noise, 0.05, (gates, 48), seed) for seed in range(3)]
    failed = run_gates(plan, found).verdicts[GateVerdict.FAILS]
    assert failed <= most(gates, plan.false_alarm)


def test_10_percent_more_is_found_95_times_of_100_in_the_noise_of_fresh_servers() -> None:
    gates = 200
    plan = plan_gate([CPU, RATE, MEMORY], 48)
    found = [simulate_differences(Noise.OUTLIERS, 0.02, (gates, 48), seed) for seed in range(3)]
    found[0] += math.log1p(0.10)
    assert run_gates(plan, found).share(GateVerdict.FAILS) >= 0.95


def test_holm_names_a_second_metric_at_the_level_that_the_first_one_leaves() -> None:
    # Twelve of twelve above the margin have a chance of 1 in 4096.
    clear = [math.exp(0.2)] * 12
    # All but the one that is nearest to it: 2 in 4096.
    less_clear = [math.exp(0.2)] * 11 + [math.exp(CPU.margin - 0.01)]
    blocks = [
        Block({"cpu": [1], "memory": [1]}, {"cpu": [one], "memory": [two]})
        for one, two in zip(clear, less_clear, strict=True)
    ]
    plan = Plan((CPU, MEMORY), (12,), false_alarm=3 / 4096)
    both = decide(plan, blocks)
    assert [it.verdict for it in both.metrics] == [GateVerdict.FAILS, GateVerdict.FAILS]
    assert [it.fail_level for it in both.metrics] == [1.5 / 4096, 3 / 4096]
    # Where the first does not fail, nothing is left to the second.
    unclear = [Block(it.base, {"cpu": [1.0], "memory": it.head["memory"]}) for it in blocks]
    alone = decide(plan, unclear)
    assert GateVerdict.FAILS not in [it.verdict for it in alone.metrics]


# What holds of every gate.


@settings(max_examples=50)
@given(positives, positives, st.floats(0.1, 10))
def test_head_times_a_factor_has_an_interval_times_that_factor(
    base: list[float], head: list[float], factor: float
) -> None:
    plain = judge(CPU, blocks_of(base, head))
    scaled = judge(CPU, blocks_of(base, [value * factor for value in head]))
    assert (scaled.low, scaled.ratio, scaled.high) == pytest.approx(
        (plain.low * factor, plain.ratio * factor, plain.high * factor)
    )


@settings(max_examples=50)
@given(positives, positives)
def test_for_a_higher_is_better_metric_the_ratio_turned_round_is_judged_alike(
    base: list[float], head: list[float]
) -> None:
    lower = judge(CPU, blocks_of(base, head))
    higher = judge(RATE, blocks_of(head, base, "rate"))
    assert higher.verdict is lower.verdict
    assert (1 / higher.high, 1 / higher.ratio, 1 / higher.low) == pytest.approx(
        (lower.low, lower.ratio, lower.high)
    )


@settings(max_examples=50)
@given(positives, positives)
def test_base_and_head_swapped_have_the_inverse_interval_at_equal_levels(
    base: list[float], head: list[float]
) -> None:
    # With one look, both ends have the whole of their levels.
    plan = Plan((CPU,), (12,), false_alarm=0.05, false_pass=0.05)
    there = only(decide(plan, blocks_of(base, head)))
    back = only(decide(plan, blocks_of(head, base)))
    assert (back.low, back.ratio, back.high) == pytest.approx(
        (1 / there.high, 1 / there.ratio, 1 / there.low)
    )


@settings(max_examples=50)
@given(positives, positives, st.floats(0.001, 0.2), st.floats(0.001, 0.2))
def test_lower_error_rates_never_narrow_the_interval(
    base: list[float], head: list[float], one: float, two: float
) -> None:
    blocks = blocks_of(base, head)
    strict, lax = (
        only(decide(Plan((CPU,), (12,), rate, rate), blocks)) for rate in sorted((one, two))
    )
    assert strict.low <= lax.low
    assert lax.high <= strict.high


def test_two_runs_of_a_side_in_a_block_count_as_their_geometric_mean() -> None:
    two = [Block({"cpu": [1.0, 4.0]}, {"cpu": [2.0, 8.0]})] * 12
    assert judge(CPU, two).ratio == pytest.approx(2)


# When it decides.


def test_a_gate_says_nothing_before_its_first_look() -> None:
    decision = decide(plan_gate([CPU], 48), blocks_of([1.0] * 7, [9.0] * 7))
    assert decision.verdict is GateVerdict.UNDECIDED
    assert decision.looks_taken == 0
    assert "first look is after 8 blocks" in only(decision).reason


def test_a_metric_that_is_much_worse_fails_before_the_budget_is_used_up() -> None:
    decision = replay(plan_gate([CPU], 48), blocks_of([1.0] * 48, [1.3] * 48))
    assert (decision.verdict, decision.blocks) == (GateVerdict.FAILS, 16)
    assert decision.sentence == (
        "fails after 16 of 48 blocks: cpu: "
        "+30.0 %, between +30.0 % and +30.0 %, where +5.00 % is accepted"
    )


def test_a_rate_that_falls_fails_and_is_told_with_its_sign() -> None:
    decision = replay(plan_gate([RATE], 48), blocks_of([1.0] * 48, [0.8] * 48, "rate"))
    assert decision.sentence == (
        "fails after 16 of 48 blocks: rate: "
        "−20.0 %, between −20.0 % and −20.0 %, where −4.76 % is accepted"
    )


def test_a_metric_that_gets_better_passes() -> None:
    assert judge(CPU, blocks_of([1.0] * 12, [0.5] * 12)).verdict is GateVerdict.PASSES
    assert judge(RATE, blocks_of([1.0] * 12, [2.0] * 12, "rate")).verdict is GateVerdict.PASSES


def test_a_budget_used_up_is_inconclusive_and_says_what_could_have_been_shown() -> None:
    decision = decide(plan_gate([CPU], 48), noisy(1.06))
    assert decision.verdict is GateVerdict.INCONCLUSIVE
    assert "between" in decision.sentence
    cpu = only(decision)
    assert cpu.low < 1.05 < cpu.high
    assert cpu.ratio is not None
    # By as much as the estimate is above its lower end, one that fails is above the bound.
    assert cpu.detectable == pytest.approx(1.05 * cpu.ratio / cpu.low)


def test_the_blocks_that_are_needed_grow_as_the_estimate_nears_the_bound() -> None:
    def needed(ratio: float) -> int | None:
        return only(decide(plan_gate([CPU], 48), noisy(ratio))).blocks_needed

    far, near = needed(1.03), needed(1.04)
    assert far is not None
    assert near is not None
    assert 48 < far < near
    assert needed(1.05) is None


def test_a_gate_whose_time_is_used_up_is_inconclusive_not_undecided() -> None:
    plan, blocks = plan_gate([CPU], 48), blocks_of([1.0] * 20, [1.2, 0.9] * 10)
    assert decide(plan, blocks).verdict is GateVerdict.UNDECIDED
    assert decide(plan, blocks, is_last=True).verdict is GateVerdict.INCONCLUSIVE
    assert replay(plan, blocks).verdict is GateVerdict.INCONCLUSIVE
    assert decide(plan, [], is_last=True).verdict is GateVerdict.INCONCLUSIVE


def test_blocks_beyond_the_budget_are_not_used() -> None:
    plan = plan_gate([CPU], 12)
    blocks = blocks_of([1.0] * 12, [1.2, 0.9] * 6)
    assert decide(plan, [*blocks, *blocks_of([1.0] * 40, [9.0] * 40)]) == decide(plan, blocks)


def test_a_metric_that_has_passed_fails_if_it_turns_out_worse_before_the_gate_ends() -> None:
    blocks = [
        Block(
            {"cpu": [1.0], "rate": [1.0]},
            {"cpu": [1.0 if block < 8 else 1.3], "rate": [(0.9, 1.0)[block % 2]]},
        )
        for block in range(48)
    ]
    plan = plan_gate([CPU, RATE], 48)
    assert decide(plan, blocks[:8]).metrics[0].verdict is GateVerdict.PASSES
    assert decide(plan, blocks[:16]).verdict is GateVerdict.UNDECIDED
    assert decide(plan, blocks).metrics[0].verdict is GateVerdict.FAILS


def test_a_gate_passes_with_metrics_that_passed_at_different_looks() -> None:
    # Less noise passes at the first look; then noise that alone would not pass.
    quiet_first = [0.0] * 8 + [0.12, -0.12] * 8
    noisy_first = [0.12, -0.12] * 4 + [-0.01] * 16
    blocks = [
        Block({"cpu": [1.0], "memory": [1.0]}, {"cpu": [math.exp(a)], "memory": [math.exp(b)]})
        for a, b in zip(quiet_first, noisy_first, strict=True)
    ]
    plan = Plan((CPU, MEMORY), (8, 24))
    early = decide(plan, blocks[:8])
    assert [it.verdict for it in early.metrics] == [GateVerdict.PASSES, GateVerdict.UNDECIDED]
    assert decide(plan, blocks).verdict is GateVerdict.PASSES


# What is no pass.


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
@pytest.mark.parametrize("metric", [CPU, ExactMetric("cpu")])
def test_one_value_that_is_no_figure_keeps_the_gate_from_passing(
    metric: Metric, bad: float
) -> None:
    blocks = blocks_of([1.0] * 12, [1.0] * 11 + [bad])
    decision = decide(plan_gate([metric], 12), blocks)
    assert decision.verdict is GateVerdict.INCONCLUSIVE
    assert "in head, which cannot be judged" in decision.sentence


@pytest.mark.parametrize("metric", [CPU, ExactMetric("cpu")])
@pytest.mark.parametrize("block", [Block({}, {"cpu": [1.0]}), Block({"cpu": []}, {"cpu": [1.0]})])
def test_a_metric_that_is_missing_in_one_block_is_inconclusive(
    metric: Metric, block: Block
) -> None:
    decision = decide(plan_gate([metric], 12), [*blocks_of([1.0] * 11, [1.0] * 11), block])
    assert decision.verdict is GateVerdict.INCONCLUSIVE
    assert only(decision).reason == "not measured in base"


def test_a_sampled_metric_that_is_0_has_no_ratio() -> None:
    metric = judge(CPU, blocks_of([0.0] * 12, [0.0] * 12))
    assert metric.verdict is GateVerdict.INCONCLUSIVE
    assert "a count is judged as exact" in metric.reason


def test_a_metric_that_cannot_be_judged_does_not_hide_that_another_fails() -> None:
    blocks = [Block({"cpu": [1.0]}, {"cpu": [2.0]}) for _ in range(12)]
    decision = decide(plan_gate([CPU, RATE], 12), blocks)
    assert decision.verdict is GateVerdict.FAILS
    assert decision.metrics[1].verdict is GateVerdict.INCONCLUSIVE


# Exact metrics.


def test_one_more_of_an_exact_count_fails_after_two_runs_of_each_side() -> None:
    decision = replay(
        plan_gate([CPU, CALLS], 48),
        [Block({"cpu": [1.0], "calls": [41]}, {"cpu": [1.0], "calls": [42]}) for _ in range(48)],
    )
    assert (decision.verdict, decision.blocks) == (GateVerdict.FAILS, 2)
    assert decision.sentence == (
        "fails after 2 of 48 blocks: calls: 41 in base and 42 in head, and 0 worse is accepted"
    )


@pytest.mark.parametrize(
    ("metric", "base", "head", "passes"),
    [
        (ExactMetric("it"), 0, 0, True),
        (ExactMetric("it"), 0, 1, False),
        (ExactMetric("it", share=0.1), 0.7, 0.77, True),
        (ExactMetric("it", share=0.1), 0.7, 0.78, False),
        (ExactMetric("it"), 5, 4, True),
        (ExactMetric("it", higher_is_better=True), 5, 4, False),
        (ExactMetric("it", higher_is_better=True), 5, 0, False),
        (ExactMetric("it", higher_is_better=True, share=0.2), 5, 4, True),
    ],
)
def test_an_exact_metric_is_judged_by_what_is_accepted(
    metric: ExactMetric, base: float, head: float, passes: bool
) -> None:
    judged = judge(metric, blocks_of([base] * 2, [head] * 2, "it"))
    assert judged.verdict is (GateVerdict.PASSES if passes else GateVerdict.FAILS)


def test_the_ratio_of_0_to_0_is_1_and_that_of_something_to_0_infinite() -> None:
    assert judge(CALLS, blocks_of([0, 0], [0, 0], "calls")).ratio == 1
    assert judge(CALLS, blocks_of([0, 0], [3, 3], "calls")).ratio == math.inf


@pytest.mark.parametrize(
    ("base", "head", "verdict"),
    [
        ([41, 41, 42], [41, 41, 41], GateVerdict.PASSES),
        ([41, 41, 41], [41, 42, 41], GateVerdict.INCONCLUSIVE),
        ([41, 41, 41], [43, 43, 43], GateVerdict.FAILS),
        ([41, 41, 41], [42, 43, 42], GateVerdict.INCONCLUSIVE),
        ([41, 43, 41], [42, 43, 42], GateVerdict.INCONCLUSIVE),
    ],
)
def test_an_exact_metric_that_varies_is_judged_by_the_runs_that_are_furthest_apart(
    base: list[float], head: list[float], verdict: GateVerdict
) -> None:
    decision = decide(plan_gate([CALLS], 12), blocks_of(base, head, "calls"))
    assert decision.verdict is verdict
    (metric,) = decision.metrics
    assert ("differ by as much as matters" in metric.reason) is (
        verdict is GateVerdict.INCONCLUSIVE
    )


@given(
    st.lists(st.integers(90, 110), min_size=2, max_size=6),
    st.lists(st.integers(90, 110), min_size=2, max_size=6),
    st.floats(0, 0.2),
)
def test_no_choice_of_runs_contradicts_an_exact_verdict(
    base: list[int], head: list[int], share: float
) -> None:
    runs = min(len(base), len(head))
    base, head = base[:runs], head[:runs]
    # Between two whole numbers, so that no rounding decides.
    accepted = math.floor(min(base) * share) + 0.5
    metric = ExactMetric("calls", share=accepted / min(base))
    decision = decide(plan_gate([metric], 12), blocks_of(base, head, "calls"))
    worse = [one - other > accepted for one in head for other in base]
    if decision.verdict is GateVerdict.FAILS:
        assert all(worse)
        assert all(max(side) - min(side) <= accepted for side in (base, head))
    elif decision.verdict is GateVerdict.PASSES:
        assert not any(worse)
    else:
        assert any(worse)
        # Runs of one side that differ by as much prove nothing, however they lie.
        differ = any(max(side) - min(side) > accepted for side in (base, head))
        assert differ or not all(worse)


def test_one_run_of_each_side_shows_nothing_of_an_exact_metric() -> None:
    assert judge(CALLS, blocks_of([1], [2], "calls")).verdict is GateVerdict.UNDECIDED


def test_an_exact_metric_need_not_be_counted_in_every_block() -> None:
    counted = blocks_of([41, 41], [41, 41], "calls")
    without = [Block({}, {})] * 10
    assert judge(CALLS, [*counted, *without]).verdict is GateVerdict.PASSES
    assert judge(CALLS, [*without, *counted]).blocks == 2
    assert judge(CALLS, [*without, Block({}, {})]).verdict is GateVerdict.UNDECIDED
    assert judge(CALLS, [Block({}, {})] * 12).verdict is GateVerdict.INCONCLUSIVE


def test_exact_metrics_take_nothing_from_the_error_of_the_sampled_ones() -> None:
    blocks = [Block({"cpu": [1.0], "calls": [1]}, {"cpu": [1.2], "calls": [1]})] * 12
    alone, beside = (decide(plan_gate(it, 12), blocks) for it in ([CPU], [CPU, CALLS]))
    assert beside.metrics[0] == alone.metrics[0]
