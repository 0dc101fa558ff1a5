"""Put the measurements of runs on several servers side by side: pure arithmetic.

The run is the unit. Runs of one round were made within minutes of each other, so a ratio to the
reference is taken round by round, and drift of the machine cancels out in it.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace

from benchmarks.judging.measured import NotMeasuredError, measured
from benchmarks.judging.run_figures import Key, RunFigures
from benchmarks.judging.statistics import FEWEST_RUNS, level_interval, ratio_interval
from reports.claim_result import Estimate
from reports.figure import Better
from reports.matrix import Cell, Column, Row

Runs = Mapping[Key, Sequence[RunFigures]]


def tabulate(
    columns: Sequence[Column], targets: Sequence[str], reference: str, runs: Runs
) -> tuple[Row, ...]:
    """Return a row for each server, with what it measured and its ratio to the reference.

    If any run of a server is invalid, lost something or lacks the figure, the server has no figure:
    what is left of its runs would be a selection. Runs that an interruption left without a
    counterpart in the same round take no part in a ratio.

    Args:
        columns: what is shown.
        targets: the servers, in the order of the rows.
        reference: the server that the ratios refer to.
        runs: the runs of each experiment on each server, round by round.
    """
    by_column = [_column(column, targets, reference, runs) for column in columns]
    return tuple(Row(target, tuple(cells[target] for cells in by_column)) for target in targets)


def _column(column: Column, targets: Sequence[str], reference: str, runs: Runs) -> dict[str, Cell]:
    values_of: dict[str, tuple[float, ...]] = {}
    unmeasured: dict[str, Cell] = {}
    for target in targets:
        try:
            values_of[target] = _values(column, runs.get((column.experiment, target), ()))
        except NotMeasuredError as error:
            reason = f"{target}: {error}"
            unmeasured[target] = Cell(None, reason=reason, has_failed=error.has_failed)
    cells = {}
    for target in targets:
        if target in unmeasured:
            cells[target] = unmeasured[target]
            continue
        values = values_of[target]
        is_compared = target != reference and reference in values_of
        ratio = ratio_of(values, values_of[reference]) if is_compared else None
        cells[target] = Cell(estimate_of(values), ratio)
    best = _best(column.better, values_of)
    return {name: replace(cell, is_best=name in best) for name, cell in cells.items()}


def _values(column: Column, runs: Sequence[RunFigures]) -> tuple[float, ...]:
    if not runs:
        raise NotMeasuredError(f"no run of {column.experiment} has ended")
    return measured(column.experiment, column.figure, runs)


def estimate_of(values: Sequence[float]) -> Estimate:
    """Estimate a figure over runs; a single run says nothing about how far others would be."""
    if len(values) < FEWEST_RUNS:
        return Estimate(values[0], -math.inf, math.inf, tuple(values))
    return level_interval(values)


def ratio_of(values: Sequence[float], others: Sequence[float]) -> Estimate | None:
    """Estimate the factor by which values differ from others, over the rounds that both have.

    Returns:
        None if a value is not above 0, so that there is no ratio.
    """
    rounds = min(len(values), len(others))
    values, others = values[:rounds], others[:rounds]
    if any(not value > 0 for value in (*values, *others)):
        return None
    if rounds < FEWEST_RUNS:
        ratio = values[0] / others[0]
        return Estimate(ratio, 0.0, math.inf, (ratio,))
    return ratio_interval(values, others)


def _best(better: Better, measured: Mapping[str, tuple[float, ...]]) -> frozenset[str]:
    """Return the best of a column and those that do not differ from it; empty if none can be."""
    compared = {name: it for name, it in measured.items() if len(it) >= FEWEST_RUNS}
    if better is Better.NEITHER or len(compared) < 2:
        return frozenset()
    sign = 1 if better is Better.LOWER else -1
    best = min(compared, key=lambda name: sign * estimate_of(compared[name]).value)
    alike = {name for name, it in compared.items() if _is_alike(it, compared[best])}
    return frozenset() if len(alike) == len(compared) else frozenset({best} | alike)


def _is_alike(values: Sequence[float], others: Sequence[float]) -> bool:
    ratio = ratio_of(values, others)
    if ratio is None:
        # If a run gave 0, only equal values are alike.
        return sorted(values) == sorted(others)
    return ratio.low <= 1.0 <= ratio.high
