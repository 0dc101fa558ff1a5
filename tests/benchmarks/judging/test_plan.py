"""What a gate may rely on is fixed before its first run, or refused."""

import itertools
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.judging.decision import Block, decide
from benchmarks.judging.plan import ExactMetric, Plan, SampledMetric, block_order, plan_gate
from reports.gate_decision import GateVerdict

CPU = SampledMetric("cpu", 0.05)


def test_a_gate_looks_at_the_sixths_of_its_budget() -> None:
    assert plan_gate([CPU], 48).looks == (8, 16, 24, 32, 40, 48)
    assert plan_gate([CPU], 35).looks == (6, 12, 18, 24, 30, 35)


def verdict_if_all_blocks_are_alike(plan: Plan, ratio: float) -> GateVerdict:
    base, head = ({it.name: [value] for it in plan.metrics} for value in (1.0, ratio))
    return decide(plan, [Block(base, head)] * plan.looks[-1]).verdict


@given(st.integers(1, 6), st.integers(12, 80))
def test_a_budget_that_is_accepted_can_fail_and_pass(metrics: int, most_blocks: int) -> None:
    plan = plan_gate([SampledMetric(f"m{it}", 0.05) for it in range(metrics)], most_blocks)
    assert verdict_if_all_blocks_are_alike(plan, 1.0) is GateVerdict.PASSES
    assert verdict_if_all_blocks_are_alike(plan, 2.0) is GateVerdict.FAILS


@pytest.mark.parametrize("most_blocks", [0, 1, 8])
def test_a_budget_that_could_not_fail_is_refused_with_the_smallest_that_could(
    most_blocks: int,
) -> None:
    with pytest.raises(ValueError, match=rf"{most_blocks} blocks cannot .* it takes 9 or more"):
        plan_gate([CPU], most_blocks)
    assert verdict_if_all_blocks_are_alike(plan_gate([CPU], 9), 2.0) is GateVerdict.FAILS
    too_few = Plan((CPU,), (2, 3, 4, 6, 7, 8))
    assert verdict_if_all_blocks_are_alike(too_few, 2.0) is GateVerdict.INCONCLUSIVE


def test_two_blocks_are_enough_where_all_metrics_are_exact() -> None:
    assert plan_gate([ExactMetric("calls")], 2).looks[-1] == 2
    with pytest.raises(ValueError, match=r"1 blocks cannot decide .* it takes 2 or more"):
        plan_gate([ExactMetric("calls")], 1)


def test_each_block_has_a_fair_coin_of_its_own() -> None:
    orders = [block_order(1, block) for block in range(2000)]
    assert set(orders) == {"AB", "BA"}
    same = sum(one == next_ for one, next_ in itertools.pairwise(orders))
    # Five standard deviations of a fair coin.
    assert abs(orders.count("AB") - 1000) < 112
    assert abs(same - 1000) < 112


def test_the_order_of_a_block_is_that_of_its_seed_and_number() -> None:
    assert block_order(7, 3) == block_order(7, 3)
    assert [block_order(7, block) for block in range(20)] != [
        block_order(8, block) for block in range(20)
    ]


@pytest.mark.parametrize("effect", [0.0, -0.1, math.nan, math.inf])
def test_a_smallest_effect_that_is_none_is_refused(effect: float) -> None:
    with pytest.raises(ValueError, match=r"cpu: .* must be above 0"):
        SampledMetric("cpu", effect)


@pytest.mark.parametrize("accepted", [-1.0, math.nan, math.inf])
def test_what_is_accepted_of_an_exact_metric_is_a_number(accepted: float) -> None:
    with pytest.raises(ValueError, match="calls: a change of"):
        ExactMetric("calls", share=accepted)


def test_a_plan_that_promises_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="needs a metric"):
        Plan((), (12,))
    with pytest.raises(ValueError, match="named twice among the metrics: cpu"):
        Plan((CPU, CPU), (12,))
    for looks in ((), (12, 6), (6, 6), (0, 6)):
        with pytest.raises(ValueError, match="must ascend"):
            Plan((CPU,), looks)
    for rate in (0.0, 1.0, math.nan):
        with pytest.raises(ValueError, match="is not an error rate"):
            Plan((CPU,), (12,), false_alarm=rate)
        with pytest.raises(ValueError, match="is not an error rate"):
            Plan((CPU,), (12,), false_pass=rate)


@given(st.floats(-1e6, 1e6))
def test_a_ratio_is_never_an_overflow(worsening: float) -> None:
    assert SampledMetric("cpu", 0.05).ratio(worsening) >= 0
    assert SampledMetric("rate", 0.05, higher_is_better=True).ratio(worsening) >= 0
