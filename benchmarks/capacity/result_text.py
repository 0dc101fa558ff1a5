"""What a search found, in words and as data: one sentence, why it stopped there, and every load."""

import statistics
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from benchmarks.capacity.objective import Breach, against, measured
from benchmarks.capacity.searching import Made, Search, run_document
from benchmarks.judging.capacity import (
    Answer,
    Candidate,
    Ending,
    Standing,
    Trial,
    TrialResult,
    answer,
    candidates,
)
from reports.limit import Limit, limit_of
from reports.outcome import ExitStatus
from reports.tables.capacity_table import LoadRow
from reports.threshold import Threshold
from reports.units import format_figure, unit_of

_NOT_MEASURED: Final = "not measured"
_STATUS: Final[Mapping[Ending, ExitStatus]] = {
    Ending.FOUND: ExitStatus.HELD,
    Ending.BELOW: ExitStatus.FAILED,
    Ending.ABOVE: ExitStatus.INCONCLUSIVE,
    Ending.UNJUDGED: ExitStatus.INCONCLUSIVE,
    Ending.CONTRADICTED: ExitStatus.INCONCLUSIVE,
    Ending.UNFINISHED: ExitStatus.INCONCLUSIVE,
}
_KINDS: Final[Mapping[Standing, str]] = {
    Standing.HOLDS: "held",
    Standing.LEANS: "held",
    Standing.BREAKS: "broke",
    Standing.OPEN: "open",
    Standing.UNKNOWN: "unjudged",
}


@dataclass(frozen=True, slots=True)
class SearchResult:
    """A search, its runs, and their result.

    Attributes:
        interval: the interval of the load above which it breaks more often than it holds; None if
            that is not known.
        most: why no load larger than the largest of the span was to be tried.
        unfinished: how the search ended, if it ended before it was decided.
    """

    asked: Search
    made: tuple[Made, ...]
    answer: Answer
    interval: tuple[float, float] | None
    most: str
    unfinished: str

    @property
    def status(self) -> ExitStatus:
        """The exit status."""
        if self.answer.ending is Ending.UNJUDGED and self.answer.holds is None:
            return ExitStatus.INVALID
        if self.is_unmeasured:
            return ExitStatus.INVALID
        if self.answer.ending in (Ending.FOUND, Ending.BELOW) and limited_by(self):
            return ExitStatus.INCONCLUSIVE
        return _STATUS[self.answer.ending]

    @property
    def is_unmeasured(self) -> bool:
        """Whether even the smallest load breaks, but only because a figure was not measured."""
        broken = [breach for made in self.made for breach in made.breaches]
        has_failed = any(made.run.failures for made in self.made)
        return (
            self.answer.ending is Ending.BELOW
            and not has_failed
            and all(it.found is None for it in broken)
        )

    def load(self, value: float) -> str:
        """Format a load with its unit."""
        return f"{self.asked.load.formatted(value)} {self.asked.load.unit}"


def search_result(
    asked: Search, made: Sequence[Made], *, most: str, unfinished: str
) -> SearchResult:
    """Return the result of the runs so far."""
    # Imported here, because it needs numpy and would delay the start of every command.
    from benchmarks.judging.knee import knee_interval  # noqa: PLC0415

    trials = [it.trial for it in made]
    found = answer(asked.span, trials)
    interval = None
    if found.ending is Ending.FOUND and found.holds is not None and found.breaks is not None:
        low, high = knee_interval(trials)
        interval = min(low, found.holds), max(high, found.breaks)
    return SearchResult(asked, tuple(made), found, interval, most, unfinished)


def sentence(result: SearchResult) -> str:
    """Return in one sentence what was found, and why not more."""
    found = result.answer
    match found.ending:
        case Ending.FOUND:
            return f"{_holds(result)}{_how_surely(result)}; {_broke(result)}."
        case Ending.BELOW:
            return f"Does not hold even {result.load(result.asked.span.low)}; {_broke(result)}."
        case Ending.ABOVE:
            return f"{_holds(result)} at least, the largest load to be tried: {result.most}."
        case Ending.UNJUDGED:
            return _unjudged(result)
        case Ending.CONTRADICTED:
            larger = ", ".join(map(result.asked.load.formatted, found.contradicting))
            return (
                f"{_holds(result)}, and {larger} again, but not the loads in between: "
                f"{_broke(result)}. There is no single capacity."
            )
        case Ending.UNFINISHED:
            return f"{result.unfinished}: {_so_far(result)}."


def _holds(result: SearchResult) -> str:
    assert result.answer.holds is not None
    return f"Holds {result.load(result.answer.holds)}"


