"""The gate's decision in several metrics, given the blocks so far: whether head is worse than base.

docs/gate-statistics.md explains why it is decided this way, and what that costs and finds.
"""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.judging.faults import FAULT_SHARE, judge_faults
from benchmarks.judging.plan import (
    FEWEST_EXACT_RUNS,
    ExactMetric,
    Metric,
    Plan,
    SampledMetric,
)
from benchmarks.judging.sequential import (
    lower_limit_so_far,
    pseudo_median,
    upper_limit_so_far,
)
from reports.gate_decision import GateDecision, GateVerdict, MetricDecision
from reports.units import format_change

# Beyond this, the number of blocks needed is only a guess.
MOST_TIMES_THE_BLOCKS: Final = 100


@dataclass(frozen=True, slots=True)
class Block:
    """What the runs of one block measured, in the order in which they were made, by metric.

    Attributes:
        base: the values of base's runs; one per metric in a block of two runs.
        head: the values of head's runs.
        faults: what was wrong in base's runs and in head's; None if that was not checked.
    """

    base: Mapping[str, Sequence[float]]
    head: Mapping[str, Sequence[float]]
    faults: tuple[Sequence[str], Sequence[str]] | None = None


def decide(plan: Plan, blocks: Sequence[Block], *, is_last: bool = False) -> GateDecision:
    """Decide what all blocks so far say, ignoring those beyond the last look.

    The gate *fails* as soon as a metric fails: the lower limit of its worsening is beyond the
    smallest effect that matters. Across the metrics this is Holm's procedure (Scandinavian Journal
    of Statistics 6, 1979), in which each sampled metric of the plan counts, measured or not. It
    *passes* once each metric has passed by the opposite limit, at this look or an earlier one. That
    needs no correction: a gate that passes wrongly has passed a metric that is worse, and has done
    so with no more than the whole rate (intersection-union test, Berger, Technometrics 24, 1982).
    An effect of exactly the smallest that matters may neither fail nor pass.

    Both limits hold at all looks together, so a metric that has passed need not pass again. It is
    still judged until the gate ends, and fails if its lower limit moves beyond: that rate is
    permitted for all looks in any case, and a regression that only shows later is a regression.

    Args:
        plan: fixed before the first block.
        blocks: all blocks, in the order in which they were made, none left out.
        is_last: whether there will be no further block, for instance because time is used up.
    """
    taken = blocks[: plan.looks[-1]]
    done = is_last or len(taken) == plan.looks[-1]
    sampled, unusable = _differences(plan, taken)
    failing = _holm(plan, sampled)
    judged = []
    for metric in plan.metrics:
        if isinstance(metric, ExactMetric):
            judged.append(_judge_exact(metric, taken, done))
        elif metric.name in unusable:
            problem = unusable[metric.name]
            judged.append(MetricDecision(metric.name, GateVerdict.INCONCLUSIVE, problem))
        else:
            level = failing.get(metric.name)
            judged.append(_judge_sampled(metric, plan, sampled[metric.name], level, done))
    fault_alarm = 0.0
    if seen := [block.faults for block in taken if block.faults is not None]:
        judged.append(judge_faults(plan, seen, done=done))
        fault_alarm = plan.false_alarm * FAULT_SHARE
    return replace(_gate(plan, tuple(judged), len(taken)), fault_alarm=fault_alarm)


def replay(plan: Plan, blocks: Sequence[Block]) -> GateDecision:
    """Decide block by block, as the gate would have, and return its final decision.

    Blocks that it would no longer have requested are not used; if there are not enough, the
    decision is that of a gate whose time is used up.
    """
    for count in range(1, len(blocks)):
        decision = decide(plan, blocks[:count])
        if decision.verdict is not GateVerdict.UNDECIDED:
            return decision
    return decide(plan, blocks, is_last=True)


def _values(metric: Metric, block: Block) -> tuple[Sequence[float], Sequence[float]]:
    """Return a metric's values in base and in head. Raise ValueError if any cannot be judged."""
    sides = block.base.get(metric.name, ()), block.head.get(metric.name, ())
    for side, values in zip(("base", "head"), sides, strict=True):
        if not values:
            raise ValueError(f"not measured in {side}")
        for value in values:
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"{value:g} in {side}, which cannot be judged")
    return sides


