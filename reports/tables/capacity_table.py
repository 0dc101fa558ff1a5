"""The loads of a search, as a table: one set of cells, drawn for a terminal or as Markdown."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from rich import box
from rich.table import Table
from rich.text import Text

from reports.tables.markdown import markdown_table

_MARKS: Final = {"held": ("✔", "green"), "broke": ("✘", "red"), "open": ("?", "yellow")}
_UNJUDGED: Final = ("–", "magenta")


@dataclass(frozen=True, slots=True)
class LoadRow:
    """One load that was tried.

    Attributes:
        load: the size of the load.
        kind: ``held``, ``broke``, ``open`` or anything else, which means no run could be judged.
        runs: the number of runs in which it held.
        figures: what was measured, one cell for each condition.
        limit: what the limit was if it broke.
    """

    load: str
    kind: str
    runs: str
    figures: tuple[str, ...]
    limit: str


def loads_table(unit: str, conditions: Sequence[str], rows: Sequence[LoadRow]) -> Table:
    """Draw the table for a terminal, one line for each load."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, collapse_padding=True)
    load, *others, limit = _heads(unit, conditions)
    table.add_column(load, justify="right")
    table.add_column(others[0], no_wrap=True)
    for condition in others[1:]:
        table.add_column(condition, justify="right")
    table.add_column(limit)
    for row in rows:
        colour = _MARKS.get(row.kind, _UNJUDGED)[1]
        load, runs, *rest = _cells(row)
        table.add_row(load, Text(runs, style=colour), *map(Text, rest))
    return table


def loads_markdown(unit: str, conditions: Sequence[str], rows: Sequence[LoadRow]) -> str:
    """Write the table as Markdown."""
    heads = _heads(unit, conditions)
    rule = ["--:", "---", *("--:" for _ in conditions), "---"]
    return markdown_table([heads, rule, *map(_cells, rows)])


def _heads(unit: str, conditions: Sequence[str]) -> list[str]:
    return [unit, "held", *conditions, "limit"]


def _cells(row: LoadRow) -> list[str]:
    return list(_each(row))


def _each(row: LoadRow) -> Iterator[str]:
    yield row.load
    yield f"{_MARKS.get(row.kind, _UNJUDGED)[0]} {row.runs}"
    yield from row.figures
    yield row.limit
