"""From a series to its laws: each chosen, or why it was not, and checked against larger sizes."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.scaling.choice import Choice, choose
from benchmarks.scaling.fit import CONFIDENCE, Interval, NotEnoughError, Points
from benchmarks.scaling.laws import Axis, Law, laws_of
from benchmarks.scaling.readings import Reading, Series
from reports.outcome import Verdict
from reports.units import format_figure

_FAR: Final = 10.0
"""Beyond this multiple of the largest measured size, a projection says so in words."""

_TOO_WIDE: Final = 4.0
"""An interval whose ends are further apart than this factor is too wide to test anything."""


@dataclass(frozen=True, slots=True)
class Check:
    """A law's projection for a size beyond those it was fitted on, and what was measured there.

    Attributes:
        runs: what each run measured; ``measured`` is their mean.
        projected: for the mean of as many runs, at 95 % over all checks of a report together.
    """

    size: float
    runs: tuple[float, ...]
    measured: float
    projected: Interval

    @property
    def verdict(self) -> Verdict:
        """Whether the mean lies in the interval; inconclusive if nearly anything would have."""
        if not self.projected.low <= self.measured <= self.projected.high:
            return Verdict.REFUTED
        if self.projected.high > _TOO_WIDE * self.projected.low:
            return Verdict.INCONCLUSIVE
        return Verdict.HOLDS


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about one law.

    Attributes:
        choice: None if it could not be fitted; ``reason`` says why.
        missing: whether some of the runs have the figure and others do not, which is never a pass;
            a figure that no run has was not measured.
        doubt: why the law, though fitted, says nothing about the server; empty if it does.
        beyond: what was measured at sizes larger than those fitted.
        checks: the checks of the law at these sizes.
    """

    law: Law
    choice: Choice | None = None
    reason: str = ""
    missing: bool = False
    doubt: str = ""
    beyond: tuple[tuple[float, tuple[float, ...]], ...] = ()
    checks: tuple[Check, ...] = ()


@dataclass(frozen=True, slots=True)
class Projected:
    """A figure at a size that was not measured.

    Attributes:
        interval: for one new run, if the chosen model holds that far out.
        rivals: the values of the models that cannot be distinguished from that one, by label.
        times: the size as a multiple of the largest fitted size.
    """

    law: Law
    size: float
    model: str
    interval: Interval
    rivals: tuple[tuple[str, Interval], ...]
    times: float

    @property
    def is_far(self) -> bool:
        """Whether it is more than ten times beyond what was measured."""
        return self.times > _FAR


def find(series: Series, fit_up_to: float = math.inf) -> tuple[Finding, ...]:
    """Fit every law of a series to its runs up to a size; see :func:`check` for the other runs."""
    laws = laws_of(series.axis, sends=series.sends)
    return tuple(_find(law, series, fit_up_to) for law in laws)


def check(findings: Sequence[Sequence[Finding]]) -> list[tuple[Finding, ...]]:
    """Check the laws of all series of a report against what was measured beyond the fit."""
    count = sum(len(it.beyond) for part in findings for it in part if it.choice is not None)
    return [
        tuple(replace(it, checks=tuple(_checks(it, count))) for it in part) for part in findings
    ]


def project(finding: Finding, sizes: Sequence[float]) -> tuple[Projected, ...]:
    """Project a law to sizes; empty if there is none, or it says nothing about the server."""
    if finding.choice is None or finding.doubt or finding.law.axis is not Axis.CONNECTIONS:
        return ()
    fit = finding.choice.fit
    largest = fit.points.distinct[-1]
    return tuple(
        Projected(
            finding.law,
            size,
            fit.model.label,
            fit.prediction(size),
            tuple((rival.model.label, rival.prediction(size)) for rival in finding.choice.rivals),
            size / largest,
        )
        for size in sizes
    )


def _find(law: Law, series: Series, fit_up_to: float) -> Finding:
    if law.axis is Axis.WORKERS and series.header.load.get("rate") is not None:
        return Finding(
            law, reason="the runs have a rate, so their throughput is what was asked of them"
        )
    held = [(it, it.figures.get(law.figure)) for it in series.readings]
    if all(value is None for _, value in held):
        return Finding(law, reason=f"not measured: no run has {law.figure}")
    for reading, value in held:
        if value is None or not math.isfinite(value):
            problem = "is missing" if value is None else f"is {value:g}"
            return Finding(law, reason=f"{law.figure} {problem} in {reading.path}", missing=True)
        if value <= 0:
            # The host's memory fluctuates on its own, and CPU is counted in ticks.
            found = f"{format_figure(law.figure, value)} at {reading.size:,g}"
            return Finding(law, reason=f"{found} is too small to measure; use larger sizes")
    pairs = [(reading.size, value) for reading, value in held if value is not None]
    fitted = [pair for pair in pairs if pair[0] <= fit_up_to]
    try:
        choice = choose(
            law.models, Points(tuple(n for n, _ in fitted), tuple(y for _, y in fitted))
        )
    except NotEnoughError as error:
        return Finding(law, reason=str(error))
    beyond = {
        size: tuple(y for n, y in pairs if n == size) for size, _ in pairs if size > fit_up_to
    }
    doubt = _doubt(law, series.readings)
    return Finding(law, choice, doubt=doubt, beyond=tuple(sorted(beyond.items())))


def _doubt(law: Law, readings: Sequence[Reading]) -> str:
    """Return a sentence if the generator or the machine bounded a throughput; otherwise empty."""
    if law.axis is not Axis.WORKERS:
        return ""
    others = [it for it in readings if {"generator", "machine"} & set(it.limit)]
    if not others:
        return ""
    return (
        f"in {len(others)} of {len(readings)} runs the generator or the machine was the limit: "
        "contention and coherency are theirs as much as the server's"
    )


def _checks(finding: Finding, count: int) -> Iterator[Check]:
    if finding.choice is None:
        return
    # Bonferroni: the 95 % apply to all of them together.
    confidence = 1 - (1 - CONFIDENCE) / max(count, 1)
    for size, values in finding.beyond:
        yield Check(
            size,
            values,
            sum(values) / len(values),
            finding.choice.fit.prediction(size, len(values), confidence),
        )