def _how_surely(result: SearchResult) -> str:
    if limited_by(result):
        return " at least"
    assert result.interval is not None
    low, high = map(result.asked.load.formatted, result.interval)
    return f" (95 % interval {low} to {high})"


def _so_far(result: SearchResult) -> str:
    found = result.answer
    if found.holds is None and not any(made.result is TrialResult.HELD for made in result.made):
        return _broke(result) if found.breaks is not None else "no load has held in enough runs yet"
    best = found.holds or max(made.load for made in result.made if made.result is TrialResult.HELD)
    runs = next(it for it in candidates(result.asked.span, _trials(result)) if it.load == best)
    held = f"{result.load(best)} held in {runs.held} of {_runs(runs.runs)}"
    return held if found.breaks is None else f"{held}; {_broke(result)}"


def _unjudged(result: SearchResult) -> str:
    found = result.answer
    assert found.unjudged is not None
    unjudged = (
        it for it in result.made if it.load == found.unjudged and it.result is TrialResult.NOTHING
    )
    why = "; ".join(next(unjudged).run.reasons)
    if found.holds is None:
        return f"No result: no run with {result.load(found.unjudged)} could be judged: {why}."
    return (
        f"{_holds(result)} at least; with {result.asked.load.formatted(found.unjudged)} the "
        f"generator or this machine was the limit, not the server: {why}"
        f"{'' if found.breaks is None else f'; {_broke(result)}'}."
    )


def _broke(result: SearchResult) -> str:
    """Return what broke at the smallest load that breaks."""
    value = result.answer.breaks
    assert value is not None
    at = f"at {result.asked.load.formatted(value)}"
    broken = _broken(result)
    if failures := [failure for it in broken for failure in it.run.failures]:
        return f"breaks {at}: {failures[0]}"
    worst = _most_broken(result.asked.objective, broken)
    name = worst.condition.figure
    if worst.found is None:
        return f"breaks {at}: {name} {_NOT_MEASURED}"
    bound = format_figure(name, worst.condition.value)
    return (
        f"breaks {at}: {name} {format_figure(name, worst.found)}{_kinds(name, broken)}, "
        f"{against(worst.condition)} {bound}{_elsewhere(result)}"
    )


def _elsewhere(result: SearchResult) -> str:
    limit = limited_by(result)
    return f", but there the {limit} was the limit" if limit else ""


def _broken(result: SearchResult) -> list[Made]:
    """Return those runs of the smallest breaking load that broke."""
    return [
        it
        for it in result.made
        if it.load == result.answer.breaks and it.result is TrialResult.BROKE
    ]


def _kinds(name: str, broken: Sequence[Made]) -> str:
    """Return the most frequent kind of error, if errors are what broke."""
    kinds = sum((Counter(it.run.errors) for it in broken), Counter[str]())
    return f" (mostly {kinds.most_common(1)[0][0]})" if name == "errors" and kinds else ""


def _most_broken(objective: Sequence[Threshold], broken: Sequence[Made]) -> Breach:
    """Return the condition broken in the most runs, with the median of its figure in those runs."""
    counted = Counter(breach.condition for made in broken for breach in made.breaches)
    condition = max(objective, key=lambda it: counted[it])
    found = [
        breach.found
        for made in broken
        for breach in made.breaches
        if breach.condition == condition and breach.found is not None
    ]
    return Breach(condition, statistics.median(found) if found else None)


def limit_line(result: SearchResult) -> str:
    """Return what was the limit at the smallest load that breaks; empty if it is not known."""
    if (limit := _limit(result)) is None:
        return ""
    assert result.answer.breaks is not None
    return f"The limit at {result.asked.load.formatted(result.answer.breaks)}: {limit}."


def limited_by(result: SearchResult) -> str:
    """Return what other than the server made a load break; empty if it was the server."""
    limit = _limit(result)
    return limit.who if limit is not None and limit.parts and "server" not in limit.parts else ""


def _limit(result: SearchResult) -> Limit | None:
    """Return the most frequent limit in those runs of the smallest breaking load that broke."""
    limits = [*filter(None, map(_limit_in, _broken(result)))]
    usual = Counter(limit.who for limit in limits).most_common(1)
    return next((limit for limit in limits if limit.who == usual[0][0]), None)


def _limit_in(made: Made) -> Limit | None:
    """Return the limit of a run that broke, if it may be the reason.

    A time includes what a busy generator or machine adds; an error is the server's regardless.
    """
    limit = limit_of(made.run.figures)
    if made.result is not TrialResult.BROKE or limit is None:
        return None
    is_late = not made.run.failures and all(
        unit_of(breach.condition.figure) == "seconds" for breach in made.breaches
    )
    return limit if is_late or "server" in limit.parts else None


