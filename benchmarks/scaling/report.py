"""The content of a scaling report, as data, and its outcome."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from benchmarks.scaling.analysis import Finding, Projected, check, find, project
from benchmarks.scaling.fit import Fit
from benchmarks.scaling.laws import IDLE_CPU, LOAD_CPU, Axis, Law
from benchmarks.scaling.machines import Bound, MachineSpec, bounds_of, workers_needed
from benchmarks.scaling.readings import LeftOut, Series, SeriesError
from reports.outcome import Outcome, Verdict, outcome_from
from reports.units import format_count, format_figure


@dataclass(frozen=True, slots=True)
class SeriesReport:
    """What was found about one series, and its projection to larger sizes."""

    series: Series
    findings: tuple[Finding, ...]
    projected: tuple[Projected, ...]


@dataclass(frozen=True, slots=True)
class Report:
    """The whole report.

    Attributes:
        sizes: the numbers of connections to project to.
        machine: what machines are assumed to be; ``bounds`` are its limits.
        workers: by law, the number of workers that each of the sizes needs at a core each.
    """

    series: tuple[SeriesReport, ...]
    left_out: tuple[LeftOut, ...]
    sizes: tuple[float, ...]
    machine: MachineSpec
    bounds: tuple[Bound, ...]
    workers: tuple[tuple[Law, tuple[int, ...]], ...]

    @property
    def findings(self) -> tuple[Finding, ...]:
        """The findings of all series."""
        return tuple(finding for part in self.series for finding in part.findings)

    @property
    def is_projected(self) -> bool:
        """Whether anything is projected at all."""
        return any(part.projected for part in self.series)


def report_on(
    series: Sequence[Series],
    left_out: Sequence[LeftOut],
    sizes: Sequence[float],
    machine: MachineSpec,
    fit_up_to: float = math.inf,
) -> Report:
    """Find the laws of series, and project those that are against connections.

    Raises:
        SeriesError: there is nothing beyond ``fit_up_to`` to check the laws against.
    """
    largest = max((it.sizes[-1] for it in series if it.axis is Axis.CONNECTIONS), default=0)
    if math.isfinite(fit_up_to) and series and largest <= fit_up_to:
        raise SeriesError(
            f"no run has more than {format_count(fit_up_to)} connections, the most are "
            f"{format_count(largest)}: lower --fit-up-to, or add a folder of larger runs"
        )
    parts = []
    found = [find(one, fit_up_to if one.axis is Axis.CONNECTIONS else math.inf) for one in series]
    for one, findings in zip(series, check(found), strict=True):
        projected = [it for finding in findings for it in project(finding, sizes)]
        parts.append(SeriesReport(one, findings, tuple(projected)))
    fits = _fits(parts)
    workers = tuple(
        (law, tuple(workers_needed(fits[law.key], size) for size in sizes))
        for law in (IDLE_CPU, LOAD_CPU)
        if law.key in fits
    )
    return Report(
        tuple(parts), tuple(left_out), tuple(sizes), machine, bounds_of(machine, fits), workers
    )


def _fits(parts: Sequence[SeriesReport]) -> dict[str, Fit]:
    """Return the fit of each projected law; the first of several series takes precedence."""
    fits: dict[str, Fit] = {}
    for part in parts:
        for finding in part.findings:
            if finding.choice is not None and finding.law.axis is Axis.CONNECTIONS:
                fits.setdefault(finding.law.key, finding.choice.fit)
    return fits


def outcome_of_scaling(report: Report) -> Outcome:
    """Return the outcome: what could not be fitted weighs most, then what did not hold.

    That two models cannot be distinguished is an answer, not a failure.
    """
    findings = report.findings
    if not any(it.choice for it in findings):
        reasons = list(dict.fromkeys(f"{it.law.label}: {it.reason}" for it in findings))
        return outcome_from(invalid=reasons or ["no valid record is left"])
    checks = [(finding.law, it) for finding in findings for it in finding.checks]
    wrong = [
        f"{law.label} at {format_count(it.size)}: projected "
        f"{format_figure(law.figure, it.projected.low)} to "
        f"{format_figure(law.figure, it.projected.high)}, measured "
        f"{format_figure(law.figure, it.measured)}"
        for law, it in checks
        if it.verdict is Verdict.REFUTED
    ]
    doubts = [f"{it.law.label}: {it.doubt}" for it in findings if it.doubt]
    doubts += [
        f"{law.label} at {format_count(it.size)}: the projection is too wide to judge"
        for law, it in checks
        if it.verdict is Verdict.INCONCLUSIVE
    ]
    fitted = sum(it.choice is not None for it in findings)
    laws = f"{fitted} {'law was' if fitted == 1 else 'laws were'} fitted"
    held = f", {len(checks)} of {len(checks)} projections held where measured" if checks else ""
    return outcome_from(
        invalid=[f"not fitted: {it.reason}" for it in findings if it.missing],
        failed=wrong,
        undecided=doubts,
        held=f"{laws}{held}",
    )
