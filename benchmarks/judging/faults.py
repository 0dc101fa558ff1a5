"""Whether head has faults that base lacks: errors, or lost, doubled, swapped or damaged messages.

One such run may be bad luck, which an unchanged head has as often as base. So what counts are the
blocks in which only one side had a fault: if the two were alike, which side that is would be a fair
coin. The test bets against that, half of the stake on head alone ever having faults and half evenly
on every share of them above one half. As long as the coin is fair, a stake of 1 is still 1 on
average, so the chance that it ever reaches ``1 / level`` is at most ``level``, however often one
looks (Ville, Étude critique de la notion de collectif, 1939; Shafer, Journal of the Royal
Statistical Society A 184, 2021). For this test, half the metrics' false-alarm rate is permitted in
addition.
"""

import math
from collections.abc import Sequence
from typing import Final

from benchmarks.judging.plan import Plan
from reports.gate_decision import GateVerdict, MetricDecision

FAULTS: Final = "runs with faults"
"""The name under which this is listed among the metrics."""
FAULT_SHARE: Final = 0.5
"""The additionally permitted share of the false-alarm rate over all metrics."""


def judge_faults(
    plan: Plan, faults: Sequence[tuple[Sequence[str], Sequence[str]]], *, done: bool
) -> MetricDecision:
    """Judge which runs of base and of head had faults.

    It *fails* when head has too many more for it to be chance, and *passes* while head has no more
    than base. In between, nothing is decided.

    Args:
        plan: fixed before the first block.
        faults: for each block what was wrong in base and in head, in the order of the blocks.
        done: whether there will be no further block.
    """
    level = plan.false_alarm * FAULT_SHARE
    fails = any(stake(*_alone(faults[:count])) >= 1 / level for count in range(1, len(faults) + 1))
    base_alone, head_alone = _alone(faults)
    if fails:
        verdict = GateVerdict.FAILS
    elif head_alone <= base_alone:
        verdict = GateVerdict.PASSES
    else:
        verdict = GateVerdict.INCONCLUSIVE if done else GateVerdict.UNDECIDED
    return MetricDecision(
        FAULTS, verdict, _reason(faults), blocks=len(faults), fail_level=level if faults else 0.0
    )


def stake(base: int, head: int) -> float:
    """Return what a stake of 1 has become after the blocks in which only one side had a fault.

    Half of it was bet on head each time, half on a share of head drawn evenly above one half, which
    gives an incomplete beta function, computed here as a sum of binomial probabilities.

    Args:
        base: how many times that side was base.
        head: how many times it was head.
    """
    count = base + head
    always = 0 if base else 2**count
    below = sum(math.comb(count + 1, hits) for hits in range(head + 1)) / 2 ** (count + 1)
    evenly = 2 ** (count + 1) / ((count + 1) * math.comb(count, head)) * below
    return float(always + evenly) / 2


def _alone(faults: Sequence[tuple[Sequence[str], Sequence[str]]]) -> tuple[int, int]:
    """Return the number of blocks in which only base had a fault, and in which only head had."""
    return (
        sum(bool(base) and not head for base, head in faults),
        sum(bool(head) and not base for base, head in faults),
    )


def _reason(faults: Sequence[tuple[Sequence[str], Sequence[str]]]) -> str:
    base, head = ([it for it in side if it] for side in zip(*faults, strict=True))
    if not base and not head:
        return f"none in {len(faults)} of each side"
    such = (head or base)[0][0]
    return f"{len(head)} of {len(faults)} of head and {len(base)} of base, such as {such}"
