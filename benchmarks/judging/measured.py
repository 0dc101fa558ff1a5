"""The values of a figure in the runs of an experiment, or why they cannot be judged."""

import math
from collections.abc import Sequence

from benchmarks.judging.run_figures import RunFigures
from reports.faults import counts_faults, faults_found


class NotMeasuredError(Exception):
    """A figure that cannot be judged.

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
        experiment: the name of the experiment, for error messages.
        figure: the name of the figure.
        runs: the runs in the order in which they were made.
        despite_faults: also judge runs in which messages were lost, or something else went wrong.

    Raises:
        NotMeasuredError: a run is invalid, has faults that the figure does not itself count, or has
            no such figure.
    """
    allowed = despite_faults or counts_faults(figure)
    values = []
    for number, run in enumerate(runs, 1):
        where = f"run {number} of {experiment}"
        if not run.valid:
            why = "; ".join(run.reasons) or "no reason was recorded"
            raise NotMeasuredError(f"{where} is invalid: {why}", has_failed=bool(run.failures))
        if not allowed and (faults := faults_found(run.figures)):
            raise NotMeasuredError(f"{where}: {', '.join(faults)}", has_failed=True)
        value = run.figures.get(figure)
        if value is None or not math.isfinite(value):
            raise NotMeasuredError(f"{where} has no figure {figure!r}")
        values.append(value)
    return tuple(values)
