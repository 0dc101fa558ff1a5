"""A calibration as a table: for a terminal, and as Markdown."""

from collections.abc import Sequence

from rich import box
from rich.table import Table
from rich.text import Text

from benchmarks.calibration.judging import Row
from reports.units import format_count, format_seconds

_HEADINGS = ("injected", "figure", "expected", "reported", "apart", "allowed")


def _cells(row: Row) -> tuple[str, ...]:
    write = format_count if row.is_count else format_seconds
    apart = abs(row.reported - row.injected)
    allowed = "exact" if row.is_count else format_seconds(row.bound)
    return (
        row.subject,
        row.figure,
        write(row.injected),
        write(row.reported),
        write(apart),
        allowed,
    )


def calibration_table(rows: Sequence[Row]) -> Table:
    """Lay out the comparison for a terminal; each subject is named once."""
    table = Table(box=box.SIMPLE_HEAD)
    table.add_column("")
    for number, heading in enumerate(_HEADINGS):
        table.add_column(heading, justify="left" if number < 2 else "right")
    subject = ""
    for row in rows:
        first, *rest = _cells(row)
        mark = Text("✔", "green") if row.holds else Text("✘", "red")
        table.add_row(mark, first if first != subject else "", *rest)
        subject = row.subject
    return table


def calibration_markdown(rows: Sequence[Row]) -> str:
    """Write the comparison as Markdown."""
    lines = [
        f"| | {' | '.join(_HEADINGS)} |",
        f"|---|---|---|{'---:|' * 4}",
        *(f"| {'✔' if row.holds else '✘'} | {' | '.join(_cells(row))} |" for row in rows),
    ]
    return "\n".join(lines) + "\n"
