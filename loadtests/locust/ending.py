"""How a Locust run ended, as an exit status: records first, then what Locust itself counted."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from locust.stats import RequestStats, StatsEntry

from reports.outcome import ExitStatus
from reports.run_outcome import outcome_of
from reports.summary import Summary
from reports.terminal import summary_text
from reports.threshold import Threshold, failures

_PERCENTILES: Final = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p999": 0.999}


@dataclass(frozen=True, slots=True)
class Finished:
    """One class of swarm users whose run has ended."""

    user: str
    summary: Summary
    path: Path
    thresholds: Sequence[Threshold]

    @property
    def failed(self) -> list[tuple[Threshold, str]]:
        """The thresholds that do not hold, with what was found."""
        return list(failures(self.thresholds, self.summary.figures))

    @property
    def status(self) -> ExitStatus:
        """The exit status that results."""
        status = outcome_of(self.summary).status
        return ExitStatus.FAILED if status is ExitStatus.HELD and self.failed else status

    @property
    def problems(self) -> tuple[str, ...]:
        """The reasons why the outcome is not held."""
        missed = (f"{threshold}, found {found}" for threshold, found in self.failed)
        return (*outcome_of(self.summary).problems, *missed)

    def text(self) -> str:
        """Return the result as text."""
        lines = [f"{self.user}", summary_text(self.summary), *threshold_lines(self.failed)]
        return "\n".join([*lines, f"Record: {self.path}", ""])


def threshold_lines(failed: Sequence[tuple[Threshold, str]]) -> Iterator[str]:
    """Return a line for each threshold that does not hold."""
    return (f"Threshold failed: {threshold}, found {found}" for threshold, found in failed)


def stats_figures(stats: RequestStats) -> Mapping[str, float]:
    """Return Locust's counts as figures, each under its row's name: ``echo.p99_seconds``."""
    figures = {"errors": float(stats.total.num_failures)}
    for (name, _), entry in stats.entries.items():
        figures |= {f"{name}.{key}": value for key, value in _entry_figures(entry).items()}
    return figures


def _entry_figures(entry: StatsEntry) -> Mapping[str, float]:
    figures = {
        "count": float(entry.num_requests),
        "failures": float(entry.num_failures),
    }
    if entry.num_requests > entry.num_none_requests:
        figures["mean_seconds"] = entry.avg_response_time / 1e3
        figures["max_seconds"] = entry.max_response_time / 1e3
        for label, share in _PERCENTILES.items():
            figures[f"{label}_seconds"] = entry.get_response_time_percentile(share) / 1e3
    return figures
