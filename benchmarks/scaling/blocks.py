"""A scaling report as headings, sentences and tables, for both the terminal and Markdown."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from benchmarks.scaling.analysis import Finding
from benchmarks.scaling.choice import Candidate
from benchmarks.scaling.fit import Fit, Interval
from benchmarks.scaling.laws import Axis, Law
from benchmarks.scaling.models import AMDAHL, LINE, LINEARITHMIC, POWER, QUADRATIC, UNIVERSAL
from benchmarks.scaling.report import Report, SeriesReport
from reports.outcome import Verdict
from reports.units import (
    format_bytes,
    format_count,
    format_figure,
    format_ratio,
    significant,
    unit_of,
)

_UNITS = {Axis.CONNECTIONS: "connections", Axis.RATE: "messages/s", Axis.WORKERS: "workers"}
_VERDICTS = {
    Verdict.HOLDS: "✔ held",
    Verdict.REFUTED: "✘ missed",
    Verdict.INCONCLUSIVE: "? too wide to judge",
}


@dataclass(frozen=True, slots=True)
class Heading:
    """A heading."""

    text: str


@dataclass(frozen=True, slots=True)
class Table:
    """A table: the first ``words`` columns are words, the others numbers."""

    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    words: int = 1


Block = Heading | Table | str


def blocks_of(report: Report) -> Iterator[Block]:
    """Yield all blocks of a report in reading order."""
    for part in report.series:
        yield from _of_series(part)
    if report.left_out:
        yield Heading("Left out")
        yield Table(
            ("record", "why"), tuple((it.path.name, it.why) for it in report.left_out), words=2
        )
    if report.is_projected:
        yield from _of_projection(report)


def _of_series(part: SeriesReport) -> Iterator[Block]:
    series, machine = part.series, part.series.header.machine
    sizes = ", ".join(f"{it:,.0f}" for it in series.sizes)
    yield Heading(f"{series.header.scenario} against {series.axis}")
    shared = "shared by server and generator" if series.shares_machine else "the generator's"
    workers = "" if series.axis is Axis.WORKERS else f", workers {series.workers}"
    yield (
        f"{len(series.readings)} runs of {sizes} {_UNITS[series.axis]}{workers}; {machine.cores} "
        f"cores ({shared}), {format_bytes(machine.memory_bytes)}, {machine.cpu_model}."
    )
    yield from (f"Note: {note}." for note in series.notes)
    fitted = [(it, it.choice.fit) for it in part.findings if it.choice is not None]
    if fitted:
        rows = [row for finding in part.findings for row in _coefficients(finding)]
        yield Table(("law", "", "estimate", "95 % interval"), tuple(rows), words=2)
        yield _deviations(fitted)
        yield _tested(part.findings)
    for finding in part.findings:
        yield from _remarks(finding)
    if any(it.checks for it in part.findings):
        yield Heading("Projection against what was measured further out")
        yield _checked(part.findings)


def _coefficients(finding: Finding) -> Iterator[tuple[str, ...]]:
    """Yield the chosen model's coefficients; for throughput, those of every model in question."""
    law, choice = finding.law, finding.choice
    if choice is None:
        return
    shown = (choice.fit, *(choice.rivals if law.axis is Axis.WORKERS else ()))
    for number, fit in enumerate(shown):
        name = f"{'or ' if number else ''}{fit.model.label}"
        yield ("" if number else law.label, f"{name}: {fit.model.formula}", "", "")
        yield from (
            ("", name, write(interval.value), _ends(interval, write))
            for name, interval, write in _results(law, fit)
        )


def _results(law: Law, fit: Fit) -> Iterator[tuple[str, Interval, "_Write"]]:
    """Yield the results of a fit, each as a name, an interval, and how to format it."""
    figure, unit = _Write(law.figure), _UNITS[law.axis]
    one = {"connections": "connection", "messages/s": "message/s", "workers": "worker"}[unit]
    scale, what = (1.0, one) if unit_of(law.figure) == "bytes" else (1e3, f"1,000 {unit}")
    match fit.model:
        case model if model in (LINE, QUADRATIC):
            yield f"b, per {what}", _times(fit, 1, scale), figure
            yield "a, with none", fit.coefficient(0), figure
            if model is QUADRATIC:
                largest = fit.points.distinct[-1]
                share = largest**2 / fit.figure_at(largest)
                yield f"c·n², of all at {largest:,.0f}", _times(fit, 2, share), _Write("_ratio")
        case model if model is LINEARITHMIC:
            yield (
                f"b·ln n at the largest, per {what}",
                _times(fit, 1, math.log(fit.points.distinct[-1]) * scale),
                figure,
            )
            yield "a, with none", fit.coefficient(0), figure
        case model if model is POWER:
            yield "p, the exponent", fit.coefficient(1), _Write("")
        case model if model in (AMDAHL, UNIVERSAL):
            first = fit.coefficient(0)
            inverse = Interval(*map(_inverse, (first.value, first.high, first.low)))
            yield "1/c, one worker", inverse, figure
            yield "σ, contention", fit.ratio(1, 0), _Write("_ratio")
            if model is UNIVERSAL:
                yield "κ, coherency", fit.ratio(2, 0), _Write("_ratio")


