"""What the gate decided, as data: of each metric and of all of them."""

from dataclasses import dataclass
from enum import StrEnum


class GateVerdict(StrEnum):
    """What the runs so far say of a metric, or of the gate."""

    PASSES = "passes"
    FAILS = "fails"
    UNDECIDED = "undecided"
    INCONCLUSIVE = "inconclusive"


@dataclass(frozen=True, slots=True)
class MetricDecision:
    """One metric, judged. All ratios are head to base.

    Attributes:
        name: the metric.
        verdict: undecided is what further blocks may decide, inconclusive what they may not.
        reason: why, a sentence without a full stop.
        ratio: the estimate; None where there is none.
        low: the lower end of the ratio's interval, 0 where nothing can be said. It is above the
            upper end where looks contradict each other, which the levels permit that rarely.
        high: its upper end, infinite where nothing can be said.
        bound: the ratio from which on head is worse by more than is accepted; None where base is 0.
        blocks: how many blocks that is from.
        fail_level: the permitted chance, over all looks, that head is better than the better end of
            the interval says; 0 for an exact metric.
        pass_level: the permitted chance, over all looks, that it is worse than the worse end says.
        detectable: from which estimate on it would have failed with the noise of these blocks, as a
            ratio; None where none would.
        blocks_needed: about how many blocks would decide, should the estimate stay what it is;
            None where that cannot be said, or is decided.
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
    """The gate, judged.

    Attributes:
        verdict: what is decided; undecided asks for further blocks.
        sentence: the verdict and why.
        metrics: each metric's part.
        blocks: how many blocks there were.
        looks: after how many blocks was, or will be, looked.
        looks_taken: how many of these looks there have been.
        false_alarm: the permitted chance that the gate fails, though no metric is worse by more
            than its smallest effect that matters.
        false_pass: the permitted chance that it passes, though one is.
        fault_alarm: the permitted chance, besides, that it fails for runs with faults, though they
            are as likely in base; 0 where those were not looked at.
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
