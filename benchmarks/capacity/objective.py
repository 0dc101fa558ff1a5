"""What a load must meet to count as held: conditions on figures, and whether a run meets them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.judging.capacity import TrialResult
from benchmarks.judging.run_figures import RunFigures
from loadtests.errors import UsageError
from loadtests.plan.plan import Plan
from loadtests.scenarios.figures import against_figure_of, measures_of
from reports.faults import FAULTS
from reports.threshold import Threshold, holds, parse_threshold

_PROMPT: Final = "p99_seconds<=50ms"
_RELATION: Final[Mapping[str, str]] = {
    "<=": "more than",
    "<": "not less than",
    ">=": "less than",
    ">": "not more than",
}


@dataclass(frozen=True, slots=True)
class Breach:
    """A condition that did not hold in a run, and the figure; None if it was not measured."""

    condition: Threshold
    found: float | None


def objective_of(texts: Sequence[str], plan: Plan) -> tuple[Threshold, ...]:
    """Parse an objective; nothing may go wrong either, unless it says what may.

    The default is that 99 % of what the load's messages are about, such as their replies, take no
    longer than 50 ms, if messages are sent to the end of the load.

    Raises:
        UsageError: it cannot be read, or no run has such a figure.
    """
    given = [_condition(text, plan) for text in texts] or [*map(parse_threshold, _usual(plan))]
    named = {condition.figure for condition in given}
    implied = [parse_threshold(f"{figure}<=0") for figure in _faults(plan) if figure not in named]
    return (*given, *implied)


def _condition(text: str, plan: Plan) -> Threshold:
    try:
        condition = parse_threshold(text)
    except ValueError as error:
        raise UsageError(f"--objective: {error}") from None
    if complaint := against_figure_of(plan, condition.figure):
        raise UsageError(f"--objective {text!r}: {complaint}")
    return condition


def _usual(plan: Plan) -> list[str]:
    measures = measures_of(plan)
    return [f"{kind}.{_PROMPT}" for kind in measures.main[:1] if measures.reaches_rate]


def _faults(plan: Plan) -> tuple[str, ...]:
    return ("errors", "integrity.lost") if measures_of(plan).has_ledger else ("errors",)


def result_of(
    run: RunFigures, objective: Sequence[Threshold]
) -> tuple[TrialResult, tuple[Breach, ...]]:
    """Return whether a run met an objective, and which of its conditions were not met.

    A run broke if it failed, or if it duplicated, reordered or damaged messages, whichever figures
    were asked for. A run that is invalid says nothing, nor does one without any figure: no load was
    put on a server that does not start.
    """
    named = {condition.figure for condition in objective}
    faults = (name for name in FAULTS if name not in named and run.figures.get(name))
    breaches = tuple(
        Breach(condition, measured(run, condition))
        for condition in (*objective, *(parse_threshold(f"{name}<=0") for name in faults))
        if not holds(condition, run.figures)
    )
    if run.failures and run.figures:
        return TrialResult.BROKE, breaches
    if not run.valid:
        return TrialResult.NOTHING, ()
    return (TrialResult.BROKE if breaches else TrialResult.HELD), breaches


def measured(run: RunFigures, condition: Threshold) -> float | None:
    """Return the figure of a condition; None if there is no such number."""
    found = run.figures.get(condition.figure)
    return None if found is None or math.isnan(found) else found


def against(condition: Threshold) -> str:
    """Return in words how a figure compares with the bound that it broke."""
    return _RELATION[condition.relation]