def _differences(
    plan: Plan, blocks: Sequence[Block]
) -> tuple[dict[str, list[float]], dict[str, str]]:
    """Return how much worse head was in each block as a logarithm, by metric, or why not.

    One block that lacks a metric spoils it: without that block, the rest would no longer be what
    was drawn.
    """
    worse: dict[str, list[float]] = {}
    unusable: dict[str, str] = {}
    for metric in plan.sampled:
        sign = -1 if metric.higher_is_better else 1
        try:
            worse[metric.name] = [
                sign * (_mean_log(head) - _mean_log(base))
                for base, head in (_values(metric, block) for block in blocks)
            ]
        except ValueError as problem:
            unusable[metric.name] = str(problem)
    return worse, unusable


def _mean_log(values: Sequence[float]) -> float:
    if not all(values):
        raise ValueError("a value is 0, which has no ratio; a count is judged as exact")
    return math.fsum(map(math.log, values)) / len(values)


def _holm(plan: Plan, worse: Mapping[str, Sequence[float]]) -> dict[str, float]:
    """Return the metrics that fail, and the level at which each does."""
    looks, shares = plan.looks, plan.fail_shares
    failing: dict[str, float] = {}
    while len(failing) < len(plan.sampled):
        level = plan.false_alarm / (len(plan.sampled) - len(failing))
        more = {
            metric.name: level
            for metric in plan.sampled
            if metric.name in worse and metric.name not in failing
            if lower_limit_so_far(worse[metric.name], looks, shares, level) > metric.margin
        }
        if not more:
            break
        failing |= more
    return failing


@dataclass(frozen=True, slots=True)
class _Evidence:
    """How much worse head is, as logarithms: estimate and limits, with the number of blocks."""

    blocks: int
    estimate: float
    at_least: float
    at_most: float
    fail_level: float


def _evidence(plan: Plan, worse: Sequence[float], failing_at: float | None) -> _Evidence:
    looked = max(look for look in plan.looks if look <= len(worse))
    fail_level = failing_at or plan.false_alarm / len(plan.sampled)
    return _Evidence(
        blocks=looked,
        estimate=pseudo_median(worse[:looked]),
        at_least=lower_limit_so_far(worse, plan.looks, plan.fail_shares, fail_level),
        at_most=upper_limit_so_far(worse, plan.looks, plan.pass_shares, plan.false_pass),
        fail_level=fail_level,
    )


def _judge_sampled(
    metric: SampledMetric, plan: Plan, worse: Sequence[float], failing_at: float | None, done: bool
) -> MetricDecision:
    open_verdict = GateVerdict.INCONCLUSIVE if done else GateVerdict.UNDECIDED
    if len(worse) < plan.looks[0]:
        reason = f"not judged: the first look is after {plan.looks[0]} blocks"
        return MetricDecision(metric.name, open_verdict, reason)
    found = _evidence(plan, worse, failing_at)
    verdict = open_verdict
    if failing_at is not None:
        verdict = GateVerdict.FAILS
    elif found.at_most < metric.margin:
        verdict = GateVerdict.PASSES
    ratio, bound = metric.ratio(found.estimate), metric.ratio(metric.margin)
    low, high = metric.ratio(found.at_least), metric.ratio(found.at_most)
    if metric.higher_is_better:
        low, high = high, low
    to_fail = metric.margin + found.estimate - found.at_least
    return MetricDecision(
        name=metric.name,
        verdict=verdict,
        reason=f"{format_change(ratio)}, {_range(low, high)}, "
        f"where {format_change(bound)} is accepted",
        ratio=ratio,
        low=low,
        high=high,
        bound=bound,
        blocks=found.blocks,
        fail_level=found.fail_level,
        pass_level=plan.false_pass,
        detectable=metric.ratio(to_fail) if math.isfinite(to_fail) else None,
        blocks_needed=_blocks_needed(metric, found) if verdict is open_verdict else None,
    )


def _blocks_needed(metric: SampledMetric, found: _Evidence) -> int | None:
    """Return how many blocks might decide, as the interval narrows with their square root.

    None if that is too many to be meaningful: the estimate is next to the bound.
    """
    gap = found.estimate - metric.margin
    end = found.at_least if gap > 0 else found.at_most
    half = abs(found.estimate - end)
    if not math.isfinite(half) or half >= abs(gap) * MOST_TIMES_THE_BLOCKS**0.5:
        return None
    return max(found.blocks + 1, math.ceil(found.blocks * (half / gap) ** 2))


