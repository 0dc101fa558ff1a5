"""The judgement of a claim, as data: the verdict, the estimate behind it, and why."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from reports.figure import Figure
from reports.outcome import Outcome, Verdict, outcome_from

ALONE: Final = "alone"
"""Stands in for the server if what is judged is measured without one."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A figure over several runs: its level, the ends of its 95 % interval, each run's value."""

    value: float
    low: float
    high: float
    runs: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class ClaimResult:
    """One judged claim.

    Attributes:
        claim: its name; ``says`` is the sentence, ``source`` is where it was found.
        target: the server that it was judged on; ``alone`` if it is about none, empty if there is
            only one.
        metric: the figure that was judged, with its unit in its name.
        bound: what the figure had to be, in human-readable form.
        expected: the verdict that is known and accepted; any other is news. None if any is.
        estimate: None if it was not measured.
        reasons: why it was not measured, one sentence each.
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
    """Return the name of a claim, with the server if there are several."""
    is_plain = result.target in ("", ALONE)
    return result.claim if is_plain else f"{result.claim} on {result.target}"


def outcome_of_claims(results: Iterable[ClaimResult]) -> Outcome:
    """Return how judging a set of claims ended: what could not be measured weighs most.

    A claim that is refuted while its file says ``expected = "refuted"`` is not a failure: it is
    known, and reported in every table. A claim that was expected to be refuted but holds is one. If
    any verdict is expected, none is a failure.
    """
    held = tuple(results)
    others = [it for it in held if it.expected not in (None, it.verdict)]
    missing = [named(it) for it in held if it.verdict is Verdict.NOT_MEASURED]
    undecided = [named(it) for it in others if it.verdict is Verdict.INCONCLUSIVE]
    news = [it for it in others if it.verdict in (Verdict.HOLDS, Verdict.REFUTED)]
    return outcome_from(
        invalid=[f"not measured: {', '.join(missing)}"] if missing else [],
        failed=[f"{named(it)}: {it.verdict}, expected {it.expected}" for it in news],
        undecided=[f"no decision on {', '.join(undecided)}"] if undecided else [],
        held="every verdict is as expected",
    )
