"""A comparison for people and programs: one set of cells, drawn for a terminal or as Markdown."""

import statistics
from collections.abc import Iterator, Sequence
from typing import Any, Final

from rich import box
from rich.table import Table
from rich.text import Text

from reports.comparison import Comparison, Difference, GroupComparison, Row, Side
from reports.printable import printable
from reports.tables.markdown import markdown_table
from reports.units import format_figure, rounded, significant

_MARKS: Final = {
    Difference.WORSE: ("✘ worse", "red"),
    Difference.BETTER: ("✔ better", "green"),
    Difference.CHANGED: ("≠ changed", "yellow"),
    Difference.EQUAL: ("= equal", "dim"),
    Difference.NONE_DETECTED: ("~", "dim"),
}
# Worst first; within each, the figures keep their order.
_ORDER: Final = tuple(_MARKS)
_COLUMNS: Final = ("", "figure", "base", "head", "head/base, 95 % interval")
_COMMIT_DIGITS: Final = 12
_MOST_DIGITS: Final = 6


def comparison_table(group: GroupComparison) -> Table:
    """Draw the figures of one load for a terminal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    table.add_column(_COLUMNS[0], no_wrap=True)
    table.add_column(_COLUMNS[1])
    for name in _COLUMNS[2:4]:
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column(_COLUMNS[4], no_wrap=True)
    for row in _sorted(group.rows):
        mark, colour = _MARKS[row.difference]
        table.add_row(Text(mark, style=colour), *map(Text, _cells(row)))
    return table


def comparison_markdown(comparison: Comparison) -> str:
    """Write a whole comparison as Markdown, including the name of each figure."""
    parts = [f"{headline(comparison)}\n"]
    for group in comparison.groups:
        rows = [
            (*_COLUMNS, "name"),
            ("---", "---", "--:", "--:", "---", "---"),
            *(
                (_MARKS[row.difference][0], *_cells(row), f"`{row.figure.key}`")
                for row in _sorted(group.rows)
            ),
        ]
        lines = "".join(f"- {line}\n" for line in group_lines(group))
        after = "".join(f"{line}\n\n" for line in after_table(group))
        table = f"{markdown_table(rows)}\n" if group.rows else ""
        parts.append(f"**{group.what}**\n\n{lines}\n{table}{after}".rstrip() + "\n")
    parts += [f"{line}\n" for line in footnotes(comparison)]
    return "\n".join(parts)


def headline(comparison: Comparison) -> str:
    """Return one line with the result: how many figures are worse, better, and so on."""
    rows = [row for group in comparison.groups for row in (*group.rows, *group.equal)]
    words = {Difference.NONE_DETECTED: "with no detectable difference"}
    counted = ((kind, sum(row.difference is kind for row in rows)) for kind in _ORDER)
    counts = ", ".join(f"{count} {words.get(kind, kind)}" for kind, count in counted if count)
    return f"{len(rows)} figure{'s' * (len(rows) != 1)}, head against base: {counts or 'none'}."


def group_lines(group: GroupComparison) -> Iterator[str]:
    """Yield what base and head are, and what a reader should know about them."""
    if group.base.server == group.head.server:
        yield f"target: {group.base.server}"
    for name, side, other in (
        ("base", group.base, group.head),
        ("head", group.head, group.base),
    ):
        yield f"{name}: {'; '.join(_side(side, other))}"
    yield from (f"Not the same: {line}" for line in group.forced)
    yield from group.notes


def after_table(group: GroupComparison) -> Iterator[str]:
    """Yield the figures that are the same in every run of both sides."""
    values = [row for row in group.equal if row.base[0]]
    same = [f"{row.figure.label} {format_figure(row.figure.key, row.base[0])}" for row in values]
    if same:
        yield f"The same in every run: {', '.join(same)}."
    if zero := [row.figure.label for row in group.equal if not row.base[0]]:
        yield f"0 in every run: {', '.join(zero)}."


def footnotes(comparison: Comparison) -> Iterator[str]:
    """Yield what was left out, and how far the comparison can be relied on."""
    for left in comparison.left_out:
        yield f"Left out: {left}"
    if count := comparison.judged:
        yield (
            f"Base and head are medians over runs. Each of the {count} figures has its own 95 % "
            f"interval, so if nothing had changed, up to {significant(count / 20, 2)} of them "
            "would still be reported as different, by chance."
        )


def comparison_document(comparison: Comparison) -> dict[str, Any]:
    """Return the comparison as a JSON document."""
    return {
        "groups": [
            {
                "what": group.what,
                "base": _side_document(group.base),
                "head": _side_document(group.head),
                "forced": group.forced,
                "notes": group.notes,
                "figures": [_row_document(row) for row in (*group.rows, *group.equal)],
            }
            for group in comparison.groups
        ],
        "left_out": comparison.left_out,
        "compared": comparison.judged,
    }


def _side_document(side: Side) -> dict[str, Any]:
    return {
        "runs": side.runs,
        "server": side.server,
        "commits": side.commits,
        "versions": [{"package": name, "version": version} for name, version in side.versions],
    }


def _row_document(row: Row) -> dict[str, Any]:
    ratio = row.ratio
    return {
        "figure": row.figure.key,
        "label": row.figure.label,
        "unit": row.figure.unit,
        "better": row.figure.better,
        "base": {"median": statistics.median(row.base), "runs": row.base},
        "head": {"median": statistics.median(row.head), "runs": row.head},
        "ratio": ratio and {"value": ratio.value, "low": ratio.low, "high": ratio.high},
        "difference": row.difference,
        "judged": row.is_judged,
    }


def _sorted(rows: Sequence[Row]) -> list[Row]:
    return sorted(rows, key=lambda row: _ORDER.index(row.difference))


def _cells(row: Row) -> tuple[str, str, str, str]:
    """Return all cells except the mark: label, base, head and the interval of their ratio."""
    base, head = (
        format_figure(row.figure.key, statistics.median(side)) for side in (row.base, row.head)
    )
    return printable(row.figure.label), base, head, _interval(row)


def _interval(row: Row) -> str:
    if row.ratio is None:
        return "no ratio of 0 or less" if row.is_judged else "too few runs"
    ends = (row.ratio.value, row.ratio.low, row.ratio.high)
    # An end that is close to 1 but printed as 1.00 would contradict the verdict.
    digits = next((it for it in (3, 4, 5) if not _hides(ends[1:], it)), _MOST_DIGITS)
    value, low, high = (significant(it, digits) for it in ends)
    return f"{value} ({low} to {high})"


def _hides(ends: Sequence[float], digits: int) -> bool:
    """Return whether an interval that excludes 1 would look, when rounded, as if it reached it."""
    low, high = ends
    beside = low > 1 or high < 1
    return beside and any(rounded(it, digits) == 1 for it in ends)


def _side(side: Side, other: Side) -> Iterator[str]:
    yield f"{side.runs} run{'s' * (side.runs != 1)}"
    if side.commits:
        # A trailing + means that files differed from the commit.
        short = (f"{it[:_COMMIT_DIGITS]}{'+' * it.endswith('+')}" for it in side.commits)
        yield f"commit {', '.join(short)}"
    if side.server != other.server:
        yield side.server
    own = (f"{name} {it}" for name, it in side.versions if (name, it) not in other.versions)
    if versions := ", ".join(own):
        yield versions
