"""Whether head has faults that base has not: errors, or messages lost, doubled, swapped or damaged.

One such run may be bad luck, which an unchanged head has as often as base. So what counts are the
blocks in which one side alone had a fault: were the two alike, which side it is would be a fair
coin. Against that is bet, half on head alone ever having faults and half evenly on every share of
them above one half. What a stake of 1 has become by then is 1 on average as long as the coin is
fair, so the chance that it ever reaches ``1 / level`` is at most ``level``, however often is looked
(Ville, Étude critique de la notion de collectif, 1939; Shafer, Journal of the Royal Statistical
Society A 184, 2021). Half the rate of false alarms of the metrics is permitted for it, besides.
"""

import math
from collections.abc import Sequence
from typing import Final

from benchmarks.judging.plan import Plan
from reports.gate_decision import GateVerdict, MetricDecision

FAULTS: Final = "runs with faults"
"""What is judged here is called so among the metrics."""
FAULT_SHARE: Final = 0.5
"""Of the rate of false alarms over all metrics, permitted besides."""


def judge_faults(
    plan: Plan, faults: Sequence[tuple[Sequence[str], Sequence[str]]], *, done: bool
) -> MetricDecision:
    """Judge which runs of base and of head had faults.

    It *fails* when so many more are head's is no chance, and *passes* while they are no more than
    base's. In between nothing is decided.

    Args:
        plan: fixed before the first block.
        faults: of each block what was wrong in base and in head, in the order of the blocks.
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
        FAULTS, verdict, _told(faults), blocks=len(faults), fail_level=level if faults else 0.0
    )


def stake(base: int, head: int) -> float:
    """Return what a stake of 1 has become where one side alone had a fault.

    Half of it was bet on head each time, half on a share of head drawn evenly above one half, which
    comes to an incomplete beta function, here as a sum of binomial chances.

    Args:
        base: how many times it was base.
        head: how many times it was head.
    """
    count = base + head
    always = 0 if base else 2**count
    below = sum(math.comb(count + 1, hits) for hits in range(head + 1)) / 2 ** (count + 1)
    evenly = 2 ** (count + 1) / ((count + 1) * math.comb(count, head)) * below
    return float(always + evenly) / 2


def _alone(faults: Sequence[tuple[Sequence[str], Sequence[str]]]) -> tuple[int, int]:
    """Return in how many blocks base alone had a fault, and head alone."""
    return (
        sum(bool(base) and not head for base, head in faults),
        sum(bool(head) and not base for base, head in faults),
    )


def _told(faults: Sequence[tuple[Sequence[str], Sequence[str]]]) -> str:
    base, head = ([it for it in side if it] for side in zip(*faults, strict=True))
    if not base and not head:
        return f"none in {len(faults)} of each side"
    such = (head or base)[0][0]
    return f"{len(head)} of {len(faults)} of head and {len(base)} of base, such as {such}"
