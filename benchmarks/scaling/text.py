"""A scaling report for a terminal, and as Markdown."""

import io

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

from benchmarks.scaling.blocks import Block, Heading, Table, blocks_of
from benchmarks.scaling.report import Report
from reports.tables.markdown import escaped, markdown_table


def terminal_text(report: Report, width: int) -> str:
    """Write a report for a terminal of ``width`` columns, or for a pipe."""
    console = Console(file=io.StringIO(), width=width, highlight=False)
    for block in blocks_of(report):
        match block:
            case Heading():
                console.print(Text(f"\n{block.text}", style="bold"))
            case Table():
                console.print(_table(block))
            case str():
                console.print(Text(block))
    file = console.file
    assert isinstance(file, io.StringIO)
    return "".join(f"{line.rstrip()}\n" for line in file.getvalue().splitlines())


def markdown(report: Report, outcome: str) -> str:
    """Write a report as Markdown, the outcome first."""
    return "\n\n".join([f"**{escaped(outcome)}**", *_paragraphs(report)]) + "\n"


def _paragraphs(report: Report) -> list[str]:
    paragraphs: list[str] = []
    for block in blocks_of(report):
        text = _markdown_block(block)
        # List items are kept together.
        if text.startswith("- ") and paragraphs and paragraphs[-1].startswith("- "):
            paragraphs[-1] += f"\n{text}"
        else:
            paragraphs.append(text)
    return paragraphs


def _markdown_block(block: Block) -> str:
    match block:
        case Heading():
            return f"### {escaped(block.text)}"
        case Table():
            return _markdown_table(block)
        case str():
            return escaped(block)


def _table(table: Table) -> RichTable:
    drawn = RichTable(box=box.SIMPLE_HEAD, pad_edge=False)
    for number, heading in enumerate(table.headings):
        if number < table.words:
            drawn.add_column(heading)
        else:
            drawn.add_column(heading, justify="right", no_wrap=True)
    for row in table.rows:
        drawn.add_row(*map(Text, row))
    return drawn


def _markdown_table(table: Table) -> str:
    rules = ("---" if number < table.words else "---:" for number in range(len(table.headings)))
    return markdown_table((table.headings, tuple(rules), *table.rows)).removesuffix("\n")
