"""What the gate decided, as data: about each metric and about all of them."""

from dataclasses import dataclass
from enum import StrEnum


class GateVerdict(StrEnum):
    """What the runs so far say about a metric, or about the gate."""

    PASSES = "passes"
    FAILS = "fails"
    UNDECIDED = "undecided"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class MetricDecision:
    """One judged metric. All ratios are head to base.

    Attributes:
        name: the metric.
        verdict: undecided if further blocks may decide it, inconclusive if they may not.
        reason: why, as a sentence without a full stop.
        ratio: the estimate; None if there is none.
        low: the lower end of the ratio's interval, 0 if nothing is known. It is above the upper end
            if looks contradict each other, which is no more likely than the levels permit.
        high: its upper end, infinite if nothing is known.
        bound: the ratio beyond which head is worse by more than is accepted; None if base is 0.
        blocks: the number of blocks behind this.
        fail_level: the permitted chance, over all looks, that head is better than the better end of
            the interval says; 0 for an exact metric.
        pass_level: the permitted chance, over all looks, that it is worse than the worse end says.
        detectable: the estimate from which it would have failed with the noise of these blocks, as
            a ratio; None if no estimate would have.
        blocks_needed: about how many blocks would decide if the estimate stayed as it is; None if
            that cannot be estimated, or it is already decided.
    """

    name: str
    verdict: GateVerdict
    reason: str
    ratio: float | None = None
    low: float = 0.0
    high: float = float("inf")
    bound: float | None = None
    blocks: int = 0
    fail_level: float = 0.0
    pass_level: float = 0.0
    detectable: float | None = None
    blocks_needed: int | None = None


@dataclass(frozen=True, slots=True)
class GateDecision:
    """The judged gate.

    Attributes:
        verdict: what is decided; undecided asks for further blocks.
        sentence: the verdict and why.
        metrics: the decision for each metric.
        blocks: how many blocks there were.
        looks: the numbers of blocks after which the gate has looked, or will look.
        looks_taken: how many of these looks have been taken.
        false_alarm: the permitted chance that the gate fails although no metric is worse by more
            than its smallest effect that matters.
        false_pass: the permitted chance that it passes although one is.
        fault_alarm: the additional permitted chance that it fails because of runs with faults
            although these are as likely in base; 0 if faults were not checked.
    """

    verdict: GateVerdict
    sentence: str
    metrics: tuple[MetricDecision, ...]
    blocks: int
    looks: tuple[int, ...]
    looks_taken: int
    false_alarm: float
    false_pass: float
    fault_alarm: float = 0.0
