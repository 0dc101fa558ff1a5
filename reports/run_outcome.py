"""How a run ended, and why: validity first, then what went wrong."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from reports.faults import LEDGER_FAULTS
from reports.limit import limit_of
from reports.outcome import ExitStatus, Outcome, outcome_from
from reports.summary import Summary
from reports.threshold import failures, parse_threshold
from reports.units import format_count

_MOST_ERRORS: Final = 3


def outcome_of(summary: Summary) -> Outcome:
    """Return how a run ended."""
    if summary.interrupted:
        return Outcome(ExitStatus.INTERRUPTED, _interruption(summary))
    if not summary.valid:
        return Outcome(ExitStatus.INVALID, summary.reasons)
    return outcome_from(
        failed=(*summary.failures, *errors_found(summary), *_faults(summary), *_missed(summary))
    )


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


def _interruption(summary: Summary) -> tuple[str, ...]:
    return summary.reasons or ("the run was ended early",)


def errors_found(summary: Summary) -> Iterator[str]:
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
    """Yield what the ledger counts against the server, and of how many messages."""
    expected = summary.figures.get("integrity.expected", 0)
    of = f" of {format_count(expected)}" if expected else ""
    for fault in LEDGER_FAULTS:
        if count := summary.figures.get(f"integrity.{fault}", 0):
            yield f"{format_count(count)}{of} messages {fault}"


def _missed(summary: Summary) -> Iterator[str]:
    """Yield those of the run's own thresholds that do not hold."""
    asked = [parse_threshold(text) for text in summary.header.load.get("thresholds", ())]
    for threshold, found in failures(asked, summary.judged_figures):
        yield f"{threshold}, found {found}"
