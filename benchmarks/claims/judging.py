"""Verdicts on claims, from what the runs of their experiments measured: pure arithmetic."""

import math
from collections.abc import Mapping, Sequence

from benchmarks.claims.claims_file import Claim
from benchmarks.judging.measured import NotMeasuredError, measured
from benchmarks.judging.run_figures import Key, RunFigures
from benchmarks.judging.statistics import level_interval, ratio_interval, verdict
from reports.claim_result import ClaimResult, Estimate
from reports.figure import Figure
from reports.figures import CATALOGUE, Catalogue
from reports.outcome import Verdict

Runs = Mapping[Key, Sequence[RunFigures]]


def judge(
    claim: Claim, target: str, how: str, runs: Runs, catalogue: Catalogue = CATALOGUE
) -> ClaimResult:
    """Return the verdict on what a claim says about a server.

    Args:
        claim: the claim.
        target: the server.
        how: how it was measured, in a few words.
        runs: the runs of each experiment on each server.
        catalogue: the figures that the runs of the claim's experiment may have.
    """
    reasons: tuple[str, ...] = ()
    estimate: Estimate | None = None
    try:
        estimate = _estimate(claim, target, runs)
        judged = _verdict(claim, estimate)
    except NotMeasuredError as error:
        judged, reasons = Verdict.NOT_MEASURED, (str(error),)
    return ClaimResult(
        claim=claim.id,
        says=claim.says,
        source=claim.source,
        target=target,
        verdict=judged,
        expected=claim.expected_of(target),
        metric="times" if claim.is_ratio else claim.metric,
        bound=claim.bound(),
        how=how,
        estimate=estimate,
        reasons=reasons,
        context=_context(claim, target, runs, catalogue) if estimate else (),
    )


def _estimate(claim: Claim, target: str, runs: Runs) -> Estimate:
    values = _values(claim, claim.experiment, target, runs)
    try:
        if not claim.is_ratio:
            return level_interval(values)
        other = (claim.baseline or claim.experiment, claim.baseline_target or target)
        return ratio_interval(values, _values(claim, *other, runs))
    except ValueError as error:
        raise NotMeasuredError(f"{claim.metric}: {error}") from None


def _values(claim: Claim, experiment: str, target: str, runs: Runs) -> tuple[float, ...]:
    made = runs.get((experiment, target), ())
    return measured(experiment, claim.metric, made, despite_faults=claim.despite_faults)


def _verdict(claim: Claim, estimate: Estimate) -> Verdict:
    match claim.comparison:
        case "at_most":
            return verdict(estimate, -math.inf, claim.limit)
        case "at_least":
            return verdict(estimate, claim.limit, math.inf)
        case "within":
            margin = abs(claim.limit) * (claim.tolerance or 0)
            return verdict(estimate, claim.limit - margin, claim.limit + margin)


def _context(
    claim: Claim, target: str, runs: Runs, catalogue: Catalogue
) -> tuple[tuple[Figure, float], ...]:
    """Return the level over the runs of each context figure that every run has."""
    levels = []
    for metric in claim.context:
        values = [run.figures.get(metric, math.nan) for run in runs[claim.experiment, target]]
        if all(map(math.isfinite, values)):
            levels.append((catalogue.figure(metric), level_interval(values).value))
    return tuple(levels)
