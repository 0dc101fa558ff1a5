"""Where to look next for the largest load that holds, and what was found: pure arithmetic."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

STEP: Final = 2.0
"""The factor by which the load grows until one does not hold."""
_COARSE: Final = 0.25
"""How close to get to a load that cannot be judged: it is not an answer, but may hide one."""
_DIGITS: Final = 3


class TrialResult(StrEnum):
    """What one run says about its load."""

    HELD = "held"
    BROKE = "broke"
    NOTHING = "nothing"
    """The generator or the machine could not do its part: this says nothing about the server."""


class Standing(StrEnum):
    """What the runs so far say about one load."""

    HOLDS = "holds"
    BREAKS = "breaks"
    LEANS = "leans"
    """It held every time, but not often enough to be an answer."""
    OPEN = "open"
    """It broke, but not often enough to be believed."""
    UNKNOWN = "unknown"
    """Too few of its runs could be judged."""


@dataclass(frozen=True, slots=True)
class Span:
    """The range of a search.

    Attributes:
        low: the load to begin with.
        high: the largest load that may be tried.
        precision: the share by which the smallest load that breaks may lie above the answer.
        repeats: the largest number of runs of one load; the majority decides.
        is_whole: whether loads are whole numbers.
    """

    low: float
    high: float
    precision: float = 0.05
    repeats: int = 3
    is_whole: bool = False

    @property
    def majority(self) -> int:
        """The number of runs of a load that have to hold."""
        return self.repeats // 2 + 1


@dataclass(frozen=True, slots=True)
class Trial:
    """One run: its load, and what it says about that load."""

    load: float
    result: TrialResult


@dataclass(frozen=True, slots=True)
class Candidate:
    """A load that was tried, with the numbers of runs in which it held and in which it broke."""

    load: float
    runs: int
    held: int
    broke: int
    standing: Standing


class Ending(StrEnum):
    """The state of a search."""

    FOUND = "found"
    BELOW = "below the range"
    """Even the smallest load breaks."""
    ABOVE = "above the range"
    """Even the largest load holds."""
    UNJUDGED = "not to be judged"
    """Above what holds, runs say nothing about the server."""
    CONTRADICTED = "contradicted"
    """A load holds that is larger than one that breaks."""
    UNFINISHED = "unfinished"


@dataclass(frozen=True, slots=True)
class Answer:
    """What was found so far.

    Attributes:
        holds: the largest load that holds below any that does not; None if there is none.
        breaks: the smallest load that breaks.
        unjudged: the smallest load above ``holds`` of which no run could be judged.
        contradicting: loads larger than ``breaks`` that hold.
    """

    ending: Ending
    holds: float | None
    breaks: float | None
    unjudged: float | None
    contradicting: tuple[float, ...]


def candidates(span: Span, trials: Iterable[Trial]) -> tuple[Candidate, ...]:
    """Return each load that was tried, smallest first."""
    by_load: dict[float, list[TrialResult]] = {}
    for trial in trials:
        by_load.setdefault(trial.load, []).append(trial.result)
    return tuple(_candidate(span, load, by_load[load]) for load in sorted(by_load))


def _candidate(span: Span, load: float, result: Sequence[TrialResult]) -> Candidate:
    held, broke = result.count(TrialResult.HELD), result.count(TrialResult.BROKE)
    return Candidate(load, len(result), held, broke, _standing(span, held, broke, len(result)))


def _standing(span: Span, held: int, broke: int, made: int) -> Standing:
    if held >= span.majority:
        return Standing.HOLDS
    if broke > span.repeats - span.majority:
        return Standing.BREAKS
    if made > held + broke and (made >= span.repeats or not held + broke):
        return Standing.UNKNOWN
    return Standing.OPEN if broke else Standing.LEANS


def next_load(span: Span, trials: Iterable[Trial]) -> float | None:
    """Return the load to run next, or None if there is nothing left to find out.

    The load doubles until one breaks; then the midpoint, on a log scale, of the largest that held
    and the smallest that broke is tried until they are as close as requested. One run that held is
    enough to go on from, because if that was luck the loads above it break, and it is run again
    before it becomes the answer. A load that broke is run again at once, because everything above
    it is given up. When both ends of what is left are known, they are run as often as any load may
    be, which is what the answer rests on. A single load that breaks is not believed until the next
    step up has been tried as well.
    """
    tried = candidates(span, trials)
    for candidate in tried:
        if candidate.standing is Standing.OPEN:
            return candidate.load
    best, ceiling = _bracket(tried)
    if not tried:
        return span.low
    if best is None:
        return None
    if (further := _between(span, best, ceiling)) is not None:
        return further
    for end in (best, ceiling):
        if end is not None and end.standing is not Standing.UNKNOWN and end.runs < span.repeats:
            return end.load
    return _beyond(span, tried, ceiling)


def _bracket(tried: Sequence[Candidate]) -> tuple[Candidate | None, Candidate | None]:
    """Return the largest load that held below any that did not, and the smallest that did not."""
    best = None
    for candidate in tried:
        if candidate.standing not in (Standing.HOLDS, Standing.LEANS):
            return best, candidate
        best = candidate
    return best, None


def _between(span: Span, best: Candidate, ceiling: Candidate | None) -> float | None:
    """Return the next step up, or the midpoint; None if the two are close enough."""
    if ceiling is None:
        return min(_tidy(span, best.load * STEP), span.high) if best.load < span.high else None
    is_limit = ceiling.standing is Standing.UNKNOWN
    nearest = max(span.precision, _COARSE) if is_limit else span.precision
    if ceiling.load <= best.load * (1 + nearest):
        return None
    middle = _tidy(span, math.sqrt(best.load * ceiling.load))
    return middle if best.load < middle < ceiling.load else None


def _beyond(span: Span, tried: Sequence[Candidate], ceiling: Candidate | None) -> float | None:
    """Return the load to try above the only one that breaks."""
    if ceiling is None or ceiling.standing is not Standing.BREAKS or ceiling.load >= span.high:
        return None
    above = [candidate for candidate in tried if candidate.load > ceiling.load]
    if not above:
        return min(_tidy(span, ceiling.load * STEP), span.high)
    return next((it.load for it in above if it.standing is Standing.LEANS), None)


def _tidy(span: Span, load: float) -> float:
    """Return a load rounded as a person would write it."""
    return float(round(load)) if span.is_whole else float(f"{load:.{_DIGITS - 1}e}")


def answer(span: Span, trials: Sequence[Trial]) -> Answer:
    """Return what was found, or what is known so far."""
    tried = candidates(span, trials)
    best, ceiling = _bracket(tried)
    breaks = next((it.load for it in tried if it.standing is Standing.BREAKS), None)
    unjudged = (
        ceiling.load if ceiling is not None and ceiling.standing is Standing.UNKNOWN else None
    )
    contradicting = tuple(
        it.load
        for it in tried
        if breaks is not None and it.load > breaks and it.standing is Standing.HOLDS
    )
    # A load that held in only one run is not an answer.
    holds = max(
        (
            it.load
            for it in tried
            if best and it.load <= best.load and it.standing is Standing.HOLDS
        ),
        default=None,
    )
    if next_load(span, trials) is not None:
        ending = Ending.UNFINISHED
    elif unjudged is not None:
        ending = Ending.UNJUDGED
    elif holds is None:
        ending = Ending.BELOW
    elif contradicting:
        ending = Ending.CONTRADICTED
    else:
        ending = Ending.ABOVE if breaks is None else Ending.FOUND
    return Answer(ending, holds, breaks, unjudged, contradicting)
