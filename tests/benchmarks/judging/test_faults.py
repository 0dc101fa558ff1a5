"""Faults of head fail a gate only where they can be no chance, and keep it from passing."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special, stats

from benchmarks.judging.decision import Block, decide
from benchmarks.judging.faults import FAULT_SHARE, judge_faults, stake
from benchmarks.judging.plan import SampledMetric, plan_gate
from reports.gate_decision import GateVerdict

PLAN = plan_gate([SampledMetric("cpu", 0.05), SampledMetric("memory", 0.05)], 48)
LOST = ("1 messages lost (echo)",)
Faults = list[tuple[tuple[str, ...], tuple[str, ...]]]


def test_a_head_of_which_every_run_has_a_fault_fails_after_nine() -> None:
    faults: Faults = [((), LOST)] * 9
    assert judge_faults(PLAN, faults[:8], done=False).verdict is GateVerdict.UNDECIDED
    judged = judge_faults(PLAN, faults, done=False)
    assert judged.verdict is GateVerdict.FAILS
    assert judged.reason == "9 of 9 of head and 0 of base, such as 1 messages lost (echo)"


@pytest.mark.parametrize(
    ("base", "head", "verdict"),
    [
        (0, 0, GateVerdict.PASSES),
        (1, 1, GateVerdict.PASSES),
        (5, 0, GateVerdict.PASSES),
        (0, 1, GateVerdict.INCONCLUSIVE),
        (3, 5, GateVerdict.INCONCLUSIVE),
        (1, 40, GateVerdict.FAILS),
    ],
)
def test_what_may_be_chance_does_not_fail_and_keeps_from_passing(
    base: int, head: int, verdict: GateVerdict
) -> None:
    alone: Faults = [(LOST, ())] * base + [((), LOST)] * head
    faults = alone + [((), ())] * (48 - len(alone))
    random.Random(1).shuffle(faults)
    assert judge_faults(PLAN, faults, done=True).verdict is verdict


def test_a_fault_of_base_does_not_excuse_all_of_head_s() -> None:
    faults: Faults = [(LOST, ()), *[((), LOST)] * 47]
    assert judge_faults(PLAN, faults, done=True).verdict is GateVerdict.FAILS


@pytest.mark.parametrize("chance", [0.02, 0.2, 0.8])
def test_an_unchanged_head_fails_no_more_often_than_promised(chance: float) -> None:
    luck, failed, gates = random.Random(2), 0, 2000
    for _ in range(gates):
        faults: Faults = [
            tuple(LOST if luck.random() < chance else () for _ in range(2))  # type: ignore[misc]
            for _ in range(48)
        ]
        failed += judge_faults(PLAN, faults, done=False).verdict is GateVerdict.FAILS
    rate = PLAN.false_alarm * FAULT_SHARE
    assert failed <= stats.binom.ppf(1 - 1e-6, gates, rate)


@given(st.integers(0, 40), st.integers(0, 40))
def test_a_stake_stays_what_it_is_on_average_as_long_as_the_coin_is_fair(
    base: int, head: int
) -> None:
    further = (stake(base + 1, head) + stake(base, head + 1)) / 2
    assert further == pytest.approx(stake(base, head))
    assert stake(0, 0) == 1


def test_a_stake_on_an_even_share_is_the_beta_function_s() -> None:
    share = special.beta(4, 3) * special.betaincc(4, 3, 0.5)
    assert stake(2, 3) == pytest.approx(2**5 * 2 * share / 2)


def test_a_gate_that_would_pass_goes_on_while_head_alone_has_faults() -> None:
    same = {"cpu": [1.0], "memory": [1.0]}
    plain = Block(same, same, ((), ()))
    blocks = [Block(same, same, ((), LOST)), *[plain] * 47]
    assert decide(PLAN, [plain] * 24).verdict is GateVerdict.PASSES
    assert decide(PLAN, blocks[:24]).verdict is GateVerdict.UNDECIDED
    decision = decide(PLAN, blocks)
    assert decision.verdict is GateVerdict.INCONCLUSIVE
    assert "runs with faults: 1 of 48 of head and 0 of base" in decision.sentence
