"""Many gates decided on simulated or drawn differences: how often they end which way."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.judging.decision import Block, decide
from benchmarks.judging.plan import Plan
from benchmarks.judging.sequential import Floats
from reports.gate_decision import GateVerdict


@dataclass(frozen=True, slots=True)
class Gates:
    """The outcomes of many gates.

    Attributes:
        verdicts: the number of gates by verdict.
        blocks: the mean number of blocks they took.
    """

    verdicts: Counter[GateVerdict]
    blocks: float

    def share(self, verdict: GateVerdict) -> float:
        """Return the share of the gates that ended with a verdict."""
        return self.verdicts[verdict] / self.verdicts.total()


def run_gates(plan: Plan, differences: Sequence[Floats]) -> Gates:
    """Decide many gates.

    Args:
        plan: the plan of each gate.
        differences: for each metric of the plan, logarithms of head to base by gate and block.
    """
    verdicts: Counter[GateVerdict] = Counter()
    blocks = 0
    names = [metric.name for metric in plan.metrics]
    ones = dict.fromkeys(names, (1.0,))
    for gate in np.exp(np.stack(differences, axis=2)):
        made = [
            Block(ones, {name: (float(ratio),) for name, ratio in zip(names, row, strict=True)})
            for row in gate
        ]
        # Sampled metrics are only decided at looks, so nothing is missed between them.
        for look in plan.looks:
            decision = decide(plan, made[:look])
            if decision.verdict is not GateVerdict.UNDECIDED:
                break
        verdicts[decision.verdict] += 1
        blocks += decision.blocks
    return Gates(verdicts, blocks / verdicts.total())