def condition_heads(result: SearchResult) -> list[str]:
    """Return the column heading of each condition."""
    catalogue = result.asked.load.case.workload.catalogue
    return [
        f"{catalogue.figure(it.figure).label} {it.relation} {format_figure(it.figure, it.value)}"
        for it in result.asked.objective
    ]


def rows(result: SearchResult) -> list[LoadRow]:
    """Return a row for each load that was tried, smallest first."""
    tried = candidates(result.asked.span, _trials(result))
    return [
        _row(result, it, [made for made in result.made if made.load == it.load]) for it in tried
    ]


def _row(result: SearchResult, candidate: Candidate, made: Sequence[Made]) -> LoadRow:
    judged = [it for it in made if it.result is not TrialResult.NOTHING]
    limits = Counter(limit.who for it in made if (limit := _limit_in(it)) and limit.parts)
    return LoadRow(
        load=result.asked.load.formatted(candidate.load),
        kind=_KINDS[candidate.standing],
        runs=f"{candidate.held} of {len(judged)}" if judged else "not judged",
        figures=tuple(_cell(condition, judged) for condition in result.asked.objective),
        limit=limits.most_common(1)[0][0] if limits else "",
    )


def _cell(condition: Threshold, judged: Sequence[Made]) -> str:
    found = [value for it in judged if (value := measured(it.run, condition)) is not None]
    if not found:
        return "–"
    mark = (
        " ✘"
        if any(breach.condition == condition for it in judged for breach in it.breaches)
        else ""
    )
    return f"{format_figure(condition.figure, statistics.median(found))}{mark}"


def notes(result: SearchResult) -> Iterator[str]:
    """Yield what else a reader should know about the answer."""
    if result.interval is not None and not limited_by(result):
        yield (
            "The interval is for the load that holds in half of its runs, from a curve fitted to "
            "all runs; figures are medians over the runs of a load."
        )
    if result.answer.ending in (Ending.FOUND, Ending.BELOW) and limited_by(result):
        yield (
            "The server may hold more than this machine can show: run the generator on another "
            "one (or with more --processes, if the generator is what is busy)."
        )
    if result.answer.ending is Ending.BELOW:
        yield "Smaller loads were not tried; set the first one with --from."
    if result.is_unmeasured:
        yield "A figure that was not measured does not pass; choose one that this scenario has."
    again = sum(bool(made.run.repeated) for made in result.made)
    if again:
        yield (
            f"{_runs(again)} of {len(result.made)} had to be repeated, because the generator or "
            "the machine could not keep up."
        )
    if not result.asked.load.case.target.is_fresh:
        yield "The server kept running: what one load left behind was still there for the next."


def run_line(asked: Search, made: Made) -> str:
    """Return in one line what one run says."""
    load = f"{asked.load.formatted(made.load)} {asked.load.unit}"
    if made.result is TrialResult.NOTHING:
        return f"{load}: cannot be judged: {'; '.join(made.run.reasons)}"
    if made.run.failures:
        return f"{load}: broke: {'; '.join(made.run.failures)}"
    broken = [breach.condition for breach in made.breaches]
    shown = broken or asked.objective[:1]
    figures = ", ".join(f"{it.figure} {_figure(made, it)}" for it in shown)
    return f"{load}: {made.result} ({figures})"


def _figure(made: Made, condition: Threshold) -> str:
    found = measured(made.run, condition)
    return _NOT_MEASURED if found is None else format_figure(condition.figure, found)


def document(result: SearchResult, folder: str) -> dict[str, Any]:
    """Return the answer as a JSON document."""
    found, span = result.answer, result.asked.span
    return {
        "status": result.status,
        "says": sentence(result),
        "limit": limit_line(result),
        "limited_by": limited_by(result) or None,
        "ending": found.ending,
        "search": result.asked.load.searched,
        "unit": result.asked.load.unit,
        "holds": found.holds,
        "breaks": found.breaks,
        "interval": result.interval,
        "unjudged": found.unjudged,
        "contradicting": found.contradicting,
        "from": span.low,
        "to": span.high,
        "precision": span.precision,
        "repeats": span.repeats,
        "objective": [str(condition) for condition in result.asked.objective],
        "loads": [
            {
                "load": it.load,
                "runs": it.runs,
                "held": it.held,
                "broke": it.broke,
                "standing": it.standing,
            }
            for it in candidates(span, _trials(result))
        ],
        "runs": [run_document(made) for made in result.made],
        "notes": list(notes(result)),
        "folder": folder,
    }


def _trials(result: SearchResult) -> list[Trial]:
    return [made.trial for made in result.made]


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"
