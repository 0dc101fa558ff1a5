"""The verdict table: one set of cells, drawn for a terminal or written as Markdown."""

import io
import re
from collections.abc import Iterator, Sequence
from typing import Final

from rich import box
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.table import Table
from rich.text import Text

from reports.units import format_figure
from reports.verdict import ClaimResult, Estimate, Verdict

PICTURE_WIDTH: Final = 132
# Between a number and its unit, so that no line of a table ends there.
_NO_BREAK: Final = "\u00a0"

_MARKS: Final = {
    Verdict.HOLDS: ("✔", "green"),
    Verdict.REFUTED: ("✘", "red"),
    Verdict.INCONCLUSIVE: ("?", "yellow"),
    Verdict.NOT_MEASURED: ("–", "magenta"),
}

# A figure's name as people say it; any other is shown as it is.
_LABELS: Final = {
    "connections.open": "connections open",
    "latency.mean_seconds": "mean",
    "latency.p50_seconds": "p50",
    "latency.p99_seconds": "p99",
    "latency.p999_seconds": "p99.9",
    "delivery.first_seconds": "first receiver",
    "delivery.half_seconds": "half",
    "delivery.most_seconds": "99 %",
    "delivery.last_seconds": "last receiver",
    "integrity.lost": "lost",
    "integrity.duplicated": "duplicated",
    "integrity.reordered": "reordered",
    "server.cpu_ratio": "server CPU",
    "server.memory_bytes": "server memory",
    "server.kernel_memory_per_connection_bytes": "kernel memory a connection, both ends",
    "coroutine.memory_bytes": "bare coroutine",
    "coroutine.task_memory_bytes": "with its task",
    "thread.resident_bytes": "resident",
    "thread.virtual_bytes": "virtual",
    "thread.kernel_stack_bytes": "kernel stack",
    "messages.sent_per_second": "sent",
    "messages.unsolicited": "heartbeats received",
}


def verdict_table(results: Sequence[ClaimResult]) -> Table:
    """Draw the table for a terminal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("claim", ratio=4)
    table.add_column("claimed", ratio=2)
    table.add_column("measured, 95 % interval", ratio=3)
    table.add_column("runs", justify="right")
    for result in results:
        mark, colour = _MARKS[result.verdict]
        table.add_row(
            Text(f"{mark} {result.verdict}", style=colour),
            Text(f"“{result.says}”\n").append(result.how, style="dim"),
            result.bound,
            _measured(result),
            _runs(result),
        )
    return table


def verdict_svg(results: Sequence[ClaimResult]) -> str:
    """Draw the table as a picture, for a page."""
    console = Console(record=True, width=PICTURE_WIDTH, file=io.StringIO(), highlight=False)
    console.print(verdict_table(results))
    # The library's own frame would fetch a font from elsewhere.
    frame = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="swarmgate claims", code_format=frame)


def verdict_markdown(results: Sequence[ClaimResult]) -> str:
    """Write the table as Markdown."""
    rows = [
        ("verdict", "claim", "claimed", "measured, 95 % interval", "runs", "how", "source"),
        ("---",) * 7,
        *(
            (
                f"{_MARKS[result.verdict][0]} **{result.verdict}**",
                f"“{result.says}”",
                result.bound,
                _measured(result).replace("\n", "; "),
                _runs(result),
                result.how,
                result.source,
            )
            for result in results
        ),
    ]
    return "".join(f"| {' | '.join(_cell(text) for text in row)} |\n" for row in rows)


def tally(results: Sequence[ClaimResult]) -> str:
    """Say in one line how many claims hold, are refuted, and so on."""
    counted = ((verdict, sum(r.verdict is verdict for r in results)) for verdict in Verdict)
    parts = [f"{count} {verdict}" for verdict, count in counted if count]
    news = [result.claim for result in results if result.verdict is not result.expected]
    line = f"{len(results)} claim{'s' * (len(results) != 1)}: {', '.join(parts)}."
    return f"{line} Not as expected: {', '.join(news)}." if news else line


def _measured(result: ClaimResult) -> str:
    return "\n".join(_measured_lines(result))


def _measured_lines(result: ClaimResult) -> Iterator[str]:
    if result.estimate is not None:
        yield _interval(result.metric, result.estimate)
    yield from result.reasons
    if result.context:
        yield ", ".join(
            f"{_LABELS.get(name, name)} {_figure(name, value)}" for name, value in result.context
        )


def _interval(metric: str, estimate: Estimate) -> str:
    value = _figure(metric, estimate.value)
    if estimate.low == estimate.high:
        return f"{value} in every run"
    # The figures measured are never below nothing; an interval from few runs may reach there.
    low = max(0.0, estimate.low)
    return f"{value} ({_figure(metric, low)} to {_figure(metric, estimate.high)})"


def _figure(name: str, value: float) -> str:
    return format_figure(name, value).replace(" ", _NO_BREAK)


def _runs(result: ClaimResult) -> str:
    return str(len(result.estimate.runs)) if result.estimate else "0"


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")
