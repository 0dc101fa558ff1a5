"""The findings of a matrix, in sentences based on its intervals: nothing they do not support."""

from collections.abc import Iterator, Sequence
from typing import Final

from reports.claim_result import Estimate
from reports.figure import Better
from reports.matrix import Column, Matrix
from reports.units import format_figure, significant

# Ratios from here up are written as multiples, smaller ones as percentages.
_TIMES: Final = 2.0


def findings(matrix: Matrix) -> tuple[str, ...]:
    """Return a sentence for each column that has something to compare."""
    sentences = (_finding(matrix, number, column) for number, column in enumerate(matrix.columns))
    return tuple(sentence for sentence in sentences if sentence)


def _finding(matrix: Matrix, number: int, column: Column) -> str:
    compared = {
        row.target: cell.ratio
        for row in matrix.rows
        if (cell := row.cells[number]).ratio is not None and len(cell.ratio.runs) > 1
    }
    if not compared:
        return ""
    others = {row.target: row.cells[number].estimate for row in matrix.rows}
    label = f"{column.label[:1].upper()}{column.label[1:]}"
    differing = {name: it for name, it in compared.items() if not it.low <= 1.0 <= it.high}
    alike = [name for name in compared if name not in differing]
    parts = list(_extremes(column, matrix.reference, differing, others))
    if alike:
        parts.append(f"not distinguishable from {matrix.reference}: {', '.join(alike)}")
    return f"{label}: {'; '.join(parts)}."


def _extremes(
    column: Column,
    reference: str,
    differing: dict[str, Estimate],
    measured: dict[str, Estimate | None],
) -> Iterator[str]:
    """Yield the lowest and the highest of those that differ, better first."""
    lower = {name: it for name, it in differing.items() if it.value < 1.0}
    higher = {name: it for name, it in differing.items() if it.value > 1.0}
    lowest = min(lower, key=lambda name: lower[name].value, default=None)
    highest = max(higher, key=lambda name: higher[name].value, default=None)
    extremes = [("lowest", lowest), ("highest", highest)]
    for word, name in reversed(extremes) if column.better is Better.HIGHER else extremes:
        estimate = None if name is None else measured[name]
        if name is None or estimate is None:
            continue
        value = format_figure(column.figure, estimate.value)
        ratio = differing[name]
        yield f"{word} on {name}, {value}, {_difference(ratio)} on {reference} {_range(ratio)}"


def _difference(ratio: Estimate) -> str:
    if _is_in_times(ratio):
        return f"{significant(ratio.value, 2)} times as high as"
    percent = significant(_percent(ratio.value), 2)
    return f"{percent} % {'lower' if ratio.value < 1.0 else 'higher'} than"


def _range(ratio: Estimate) -> str:
    ends = [ratio.low, ratio.high]
    if not _is_in_times(ratio):
        ends = sorted(map(_percent, ends))
    return f"({' to '.join(significant(it, 2) for it in ends)})"


def _is_in_times(ratio: Estimate) -> bool:
    return ratio.value >= _TIMES


def _percent(ratio: float) -> float:
    return abs(ratio - 1) * 100


def notes(matrix: Matrix) -> Sequence[str]:
    """Return what a reader of the table must know: how, what is missing, the role of chance."""
    return tuple(_notes(matrix))


def _notes(matrix: Matrix) -> Iterator[str]:
    for name, how in matrix.how.items():
        yield f"{name}: {how}."
    if matrix.comparisons:
        yield (
            "± is the 95 % interval over the runs, each in a fresh process; × is the ratio to "
            f"{matrix.reference}, round by round; ~ means no detectable difference; * marks the "
            "best of a column and what cannot be distinguished from it."
        )
        yield (
            f"Of {matrix.comparisons} ratios at 95 % about "
            f"{significant(matrix.comparisons / 20, 1)} would differ from 1 by chance alone."
        )
    if any(len(it.runs) == 1 for it in _estimates(matrix)):
        yield "± ? marks a single run, which has no interval."
    for name, missing in matrix.left_out.items():
        yield f"{name} is left out: there is no {missing}."
    for sentence in matrix.repeated:
        yield f"Repeated: {sentence}."
    if matrix.made < matrix.planned:
        why = "no more are made where one stays invalid" if matrix.is_complete else "interrupted"
        yield f"{matrix.made} of {matrix.planned} runs were made: {why}."
    if matrix.is_reduced:
        yield "Reduced load (--quick): these figures cannot be used to judge the servers."


def _estimates(matrix: Matrix) -> Iterator[Estimate]:
    cells = (cell for row in matrix.rows for cell in row.cells)
    return (cell.estimate for cell in cells if cell.estimate is not None)
