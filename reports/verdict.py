"""What was judged of a claim, as data: the verdict, the estimate behind it, and why."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from reports.exit_status import ExitStatus
from reports.figure import Figure
from reports.outcome import Outcome

ALONE: Final = "alone"
"""Stands for the server where what is judged is measured by itself."""


class Verdict(StrEnum):
    """What repeated runs say of a claim."""

    HOLDS = "holds"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"
    NOT_MEASURED = "not measured"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure over several runs: its level, the ends of its 95 % interval, each run's value."""

    value: float
    low: float
    high: float
    runs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """One claim, judged.

    Attributes:
        claim: its name; ``says`` is the sentence, ``source`` where it was read.
        target: the server that it was judged on; ``alone`` if it is about none, empty if there is
            one only.
        metric: the figure that was judged, its unit in its name.
        bound: what the figure had to be, for a person.
        expected: the verdict that is known and accepted; any other one is news. None where any is.
        estimate: None when it was not measured.
        reasons: why it was not measured, a sentence each.
        context: further figures of the same runs.
        how: how it was measured, in a few words.
    """

    claim: str
    says: str
    source: str
    verdict: Verdict
    expected: Verdict | None
    metric: str
    bound: str
    how: str
    target: str = ""
    estimate: Estimate | None = None
    reasons: tuple[str, ...] = ()
    context: tuple[tuple[Figure, float], ...] = ()


def named(result: ClaimResult) -> str:
    """Name a claim, and the server if there are several."""
    is_plain = result.target in ("", ALONE)
    return result.claim if is_plain else f"{result.claim} on {result.target}"


def outcome_of_claims(results: Iterable[ClaimResult]) -> Outcome:
    """Return how the judging of a set of claims ended: what could not be measured weighs most.

    A claim that is refuted where its file says ``expected = "refuted"`` is no failure: it is known,
    and told in every table. A claim that was expected to be refuted and holds is one. Where any
    verdict is expected, none is.
    """
    held = tuple(results)
    if missing := [named(it) for it in held if it.verdict is Verdict.NOT_MEASURED]:
        return Outcome(ExitStatus.INVALID, (f"not measured: {', '.join(missing)}",))
    others = [it for it in held if it.expected not in (None, it.verdict)]
    undecided = [named(it) for it in others if it.verdict is Verdict.INCONCLUSIVE]
    news = [it for it in others if it.verdict is not Verdict.INCONCLUSIVE]
    if news:
        told = (f"{named(it)}: {it.verdict}, expected was {it.expected}" for it in news)
        return Outcome(ExitStatus.FAILED, tuple(told))
    if undecided:
        return Outcome(ExitStatus.INCONCLUSIVE, (f"no decision on {', '.join(undecided)}",))
    return Outcome(ExitStatus.HELD, ("every verdict is as expected",))
