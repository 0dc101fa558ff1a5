"""A scaling report for programs: a JSON document, without anything that JSON cannot represent."""

import math
from dataclasses import asdict
from typing import Any

from benchmarks.scaling.analysis import Check, Finding, Projected
from benchmarks.scaling.choice import Candidate
from benchmarks.scaling.fit import Fit, Interval
from benchmarks.scaling.models import Scale
from benchmarks.scaling.report import Report, SeriesReport
from reports.outcome import Outcome


def document_of(report: Report, outcome: Outcome) -> dict[str, Any]:
    """Return the report as a document; an unbounded end of an interval is null."""
    return {
        "status": outcome.status,
        "outcome": outcome.line,
        "series": [_series(part) for part in report.series],
        "left_out": [{"record": str(it.path), "why": it.why} for it in report.left_out],
        "projection": {
            "measured": False,
            "confidence": 0.95,
            "figures": [
                {"scenario": part.series.header.scenario} | _projected(it)
                for part in report.series
                for it in part.projected
            ],
            "workers": {
                law.key: dict(zip(_keys(report), counts, strict=True))
                for law, counts in report.workers
            },
            "machine": asdict(report.machine),
            "limits": [
                {
                    "limit": it.key,
                    "one_machine_holds": _finite(it.fits),
                    "how": it.how,
                    "machines": {
                        key: _finite(it.machines(size))
                        for key, size in zip(_keys(report), report.sizes, strict=True)
                    },
                }
                for it in report.bounds
            ],
        }
        if report.is_projected
        else None,
    }


def _keys(report: Report) -> list[str]:
    return [f"{size:.0f}" for size in report.sizes]


def _series(part: SeriesReport) -> dict[str, Any]:
    series = part.series
    return {
        "scenario": series.header.scenario,
        "against": series.axis,
        "runs": [{"record": str(it.path), "size": it.size} for it in series.readings],
        "workers": series.workers,
        "machine": asdict(series.header.machine),
        "server_and_generator_share_the_machine": series.shares_machine,
        "notes": series.notes,
        "laws": [_finding(it) for it in part.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    choice = finding.choice
    return {
        "law": finding.law.key,
        "figure": finding.law.figure,
        "reason": finding.reason,
        "doubt": finding.doubt,
        "chosen": None if choice is None else choice.chosen,
        "models": [] if choice is None else [_candidate(it) for it in choice.candidates],
        "checks": [_check(it) for it in finding.checks],
    }


def _candidate(candidate: Candidate) -> dict[str, Any]:
    fit = candidate.fit
    return {
        "model": candidate.model.key,
        "formula": candidate.model.formula,
        "error_at_a_size_left_out": candidate.score,
        "beaten_in": candidate.beaten,
        "in_question": candidate.in_question,
        "reason": candidate.reason,
        **({} if fit is None else _fit(fit)),
    }


def _fit(fit: Fit) -> dict[str, Any]:
    names = fit.model.coefficients
    ratios = (
        {
            name.removeprefix("c"): _interval(fit.ratio(number, 0))
            for number, name in enumerate(names)
            if number
        }
        if fit.model.scale is Scale.COST
        else {}
    )
    return {
        "coefficients": {
            name: _interval(fit.coefficient(number)) for number, name in enumerate(names)
        }
        | ratios,
        "scatter": _finite(fit.scatter),
        "lack_of_fit_p": fit.lack_of_fit,
        "fits": fit.fits,
        "residuals": {f"{size:g}": deviation for size, deviation in fit.deviations},
    }


def _check(check: Check) -> dict[str, Any]:
    return {
        "size": check.size,
        "verdict": check.verdict,
        "projected": _interval(check.projected),
        "measured": check.measured,
        "runs": check.runs,
    }


def _projected(projected: Projected) -> dict[str, Any]:
    return {
        "law": projected.law.key,
        "figure": projected.law.figure,
        "connections": projected.size,
        "times_the_largest_measured": projected.times,
        "model": projected.model,
        "projection": _interval(projected.interval),
        "cannot_be_told_apart": {
            label: _interval(interval) for label, interval in projected.rivals
        },
    }


def _interval(interval: Interval) -> dict[str, float | None]:
    return {
        "value": _finite(interval.value),
        "low": _finite(interval.low),
        "high": _finite(interval.high),
    }


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