def _range(low: float, high: float) -> str:
    """Describe the range of the true ratio; an end of 0 or infinity is unbounded."""
    if low and math.isfinite(high):
        return f"between {format_change(low)} and {format_change(high)}"
    if low:
        return f"at least {format_change(low)}"
    if math.isfinite(high):
        return f"at most {format_change(high)}"
    return "too few blocks for an interval"


def _judge_exact(metric: ExactMetric, blocks: Sequence[Block], done: bool) -> MetricDecision:
    open_verdict = GateVerdict.INCONCLUSIVE if done else GateVerdict.UNDECIDED
    # A metric that is expensive to count need not be counted in every block.
    counted = [it for it in blocks if metric.name in it.base or metric.name in it.head]
    try:
        pairs = [_values(metric, block) for block in counted]
    except ValueError as problem:
        return MetricDecision(metric.name, GateVerdict.INCONCLUSIVE, str(problem))
    sides = [[value for side in column for value in side] for column in zip(*pairs, strict=True)]
    if not sides or min(map(len, sides)) < FEWEST_EXACT_RUNS:
        reason = f"not judged: it takes {FEWEST_EXACT_RUNS} runs of each side"
        return MetricDecision(metric.name, open_verdict, reason)
    base, head = sides
    accepted = min(base) * metric.share
    at_least, at_most = _worse(metric, base, head)
    verdict = GateVerdict.INCONCLUSIVE
    # If runs of one side differ by that much, two of the other would lie beyond them by chance.
    is_exact = not any(_exceeds(max(side) - min(side), accepted) for side in sides)
    if is_exact and _exceeds(at_least, accepted):
        verdict = GateVerdict.FAILS
    elif not _exceeds(at_most, accepted):
        verdict = GateVerdict.PASSES
    scatter = f"{_scatter(base)} in base and {_scatter(head)} in head"
    unclear = ", so that runs of one side differ by as much as matters"
    return MetricDecision(
        name=metric.name,
        verdict=verdict,
        reason=f"{scatter}, and {accepted:g} worse is accepted"
        + (unclear if verdict is GateVerdict.INCONCLUSIVE else ""),
        ratio=_factor(statistics.median(head), statistics.median(base)),
        low=_factor(min(head), max(base)),
        high=_factor(max(head), min(base)),
        bound=_bound(metric, statistics.median(base), accepted),
        blocks=len(counted),
    )


def _worse(
    metric: ExactMetric, base: Sequence[float], head: Sequence[float]
) -> tuple[float, float]:
    """Return the least and the most by which head is worse, whichever runs are compared."""
    if metric.higher_is_better:
        return min(base) - max(head), max(base) - min(head)
    return min(head) - max(base), max(head) - min(base)


def _bound(metric: ExactMetric, base: float, accepted: float) -> float | None:
    if not base:
        return None
    return (base - accepted if metric.higher_is_better else base + accepted) / base


def _exceeds(worse: float, accepted: float) -> bool:
    # A value that is equal except for rounding is accepted.
    return worse > accepted and not math.isclose(worse, accepted)


def _factor(head: float, base: float) -> float:
    return head / base if base else (math.inf if head else 1.0)


def _scatter(values: Sequence[float]) -> str:
    low, high = min(values), max(values)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _gate(plan: Plan, judged: tuple[MetricDecision, ...], blocks: int) -> GateDecision:
    by_verdict = {
        verdict: [it for it in judged if it.verdict is verdict]
        for verdict in (GateVerdict.FAILS, GateVerdict.UNDECIDED, GateVerdict.INCONCLUSIVE)
    }
    # A failing metric decides, then an open one; an inconclusive one keeps the gate from passing.
    verdict = next((it for it, metrics in by_verdict.items() if metrics), GateVerdict.PASSES)
    reasons = "; ".join(f"{it.name}: {it.reason}" for it in by_verdict.get(verdict, ()))
    why = reasons or "no metric is worse by more than is accepted"
    return GateDecision(
        verdict=verdict,
        sentence=f"{verdict} after {blocks} of {plan.looks[-1]} blocks: {why}",
        metrics=judged,
        blocks=blocks,
        looks=plan.looks,
        looks_taken=sum(look <= blocks for look in plan.looks),
        false_alarm=plan.false_alarm,
        false_pass=plan.false_pass,
    )
