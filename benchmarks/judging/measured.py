"""What the runs of an experiment measured of a figure, or why that cannot be judged."""

import math
from collections.abc import Sequence

from benchmarks.judging.run_figures import RunFigures
from reports.faults import counts_faults, told_faults


class NotMeasuredError(Exception):
    """There is no figure to judge.

    Attributes:
        has_failed: whether the server is to blame, not the generator or the machine.
    """

    def __init__(self, why: str, *, has_failed: bool = False) -> None:
        super().__init__(why)
        self.has_failed = has_failed


def measured(
    experiment: str, figure: str, runs: Sequence[RunFigures], *, despite_faults: bool = False
) -> tuple[float, ...]:
    """Return the figure of each run.

    Args:
        experiment: what the runs are of, for errors.
        figure: its name.
        runs: in the order in which they were made.
        despite_faults: judge also runs in which messages were lost, or something else went wrong.

    Raises:
        NotMeasuredError: a run is invalid, has faults that the figure does not count itself, or has
            no such figure.
    """
    allowed = despite_faults or counts_faults(figure)
    values = []
    for number, run in enumerate(runs, 1):
        where = f"run {number} of {experiment}"
        if not run.valid:
            why = "; ".join(run.reasons) or "no reason was recorded"
            raise NotMeasuredError(f"{where} is invalid: {why}", has_failed=bool(run.failures))
        if not allowed and (faults := told_faults(run.figures)):
            raise NotMeasuredError(f"{where}: {', '.join(faults)}", has_failed=True)
        value = run.figures.get(figure)
        if value is None or not math.isfinite(value):
            raise NotMeasuredError(f"{where} has no figure {figure!r}")
        values.append(value)
    return tuple(values)