def _inverse(cost: float) -> float:
    return 1 / cost if cost else math.inf


def _times(fit: Fit, number: int, factor: float) -> Interval:
    held = fit.coefficient(number)
    return Interval(held.value * factor, held.low * factor, held.high * factor)


@dataclass(frozen=True, slots=True)
class _Write:
    """A formatter for the values of a figure; a plain number if it has no unit."""

    figure: str
    in_cores: bool = False

    def __call__(self, value: float) -> str:
        if math.isinf(value):
            return "unbounded"
        if math.isnan(value):
            return "–"
        if self.in_cores and self.figure.endswith("cpu_ratio"):
            return f"{significant(value)} {'core' if value == 1 else 'cores'}"
        return format_figure(self.figure, value) if self.figure else significant(value)


def _ends(interval: Interval, write: _Write) -> str:
    return f"{write(interval.low)} to {write(interval.high)}"


def _deviations(fitted: Sequence[tuple[Finding, Fit]]) -> Table:
    """Return how far each size lies from the chosen model, and how much runs scatter."""
    sizes = sorted({size for _, fit in fitted for size, _ in fit.deviations})
    rows = []
    for finding, fit in fitted:
        held = dict(fit.deviations)
        cells = [f"{_percent(held[size])} %" if size in held else "" for size in sizes]
        rows.append((finding.law.label, *cells, format_ratio(fit.scatter)))
    headings = ("measured − fitted, at", *(f"{size:,.0f}" for size in sizes), "scatter")
    return Table(headings, tuple(rows))


def _percent(logarithm: float) -> str:
    # Adding 0 removes the sign of a value that rounds to 0.
    return f"{round(math.expm1(logarithm) * 100, 1) + 0.0:+.1f}"


def _tested(findings: Sequence[Finding]) -> Table:
    rows = []
    for finding in findings:
        if finding.choice is None:
            continue
        for number, candidate in enumerate(finding.choice.candidates):
            rows.append(
                (
                    finding.law.label if number == 0 else "",
                    candidate.model.label,
                    _standing(candidate, finding.choice.chosen),
                    "–" if candidate.score is None else format_ratio(math.expm1(candidate.score)),
                )
            )
    headings = ("law", "model", "standing", "left-out error")
    return Table(headings, tuple(rows), words=3)


def _standing(candidate: Candidate, chosen: str) -> str:
    if candidate.model.key == chosen:
        return "chosen"
    if candidate.score is None:
        return candidate.reason or "not tested"
    if candidate.beaten is None:
        return "cannot be distinguished"
    beaten = f"no better in {candidate.beaten:.0%} of draws".replace("%", " %")
    return f"cannot be distinguished ({beaten})" if candidate.in_question else beaten


def _remarks(finding: Finding) -> Iterator[str]:
    label = finding.law.label
    if finding.choice is None:
        yield f"{label}: no law. {finding.reason}."
        return
    fit = finding.choice.fit
    if not fit.fits:
        yield (
            f"{label}: the {fit.model.label} does not fit: sizes lie further from it than runs "
            f"scatter (p = {significant(fit.lack_of_fit or 0.0)}). Intervals take the size as the "
            "unit, and are as wide as that makes them."
        )
    if fit.lack_of_fit is None and len(fit.points.sizes) == len(fit.points.distinct):
        yield f"{label}: one run a size, so models cannot be distinguished; repeat the runs."
    if finding.doubt:
        yield f"{label}: {finding.doubt}."


def _checked(findings: Sequence[Finding]) -> Table:
    rows = []
    for finding in findings:
        write = _Write(finding.law.figure)
        rows += [
            (
                finding.law.label,
                _VERDICTS[check.verdict],
                f"{check.size:,.0f}",
                _ends(check.projected, write),
                f"{write(check.measured)} ({len(check.runs)})",
            )
            for check in finding.checks
        ]
    headings = ("law", "verdict", "at", "projected, 95 % over all", "measured (runs)")
    return Table(headings, tuple(rows), words=2)


