"""Several servers side by side, as data: what each measured, and its ratios to one of them."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from reports.claim_result import Estimate
from reports.figure import Better
from reports.outcome import ExitStatus, Outcome, outcome_from
from reports.units import unit_of


@dataclass(frozen=True, slots=True)
class Column:
    """A figure that is shown for every server.

    Attributes:
        experiment: the experiment whose runs measured it.
        figure: its name, which ends in its unit.
        label: its human-readable name.
        better: the direction in which it is better.
    """

    experiment: str
    figure: str
    label: str
    better: Better


@dataclass(frozen=True, slots=True)
class Cell:
    """One figure of one server.

    Attributes:
        estimate: over the runs; its interval is unbounded for a single run. None if not measured.
        ratio: to the reference, round by round; None for the reference itself, and if either of the
            two was not measured or is not above 0.
        is_best: whether it is the best of its column, or does not differ from the best.
        reason: why it was not measured.
        has_failed: whether that is because the server failed, not the generator or the machine.
    """

    estimate: Estimate | None
    ratio: Estimate | None = None
    is_best: bool = False
    reason: str = ""
    has_failed: bool = False

    @property
    def differs(self) -> bool:
        """Whether it differs from the reference: 1 lies outside the ratio's interval."""
        return self.ratio is not None and not self.ratio.low <= 1.0 <= self.ratio.high


@dataclass(frozen=True, slots=True)
class Row:
    """One server, with a cell for each column."""

    target: str
    cells: tuple[Cell, ...]


@dataclass(frozen=True, slots=True)
class Matrix:
    """Several servers side by side.

    Attributes:
        reference: the server that the ratios refer to.
        how: how each experiment was measured, in a few words.
        left_out: servers that could not be included, with what is missing.
        repeated: why runs were repeated, one sentence each.
        made: how many of the ``planned`` runs there are.
        is_reduced: whether the loads were smaller than those in the file.
        is_complete: whether no run is missing except those that were given up.
    """

    reference: str
    columns: tuple[Column, ...]
    rows: tuple[Row, ...]
    how: Mapping[str, str]
    left_out: Mapping[str, str]
    repeated: tuple[str, ...]
    made: int
    planned: int
    is_reduced: bool = False
    is_complete: bool = True

    @property
    def comparisons(self) -> int:
        """The number of ratios that have an interval, and could differ from 1 by chance."""
        cells = (cell for row in self.rows for cell in row.cells)
        return sum(1 for it in cells if it.ratio is not None and math.isfinite(it.ratio.high))


def outcome_of_matrix(matrix: Matrix) -> Outcome:
    """Return how measuring a matrix ended; whether one server is better decides nothing."""
    if not matrix.is_complete:
        what = f"{matrix.made} of {matrix.planned} runs were made"
        return Outcome(ExitStatus.INTERRUPTED, (what,))
    invalid = ", ".join(_unmeasured(matrix, has_failed=False))
    failed = ", ".join(_unmeasured(matrix, has_failed=True))
    return outcome_from(
        invalid=[f"not measured: {invalid}"] if invalid else [],
        failed=[f"no figures for {failed}"] if failed else [],
        held=f"everything was measured{', with a reduced load' if matrix.is_reduced else ''}",
    )


def _unmeasured(matrix: Matrix, *, has_failed: bool) -> list[str]:
    """Return the servers that lack a figure because they failed, or for another reason."""
    return [
        row.target
        for row in matrix.rows
        if any(it.estimate is None and it.has_failed is has_failed for it in row.cells)
    ]


def matrix_document(matrix: Matrix, findings: Sequence[str], outcome: Outcome) -> dict[str, Any]:
    """Return a matrix as a JSON document."""
    return {
        "status": outcome.status,
        "outcome": outcome.line,
        "reduced": matrix.is_reduced,
        "reference": matrix.reference,
        "columns": [
            {
                "experiment": it.experiment,
                "figure": it.figure,
                "label": it.label,
                "unit": unit_of(it.figure),
                "better": it.better,
            }
            for it in matrix.columns
        ],
        "targets": [
            {"name": row.target, "cells": [_cell_document(cell) for cell in row.cells]}
            for row in matrix.rows
        ],
        "findings": list(findings),
        "how": dict(matrix.how),
        "left_out": dict(matrix.left_out),
        "repeated": list(matrix.repeated),
        "runs": {
            "made": matrix.made,
            "planned": matrix.planned,
            "complete": matrix.is_complete,
        },
    }


def _cell_document(cell: Cell) -> dict[str, Any]:
    return {
        "figure": _estimate_document(cell.estimate),
        "ratio": _estimate_document(cell.ratio),
        "differs": cell.differs,
        "best": cell.is_best,
        "reason": cell.reason,
        "failed": cell.has_failed,
    }


def _estimate_document(estimate: Estimate | None) -> dict[str, Any] | None:
    if estimate is None:
        return None
    # JSON has no infinity: an unbounded interval has null ends there.
    low, high = (it if math.isfinite(it) else None for it in (estimate.low, estimate.high))
    return {"value": estimate.value, "low": low, "high": high, "runs": list(estimate.runs)}
