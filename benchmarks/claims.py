"""Claims as data: the file that states them, checked at the edge, and their verdicts.

A claim says a sentence and names the metric, the bound and the experiment that test it; an
experiment says how the metric is measured, and may serve several claims. Judging is arithmetic on
what runs measured; running is :mod:`benchmarks.experiments`.
"""

import math
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from benchmarks.statistics import mean_interval, ratio_interval, verdict
from loadtests.toml_lines import line_of
from reports.figures import against_figure
from reports.units import format_figure, parse_bytes, parse_count, parse_figure, parse_seconds
from reports.verdict import ClaimResult, Estimate, Verdict


class ClaimsFileError(Exception):
    """A claims file cannot be used; the message names file, line, key and what was expected."""


def _human(parse: Any) -> BeforeValidator:  # noqa: ANN401 - a function of text to a number
    """Let a value be written as people write it, with its unit, or as a plain number."""
    return BeforeValidator(lambda given: parse(given) if isinstance(given, str) else given)


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class LoadExperiment(_Table):
    """A load on the reference server, started afresh for every run.

    Attributes:
        server: options of the reference server, by name without the leading dashes.
        parameters: the scenario's own.
        redis: give the server a Redis of its own, and count the connections it has there.
    """

    kind: Literal["load"] = "load"
    scenario: str
    path: str = "/ws"
    connections: Annotated[int, _human(parse_count), Field(ge=1)]
    concurrent: Annotated[int, _human(parse_count), Field(ge=1)] = 256
    duration: Annotated[float, _human(parse_seconds), Field(gt=0)] = 10.0
    rate: Annotated[float, Field(gt=0)] | None = None
    payload: Annotated[int, _human(parse_bytes), Field(ge=1)] = 64
    steps: Annotated[int, Field(ge=1)] = 1
    processes: Annotated[int, Field(ge=1)] = 1
    repeats: Annotated[int, Field(ge=2)] = 3
    parameters: Mapping[str, str | int | float | bool] = {}
    server: Mapping[str, str | int | float] = {}
    redis: bool = False

    def describe(self) -> str:
        """Say in a few words how this is measured."""
        pace = "" if self.rate is None else f", {self.rate:g}/s"
        extra = "".join(f", {name} {value}" for name, value in self.parameters.items())
        served = "".join(f", {name} {value}" for name, value in self.server.items())
        return (
            f"{self.scenario} on {self.path}, {self.connections:,} connections{extra}{pace}, "
            f"{self.duration:g}\u00a0s{served}{', Redis' if self.redis else ''}"
        )


class AloneExperiment(_Table):
    """A primitive measured by itself, in a fresh process a run (:mod:`benchmarks.alone`)."""

    kind: Literal["alone"]
    subject: Literal["coroutine", "thread"]
    count: Annotated[int, _human(parse_count), Field(ge=1)]
    repeats: Annotated[int, Field(ge=2)] = 3

    def describe(self) -> str:
        """Say in a few words how this is measured."""
        return f"{self.count:,} of it in a fresh process"


Experiment = LoadExperiment | AloneExperiment


class Claim(_Table):
    """One sentence and what would make it true.

    Attributes:
        says: the sentence, as it was found; ``source`` is where.
        experiment: the experiment whose runs are judged.
        baseline: another experiment; what is judged is then the ratio to it, run by run.
        metric: the figure, its unit in its name.
        comparison: ``at_most``, ``at_least``, or ``within`` a relative ``tolerance``.
        value: the bound, in the metric's unit; a plain factor when there is a baseline.
        context: figures shown beside the judged one.
        expected: the verdict that is known and accepted.
    """

    id: str
    says: str
    source: str
    experiment: str
    baseline: str | None = None
    metric: str
    comparison: Literal["at_most", "at_least", "within"]
    value: float | str
    tolerance: Annotated[float, Field(gt=0, lt=1)] | None = None
    context: tuple[str, ...] = Field(default=(), strict=False)
    expected: Annotated[Verdict, Field(strict=False)] = Verdict.HOLDS

    @property
    def limit(self) -> float:
        """The bound as a number in the metric's unit. Raises ValueError for a wrong unit."""
        if isinstance(self.value, float):
            return self.value
        return parse_figure("ratio" if self.baseline else self.metric, self.value)

    def bound(self) -> str:
        """Say what the figure must be."""
        limit = f"{self.limit:g} times" if self.baseline else format_figure(self.metric, self.limit)
        match self.comparison:
            case "at_most":
                return f"at most {limit}"
            case "at_least":
                return f"at least {limit}"
            case "within":
                return f"{limit} ± {(self.tolerance or 0) * 100:g} %"


@dataclass(frozen=True, slots=True)
class ClaimsFile:
    """A claims file, checked."""

    path: Path
    experiments: Mapping[str, Experiment]
    claims: tuple[Claim, ...]


class _File(_Table):
    experiment: dict[str, Annotated[Experiment, Field(discriminator="kind")]]
    claim: Annotated[tuple[Claim, ...], Field(strict=False, min_length=1)]


