"""The exit status of one run: validity first, then whether anything went wrong."""

from typing import Final

from reports.exit_status import ExitStatus
from reports.summary import Summary

# What a ledger counts that is a fault of the server.
_FAULTS: Final = ("lost", "duplicated", "reordered", "corrupted")


def status_of(summary: Summary) -> ExitStatus:
    """Give the exit status of one run."""
    if summary.interrupted:
        return ExitStatus.INTERRUPTED
    if not summary.valid:
        return ExitStatus.INVALID
    figures = summary.figures
    faults = figures["errors"] + sum(figures.get(f"integrity.{name}", 0) for name in _FAULTS)
    return ExitStatus.FAILED if faults else ExitStatus.HELD