def _of_projection(report: Report) -> Iterator[Block]:
    yield Heading("PROJECTION: nothing below was measured")
    yield from _reach(report)
    headings = ("projection", "model", "connections", "estimate", "95 % interval")
    shown = [part for part in report.series if part.projected]
    rows = [row for part in shown for row in _projected_rows(part, is_one=len(shown) == 1)]
    yield Table(headings, tuple(rows), words=2)
    sizes = tuple(format_count(it) for it in report.sizes)
    for law, counts in report.workers:
        needed = ", ".join(f"{it:,} for {size}" for it, size in zip(counts, sizes, strict=True))
        yield f"Workers at a core each ({law.label}): {needed}."
    yield from _of_limits(report, sizes)
    yield "Assumptions that could break it:"
    yield from (f"- {it}" for it in _assumptions(report))


def _reach(report: Report) -> Iterator[str]:
    """Yield the range that was fitted, and a warning about what is far beyond it."""
    reaches = {
        part.series.header.scenario: part.projected[0].size / part.projected[0].times
        for part in report.series
        if part.projected
    }
    fitted = ", ".join(f"{format_count(size)} ({name})" for name, size in reaches.items())
    yield f"Fitted up to this many connections: {fitted}. Intervals are for one run."
    least = min(reaches.values())
    projected = [it for part in report.series for it in part.projected]
    far = sorted({it.size for it in projected if it.is_far})
    if far:
        beyond = ", ".join(f"{format_count(size)} ({size / least:,.0f} times)" for size in far)
        yield (
            f"More than ten times beyond the largest size measured: {beyond}. There the intervals "
            "show what the law would give if it held that far out, and nothing shows that it does."
        )


def _of_limits(report: Report, sizes: tuple[str, ...]) -> Iterator[Block]:
    yield Heading("PROJECTION: which limit bites first")
    machine = report.machine
    yield (
        f"One machine: {machine.cores} cores, {format_bytes(machine.memory_bytes)}, "
        f"{format_count(machine.files)} files a process."
    )
    rows = [
        (
            bound.label,
            "no bound" if math.isinf(bound.fits) else f"{bound.fits:,.0f}",
            *(_machines(bound.machines(size)) for size in report.sizes),
        )
        for bound in report.bounds
    ]
    most = ("machines needed", "", *(_machines(_most(report, size)) for size in report.sizes))
    table = (*rows, most)
    yield Table(("limit", "one machine holds", *sizes), table)
    yield "How: " + "; ".join(f"{it.label}: {it.how}" for it in report.bounds) + "."
    if not report.machine.proxy_sources:
        needed = ", ".join(f"{math.ceil(it / machine.ports):,}" for it in report.sizes)
        yield (
            f"With a proxy in front, a source address has {machine.ports:,} ports to one address "
            f"of the server: {needed} addresses are needed (--proxy-sources bounds them)."
        )


def _most(report: Report, size: float) -> float:
    return max(bound.machines(size) for bound in report.bounds)


def _machines(count: float) -> str:
    return "none do" if math.isinf(count) else f"{count:,.0f}"


def _projected_rows(part: SeriesReport, *, is_one: bool) -> Iterator[tuple[str, ...]]:
    for law in dict.fromkeys(it.law for it in part.projected):
        name = law.label if is_one else f"{law.label} ({part.series.header.scenario})"
        write, held = (
            _Write(law.figure, in_cores=True),
            [it for it in part.projected if it.law is law],
        )
        labels = [held[0].model, *(label for label, _ in held[0].rivals)]
        for rank, model in enumerate(labels):
            for number, one in enumerate(held):
                interval = one.interval if rank == 0 else one.rivals[rank - 1][1]
                yield (
                    name if rank == number == 0 else "",
                    "" if number else f"or {model}" if rank else model,
                    format_count(one.size),
                    write(interval.value),
                    _ends(interval, write),
                )


def _assumptions(report: Report) -> Iterator[str]:
    shown = [part for part in report.series if part.projected]
    first = shown[0].series
    yield "the law keeps its form: caches, hash tables and queues may change it further out."
    yield (
        f"workers stay as measured ({first.workers}); each further one brings its own start-up "
        "memory, and a broadcast crosses the bus once more."
    )
    if any(part.series.shares_machine for part in shown):
        yield (
            "clients were on the same machine: kernel memory is that of both ends, no network card "
            f"or round trip is in it, and {first.header.machine.cores} cores served both sides."
        )
    yield "heartbeats, message sizes, rates and compression stay as they were measured."
    yield f"cores are as fast as those measured ({first.header.machine.cpu_model})."
    rivals = [it.law.label for part in shown for it in part.projected if it.rivals]
    if rivals:
        laws = "; ".join(dict.fromkeys(rivals))
        yield f"the model is the right one: others cannot be excluded for {laws} (rows with “or”)."
