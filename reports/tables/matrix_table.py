"""The table of a matrix: a row for each server, drawn for a terminal or written as Markdown."""

import math
import statistics
from collections.abc import Mapping, Sequence
from typing import Final

from rich import box
from rich.console import Group
from rich.table import Table
from rich.text import Text

from reports.claim_result import Estimate
from reports.matrix import Cell, Matrix
from reports.printable import printable
from reports.tables.markdown import markdown_table
from reports.units import Scale, scale_of, significant

_SAME: Final = "~"
_BEST: Final = "*"
# A mark, a figure of four digits and its interval, and the space before them.
_CELL_WIDTH: Final = 14
_COLUMN_WIDTH: Final = _CELL_WIDTH + 1
_NO_BREAK: Final = "\u00a0"


def matrix_table(matrix: Matrix, width: int) -> Group:
    """Draw the table for a terminal, in parts if that is too narrow for all columns."""
    names = max((len(row.target) for row in matrix.rows), default=0)
    # The frame of the table takes three columns.
    fitting = max(1, (width - names - 3) // _COLUMN_WIDTH)
    starts = range(0, len(matrix.columns), fitting)
    return Group(*(_part(matrix, start, start + fitting) for start in starts))


def _part(matrix: Matrix, start: int, end: int) -> Table:
    table = Table(box=box.SIMPLE_HEAD, padding=(0, 0))
    table.add_column("target", no_wrap=True, vertical="top")
    scales = _scales(matrix)[start:end]
    for column, scale in zip(matrix.columns[start:end], scales, strict=True):
        head = Text(f"{printable(column.label)}\n{scale[1]}")
        table.add_column(head, justify="right", vertical="bottom", min_width=_CELL_WIDTH)
    numbers = _numbers(matrix)
    for row in matrix.rows:
        texts = [
            _text(cell, scale, numbers)
            for cell, scale in zip(row.cells[start:end], scales, strict=True)
        ]
        if matrix.comparisons:
            beside = row.cells[start:end]
            texts = [
                text.append("\n").append(_beside(cell, is_reference=row.target == matrix.reference))
                for text, cell in zip(texts, beside, strict=True)
            ]
        table.add_row(Text(printable(row.target)), *texts)
    return table


def _text(cell: Cell, scale: Scale, numbers: Mapping[str, int]) -> Text:
    if cell.estimate is None:
        return Text(f"– [{numbers[cell.reason]}]", style="magenta")
    return Text(_figure(cell, scale, pad=True), style="bold" if cell.is_best else "default")


def _beside(cell: Cell, *, is_reference: bool) -> Text:
    text = "reference" if is_reference and cell.estimate is not None else _ratio(cell, pad=True)
    return Text(text, style="default" if cell.differs else "dim")


def matrix_markdown(matrix: Matrix) -> str:
    """Write the table as Markdown, with the ratio after each figure."""
    scales = _scales(matrix)
    heads = [
        f"{column.label}, {unit}" if (unit := scale[1]) else column.label
        for column, scale in zip(matrix.columns, scales, strict=True)
    ]
    lines = [("target", *heads), ("---", *("---:" for _ in heads))]
    numbers = _numbers(matrix)
    for row in matrix.rows:
        cells = zip(row.cells, scales, strict=True)
        lines.append((row.target, *(_words(cell, scale, numbers) for cell, scale in cells)))
    # A star marks the best; in Markdown a pair of them would be read as emphasis.
    return markdown_table([text.replace("*", "\\*") for text in line] for line in lines)


def _words(cell: Cell, scale: Scale, numbers: Mapping[str, int]) -> str:
    if cell.estimate is None:
        return f"– [{numbers[cell.reason]}]"
    figure, ratio = _figure(cell, scale), _ratio(cell)
    return f"{figure} ({ratio})" if ratio else figure


def reasons(matrix: Matrix) -> Sequence[str]:
    """Return why something was not measured, by the number shown in its place."""
    return [f"[{number}] {reason}" for reason, number in _numbers(matrix).items()]


def _numbers(matrix: Matrix) -> dict[str, int]:
    found = (cell.reason for row in matrix.rows for cell in row.cells if cell.estimate is None)
    return {reason: number for number, reason in enumerate(dict.fromkeys(found), 1)}


def _scales(matrix: Matrix) -> list[Scale]:
    """Choose for each column the unit in which its median figure is easy to read."""
    scales = []
    for number, column in enumerate(matrix.columns):
        estimates = (row.cells[number].estimate for row in matrix.rows)
        values = [abs(it.value) for it in estimates if it is not None]
        scales.append(scale_of(column.figure, statistics.median(values) if values else 1.0))
    return scales


def _figure(cell: Cell, scale: Scale, *, pad: bool = False) -> str:
    assert cell.estimate is not None
    mark = _BEST if cell.is_best else ""
    value = significant(cell.estimate.value / scale[0])
    return f"{mark}{value}{_spread(cell.estimate, pad=pad)}"


def _ratio(cell: Cell, *, pad: bool = False) -> str:
    if cell.ratio is None or not math.isfinite(cell.ratio.high):
        return ""
    if not cell.differs:
        return _SAME
    return f"{significant(cell.ratio.value)}×{_spread(cell.ratio, pad=pad)}"


def _spread(estimate: Estimate, *, pad: bool) -> str:
    """Return the distance to the farther end of an interval, as a percentage of the value."""
    if not math.isfinite(estimate.high):
        return f"{_NO_BREAK}±{_NO_BREAK}?"
    if estimate.value == 0:
        return ""
    percent = (estimate.high - estimate.value) / abs(estimate.value) * 100
    text = _percent(percent)
    # Figures line up if what follows them has the same length.
    text = text.rjust(3, _NO_BREAK) if pad else text
    return f"{_NO_BREAK}±{_NO_BREAK}{text}{_NO_BREAK}%"


def _percent(percent: float) -> str:
    if percent > 999:
        return ">999"
    return f"{percent:.0f}" if percent >= 1 else significant(percent, 1)
