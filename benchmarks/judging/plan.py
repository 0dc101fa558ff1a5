"""What is fixed before a gate's first run: metrics, looks, error rates, orders of runs."""

import math
import random
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from benchmarks.judging.sequential import power_shares

# Sixths of the budget, failing late, passing evenly: see docs/gate-statistics.md.
LOOKS: Final = 6
FAIL_EXPONENT: Final = 3.0
PASS_EXPONENT: Final = 1.0
_LARGEST_LOG: Final = math.log(sys.float_info.max)
# The number of runs of one side that have to agree before they count as deterministic.
FEWEST_EXACT_RUNS: Final = 2


@dataclass(frozen=True, slots=True)
class SampledMetric:
    """A noisy figure, always above 0, that is judged by its ratio over the blocks.

    Attributes:
        name: the figure.
        smallest_effect: the smallest change for the worse that matters, as a share: 0.05 for 5 %.
        higher_is_better: whether a lower value is worse.

    Raises:
        ValueError: the smallest effect is not above 0.
    """

    name: str
    smallest_effect: float
    higher_is_better: bool = False

    def __post_init__(self) -> None:
        if not 0 < self.smallest_effect < math.inf:
            problem = (
                f"{self.name}: {self.smallest_effect:g} cannot be the smallest effect that matters"
            )
            raise ValueError(f"{problem}; it must be above 0, such as 0.05 for 5 %")

    @property
    def margin(self) -> float:
        """The smallest effect that matters, as the logarithm of a ratio."""
        return math.log1p(self.smallest_effect)

    def ratio(self, worsening: float) -> float:
        """Convert a logarithm that grows as head gets worse into the ratio of head to base."""
        log = -worsening if self.higher_is_better else worsening
        return math.exp(log) if log < _LARGEST_LOG else math.inf


@dataclass(frozen=True, slots=True)
class ExactMetric:
    """A figure that is the same in every run, such as a count, and is judged without statistics.

    If runs of one side differ a little, it is judged by those that are furthest apart: it fails if
    head is worse by more than is accepted whichever runs are compared, and passes if it is not
    whichever runs are compared. If they differ by more than is accepted, nothing is decided.

    Attributes:
        name: the figure.
        share: the accepted change for the worse as a share of base.
        higher_is_better: whether a lower value is worse.

    Raises:
        ValueError: what is accepted is below 0 or not finite.
    """

    name: str
    share: float = 0.0
    higher_is_better: bool = False

    def __post_init__(self) -> None:
        if not 0 <= self.share < math.inf:
            raise ValueError(f"{self.name}: a change of {self.share:g} cannot be accepted")


Metric = SampledMetric | ExactMetric


@dataclass(frozen=True, slots=True)
class Plan:
    """What is fixed before the first run, since the error rates hold only then.

    Attributes:
        metrics: what is judged.
        looks: the numbers of blocks after which to look, in ascending order; the last is the
            budget.
        false_alarm: the permitted chance, over all looks and metrics, of failing because of a
            metric that is not worse by more than its smallest effect.
        false_pass: the permitted chance of passing although one is.

    Raises:
        ValueError: a metric is named twice or there are none, the looks do not ascend, or a rate is
            not a probability.
    """

    metrics: tuple[Metric, ...]
    looks: tuple[int, ...]
    false_alarm: float = 0.01
    false_pass: float = 0.05

    def __post_init__(self) -> None:
        names = [metric.name for metric in self.metrics]
        if not names:
            raise ValueError("a gate needs a metric, and none is given")
        if twice := sorted({name for name in names if names.count(name) > 1}):
            raise ValueError(f"named twice among the metrics: {', '.join(twice)}")
        if not self.looks or list(self.looks) != sorted({*self.looks}) or self.looks[0] < 1:
            raise ValueError(f"looks must ascend from 1 or more: {self.looks}")
        for rate in (self.false_alarm, self.false_pass):
            if not 0 < rate < 1:
                raise ValueError(f"{rate:g} is not an error rate; it must be between 0 and 1")

    @property
    def sampled(self) -> tuple[SampledMetric, ...]:
        """The metrics that have noise."""
        return tuple(it for it in self.metrics if isinstance(it, SampledMetric))

    @property
    def fail_shares(self) -> tuple[float, ...]:
        """The share of each look in the false-alarm rate."""
        return power_shares(self.looks, FAIL_EXPONENT)

    @property
    def pass_shares(self) -> tuple[float, ...]:
        """The share of each look in the false-pass rate."""
        return power_shares(self.looks, PASS_EXPONENT)

    @property
    def can_decide(self) -> bool:
        """Whether the last look could fail and pass if all differences were on one side."""
        if not self.sampled:
            return self.looks[-1] >= FEWEST_EXACT_RUNS
        fail_level = self.false_alarm / len(self.sampled) * self.fail_shares[-1]
        pass_level = self.false_pass * self.pass_shares[-1]
        return 2.0 ** -self.looks[-1] <= min(fail_level, pass_level)


def plan_gate(
    metrics: Iterable[Metric],
    most_blocks: int,
    false_alarm: float = 0.01,
    false_pass: float = 0.05,
) -> Plan:
    """Plan a gate with a look at each sixth of its budget.

    Raises:
        ValueError: so few blocks can decide nothing, or as in :class:`Plan`.
    """
    given = tuple(metrics)

    def plan(blocks: int) -> Plan:
        looks = sorted({math.ceil(blocks * look / LOOKS) for look in range(1, LOOKS + 1)})
        return Plan(given, tuple(looks), false_alarm, false_pass)

    if most_blocks >= 1 and (planned := plan(most_blocks)).can_decide:
        return planned
    fewest = max(1, most_blocks)
    while not plan(fewest).can_decide:
        fewest += 1
    rates = f"a false-alarm rate of {false_alarm:g} and a false-pass rate of {false_pass:g}"
    problem = f"{most_blocks} blocks cannot decide on {len(given)} metrics with {rates}"
    raise ValueError(f"{problem}: it takes {fewest} or more")


def block_order(seed: int, block: int) -> str:
    """Draw the order in which the runs of a block are made: A is base, B is head.

    Each block has its own fair coin, from the seed and its number alone, so that a gate that was
    interrupted continues as it would have.

    Args:
        seed: the seed of the gate.
        block: the number of the block, from 0.
    """
    # This is the only method that Python promises to give the same numbers in every version.
    return "AB" if random.Random(f"{seed}:{block}").random() < 0.5 else "BA"
