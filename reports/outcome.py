"""How a run ended: its exit status, and why, in one line. Validity first, then what went wrong."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from reports.exit_status import ExitStatus
from reports.limit import limit_of
from reports.summary import Summary
from reports.threshold import failures, parse_threshold
from reports.units import format_count

# The counts of a ledger that are faults of the server.
_FAULTS: Final = ("lost", "duplicated", "reordered")
_MOST_ERRORS: Final = 3
# Which status takes precedence when there are several runs.
_WEIGHT: Final = (
    ExitStatus.INTERRUPTED,
    ExitStatus.USAGE,
    ExitStatus.INVALID,
    ExitStatus.FAILED,
    ExitStatus.HELD,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended.

    Attributes:
        status: the exit status.
        problems: what keeps it from being held, each as a sentence without a full stop.
    """

    status: ExitStatus
    problems: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The name of the status, and why."""
        return f"{self.status.name}: {'; '.join(self.problems) or 'nothing went wrong'}"


def outcome_of(summary: Summary) -> Outcome:
    """Return how a run ended."""
    if summary.interrupted:
        return Outcome(ExitStatus.INTERRUPTED, _interruption(summary))
    if not summary.valid:
        return Outcome(ExitStatus.INVALID, summary.reasons)
    problems = (*summary.failures, *told_errors(summary), *_faults(summary), *_missed(summary))
    return Outcome(ExitStatus.FAILED if problems else ExitStatus.HELD, problems)


def run_document(path: Path, summary: Summary, outcome: Outcome) -> dict[str, Any]:
    """Return a run whose record is at ``path`` as a JSON document."""
    limit = limit_of(summary.figures)
    return {
        "record": str(path),
        "status": outcome.status,
        "outcome": outcome.line,
        "valid": summary.valid,
        "reasons": summary.reasons,
        "failures": summary.failures,
        "warnings": summary.warnings,
        "interrupted": summary.interrupted,
        "limit": None if limit is None else {"who": limit.who, "evidence": limit.evidence},
        "figures": summary.figures,
        "users": {
            name: {"scenario": own.header.scenario, "figures": own.figures, "errors": own.errors}
            for name, own in summary.users.items()
        },
        "errors": summary.errors,
        "close_codes": summary.close_codes,
    }


def worst(statuses: Sequence[ExitStatus]) -> ExitStatus:
    """Return the status that takes precedence; held if there are none."""
    return next((status for status in _WEIGHT if status in statuses), ExitStatus.HELD)


def _interruption(summary: Summary) -> tuple[str, ...]:
    return summary.reasons or ("the run was ended early",)


def told_errors(summary: Summary) -> Iterator[str]:
    """Yield the number of errors and their most frequent kinds; nothing if there were none."""
    if not summary.errors:
        return
    most = sorted(summary.errors.items(), key=lambda item: (-item[1], item[0]))[:_MOST_ERRORS]
    named = ", ".join(f"{kind} × {format_count(count)}" for kind, count in most)
    more = len(summary.errors) - len(most)
    total = sum(summary.errors.values())
    word = "error" if total == 1 else "errors"
    yield f"{format_count(total)} {word} ({named}{f' and {more} more kinds' if more else ''})"


def _faults(summary: Summary) -> Iterator[str]:
    expected = summary.figures.get("integrity.expected", 0)
    for name in _FAULTS:
        count = summary.figures.get(f"integrity.{name}", 0)
        if count:
            of = f" of {format_count(expected)}" if expected else ""
            yield f"{format_count(count)}{of} messages {name}"
    # A corrupted message also counts as lost: it is not a second message with a fault.
    if corrupted := summary.figures.get("integrity.corrupted", 0):
        yield f"{format_count(corrupted)} came corrupted"


def _missed(summary: Summary) -> Iterator[str]:
    """Yield those of the run's own thresholds that do not hold."""
    asked = [parse_threshold(text) for text in summary.header.load.get("thresholds", ())]
    for threshold, found in failures(asked, summary.judged_figures):
        yield f"{threshold}, found {found}"
