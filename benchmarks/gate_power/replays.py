"""What gates would have decided on a series: false alarms and power.

They are replayed on stretches of it in their own order, of which there are few, and on blocks drawn
from it, of which there can be any number: only the former include what the machine does over
minutes.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.gate_power.series import Round
from benchmarks.judging.decision import replay
from benchmarks.judging.plan import Plan
from benchmarks.judging.sequential import Floats, lower_limit, pseudo_median, upper_limit
from benchmarks.judging.simulation import run_gates
from benchmarks.judging.statistics import CONFIDENCE
from reports.gate_decision import GateDecision, GateVerdict

SAMPLES: Final = 100
_SEED: Final = 1


@dataclass(frozen=True, slots=True)
class Replayed:
    """What gates on one head would have decided.

    Attributes:
        verdicts: how many of them ended with each verdict.
        blocks: how many blocks each of them used.
    """

    verdicts: Mapping[GateVerdict, int]
    blocks: tuple[int, ...]

    @property
    def gates(self) -> int:
        """The number of gates."""
        return len(self.blocks)

    def share(self, verdict: GateVerdict) -> float:
        """Return the share of gates that ended with a verdict; NaN if there are none."""
        return self.verdicts.get(verdict, 0) / self.gates if self.gates else float("nan")


def one_after_the_other(
    plan: Plan, rounds: Sequence[Round], head: str, figures: Mapping[str, str]
) -> Replayed:
    """Replay gates as if each began where the previous one ended: no run is in two of them.

    Args:
        plan: the plan of each gate.
        rounds: the rounds in their own order.
        head: the server that is judged.
        figures: the figure of each metric of the plan, by the metric's name.
    """
    decisions, start = [], 0
    while start + plan.looks[-1] <= len(rounds):
        decision = _replay(plan, rounds[start:], head, figures)
        decisions.append(decision)
        start += decision.blocks
    return _counted(decisions)


def from_every_start(
    plan: Plan, rounds: Sequence[Round], head: str, figures: Mapping[str, str]
) -> Replayed:
    """Replay a gate from each round that has enough rounds after it; these gates overlap."""
    starts = range(len(rounds) - plan.looks[-1] + 1)
    return _counted([_replay(plan, rounds[start:], head, figures) for start in starts])


@dataclass(frozen=True, slots=True)
class Drawn:
    """The share of drawn gates in which something happened, with its 95 % interval.

    If it happened in all of them, or in none, both ends are the same and say nothing: the available
    rounds cannot show how rare the opposite is.
    """

    value: float
    low: float
    high: float


def drawn(
    plan: Plan,
    rounds: Sequence[Round],
    head: str,
    figures: Mapping[str, str],
    *,
    by_arithmetic: bool = False,
    samples: int = SAMPLES,
) -> Mapping[GateVerdict, Drawn]:
    """Return how gates end if their blocks are drawn from the rounds, with replacement.

    The interval is from the percentile bootstrap (Efron, Annals of Statistics 7, 1979): first,
    ``samples`` samples of as many rounds are drawn from them, each with its own gates, so that the
    scatter of these few gates is included too, and makes it a little wider. What consecutive rounds
    have in common is not included.

    Args:
        plan: the plan of each gate, with sampled metrics only.
        rounds: the rounds of the series.
        head: the server that is judged.
        figures: the figure of each metric of the plan, by the metric's name.
        by_arithmetic: make head worse in each metric by as much as is just accepted.
        samples: the number of samples, and of gates on each; on the rounds themselves, its square.
    """
    found = _differences(plan, rounds, head, figures)
    if by_arithmetic:
        found += [-it.margin if it.higher_is_better else it.margin for it in plan.sampled]
    luck = np.random.default_rng(_SEED)

    def shares(of: Floats, number: int) -> list[float]:
        chosen = of[luck.integers(len(of), size=(number, plan.looks[-1]))]
        ended = run_gates(plan, [chosen[:, :, at] for at in range(chosen.shape[2])])
        return [ended.share(it) for it in GateVerdict]

    values, count = shares(found, samples**2), len(found)
    again = [shares(found[luck.integers(count, size=count)], samples) for _ in range(samples)]
    tail = (1 - CONFIDENCE) / 2
    lows, highs = np.quantile(again, [tail, 1 - tail], axis=0).tolist()
    return {
        it: Drawn(value, low, high)
        for it, value, low, high in zip(GateVerdict, values, lows, highs, strict=True)
    }


def _differences(
    plan: Plan, rounds: Sequence[Round], head: str, figures: Mapping[str, str]
) -> Floats:
    """Return the logarithm of head to base, by round and metric."""
    pairs = [round_.values[head] for round_ in rounds]
    logs = np.log([[pair[figures[it.name]] for it in plan.sampled] for pair in pairs])
    differences: Floats = logs[:, :, 1] - logs[:, :, 0]
    return differences


def _replay(
    plan: Plan, rounds: Sequence[Round], head: str, figures: Mapping[str, str]
) -> GateDecision:
    blocks = [round_.block(head, figures) for round_ in rounds[: plan.looks[-1]]]
    return replay(plan, blocks)


def _counted(decisions: Sequence[GateDecision]) -> Replayed:
    verdicts = Counter(decision.verdict for decision in decisions)
    return Replayed(verdicts, tuple(decision.blocks for decision in decisions))


def effect(rounds: Sequence[Round], head: str, figure: str) -> tuple[float, float, float]:
    """Return the ratio of a figure of head to that of base over all rounds, with its interval.

    Returns:
        The pseudo-median of the rounds' ratios and its 95 % interval, by the signed-rank test.
    """
    pairs = [round_.values[head][figure] for round_ in rounds]
    ratios = [math.log(other) - math.log(base) for base, other in pairs]
    level = (1 - CONFIDENCE) / 2
    low, high = lower_limit(ratios, level), upper_limit(ratios, level)
    return math.exp(pseudo_median(ratios)), math.exp(low), math.exp(high)


def share_interval(hits: int, of: int) -> tuple[float, float]:
    """Return the exact 95 % interval of a probability (Clopper and Pearson, Biometrika 26, 1934).

    Raises:
        ValueError: there were no trials.
    """
    if not of:
        raise ValueError("there were no tries")
    # Imported here, or every command would start later.
    from scipy import special  # noqa: PLC0415

    tail = (1 - CONFIDENCE) / 2
    low = 0.0 if hits == 0 else float(special.betaincinv(hits, of - hits + 1, tail))
    high = 1.0 if hits == of else float(special.betaincinv(hits + 1, of - hits, 1 - tail))
    return low, high