def load_claims(path: Path) -> ClaimsFile:
    """Read a claims file.

    Raises:
        ClaimsFileError: it cannot be read, or something in it is not as it must be.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as error:
        raise ClaimsFileError(f"cannot read {path}: {error.strerror}") from None
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ClaimsFileError(f"{path}: not TOML: {error}") from None
    for table in raw.get("experiment", {}).values():
        if isinstance(table, dict):
            table.setdefault("kind", "load")
    try:
        file = _File.model_validate(raw)
    except ValidationError as error:
        first = error.errors()[0]
        raise _complaint(path, text, first["loc"], _expected(first)) from None
    _check_references(path, text, file)
    return ClaimsFile(path, file.experiment, file.claim)


def _expected(error: Any) -> str:  # noqa: ANN401 - pydantic's own error type
    match error["type"]:
        case "extra_forbidden":
            return "no such key is known"
        case "missing":
            return "the key is missing"
        case _:
            return f"{error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"


def _complaint(path: Path, text: str, place: Sequence[int | str], what: str) -> ClaimsFileError:
    # The name of the kind that an experiment was taken for is no key of the file.
    keys = [key for key in place if key not in ("load", "alone")]
    shown = ".".join(str(key) for key in keys)
    return ClaimsFileError(f"{path}:{line_of(text, keys)}: {shown}: {what}")


def _check_references(path: Path, text: str, file: _File) -> None:
    """Check what no table can check of itself: names, repeats, units."""
    seen: set[str] = set()
    for number, claim in enumerate(file.claim):
        place = ("claim", number)
        if claim.id in seen:
            raise _complaint(path, text, (*place, "id"), f"{claim.id!r} is taken already")
        seen.add(claim.id)
        for key in ("experiment", "baseline"):
            name = getattr(claim, key)
            if name is not None and name not in file.experiment:
                known = ", ".join(file.experiment)
                complaint = f"no experiment is called {name!r}; there are {known}"
                raise _complaint(path, text, (*place, key), complaint)
        judged = file.experiment[claim.experiment]
        if isinstance(judged, LoadExperiment) and not judged.redis:
            complaint = against_figure(claim.metric, judged.scenario)
            if complaint:
                raise _complaint(path, text, (*place, "metric"), complaint)
        try:
            _ = claim.limit
        except ValueError as error:
            raise _complaint(path, text, (*place, "value"), str(error)) from None
        if (claim.comparison == "within") != (claim.tolerance is not None):
            complaint = "a tolerance goes with comparison = 'within', and only with it"
            raise _complaint(path, text, (*place, "comparison"), complaint)


def choose(file: ClaimsFile, ids: Sequence[str]) -> ClaimsFile:
    """Give the file with only the claims named, all of them when none is.

    Raises:
        ClaimsFileError: there is no claim of that name.
    """
    known = [claim.id for claim in file.claims]
    for wanted in ids:
        if wanted not in known:
            there_are = ", ".join(known)
            raise ClaimsFileError(
                f"{file.path}: no claim is called {wanted!r}; there are {there_are}"
            )
    return replace(file, claims=tuple(c for c in file.claims if not ids or c.id in ids))


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What one run measured: its figures by name, or why they may not be judged."""

    valid: bool
    reasons: tuple[str, ...]
    figures: Mapping[str, float]


def judge(
    claim: Claim, experiment: Experiment, runs: Mapping[str, Sequence[RunFigures]]
) -> ClaimResult:
    """Give the verdict on a claim from the runs of each experiment, by its name."""
    reasons: tuple[str, ...] = ()
    estimate: Estimate | None = None
    try:
        estimate = _estimate(claim, runs)
        judged = _verdict(claim, estimate)
    except _NotMeasuredError as error:
        judged, reasons = Verdict.NOT_MEASURED, (str(error),)
    return ClaimResult(
        claim=claim.id,
        says=claim.says,
        source=claim.source,
        verdict=judged,
        expected=claim.expected,
        metric="times" if claim.baseline else claim.metric,
        bound=claim.bound(),
        how=experiment.describe(),
        estimate=estimate,
        reasons=reasons,
        context=_context(claim, runs) if estimate else (),
    )


class _NotMeasuredError(Exception):
    """There is nothing to judge; the message is why."""


def _estimate(claim: Claim, runs: Mapping[str, Sequence[RunFigures]]) -> Estimate:
    values = _values(claim.experiment, claim.metric, runs)
    try:
        if claim.baseline is None:
            return mean_interval(values)
        return ratio_interval(values, _values(claim.baseline, claim.metric, runs))
    except ValueError as error:
        raise _NotMeasuredError(f"{claim.metric}: {error}") from None


def _values(
    experiment: str, metric: str, runs: Mapping[str, Sequence[RunFigures]]
) -> tuple[float, ...]:
    values = []
    for number, run in enumerate(runs.get(experiment, ()), 1):
        if not run.valid:
            why = "; ".join(run.reasons) or "no reason was recorded"
            raise _NotMeasuredError(f"run {number} of {experiment} is invalid: {why}")
        value = run.figures.get(metric)
        if value is None or not math.isfinite(value):
            raise _NotMeasuredError(f"run {number} of {experiment} has no figure {metric!r}")
        values.append(value)
    return tuple(values)


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
    claim: Claim, runs: Mapping[str, Sequence[RunFigures]]
) -> tuple[tuple[str, float], ...]:
    """Give the mean over the runs of each figure to show beside, those that every run has."""
    means = []
    for metric in claim.context:
        values = [run.figures.get(metric, math.nan) for run in runs[claim.experiment]]
        mean = sum(values) / len(values)
        if math.isfinite(mean):
            means.append((metric, mean))
    return tuple(means)
