"""The verdict table: one set of cells, drawn for a terminal or written as Markdown."""

import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich import box
from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

from reports.claim_result import ALONE, ClaimResult, Estimate, named
from reports.outcome import Verdict
from reports.printable import printable
from reports.tables.markdown import markdown_table
from reports.units import format_figure

PICTURE_WIDTH: Final = 132
# Placed between a number and its unit, so that no line of a table breaks there.
_NO_BREAK: Final = "\u00a0"
# Its stand-in while rich wraps lines, since rich may break a line at any space, even this one: a
# private-use character (Unicode section 23.5) that is as wide as a space.
_JOINT: Final = "\ue000"
_BEFORE_A_UNIT: Final = re.compile(r"(?<=\d) (?=(?:[nµm]?s|[kMG]?B|%)(?!\w))")
_WIDEST_BOUND: Final = 16
_EACH: Final = (
    "Of each server: the mean over the runs, a geometric one where none is 0, and its "
    f"95{_NO_BREAK}% interval."
)

_MARKS: Final = {
    Verdict.HOLDS: ("✔", "green"),
    Verdict.REFUTED: ("✘", "red"),
    Verdict.INCONCLUSIVE: ("?", "yellow"),
    Verdict.NOT_MEASURED: ("–", "magenta"),
}


def verdict_table(results: Sequence[ClaimResult]) -> RenderableType:
    """Draw the table for a terminal, with a column for each server if there are several.

    Below it are the reasons why something was not measured.
    """
    servers = _servers(results)
    table = _compared(results, servers) if len(servers) > 1 else _listed(results)
    notes = [_EACH, *_notes(results)] if len(servers) > 1 else _notes(results)
    below = (Padding(_text(text), (0, 0, 1, 1)) for text in notes)
    return _Unbroken(Group(table, *below))


@dataclass(frozen=True, slots=True)
class _Unbroken:
    """Content in which no line breaks between a number and its unit."""

    content: RenderableType

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        for segment in console.render(self.content, options):
            yield Segment(segment.text.replace(_JOINT, " "), segment.style, segment.control)


def _text(text: str, style: str = "") -> Text:
    # Never a plain str, in which rich would take [brackets] for a style.
    return Text(text.replace(_NO_BREAK, _JOINT), style=style)


def _notes(results: Sequence[ClaimResult]) -> Iterator[str]:
    """Yield why something was not measured: each cause once, with what it affects."""
    concerned: dict[str, list[str]] = {}
    for result in results:
        for reason in result.reasons:
            concerned.setdefault(reason, []).append(named(result))
    for reason, names in concerned.items():
        whole = _BEFORE_A_UNIT.sub(_NO_BREAK, printable(reason))
        yield f"{_MARKS[Verdict.NOT_MEASURED][0]} {', '.join(names)}: {whole}"


def _servers(results: Sequence[ClaimResult]) -> list[str]:
    """Return the names of the judged servers, in the order in which they were judged."""
    return list(dict.fromkeys(result.target for result in results if result.target != ALONE))


def _claims(results: Sequence[ClaimResult]) -> Iterator[tuple[ClaimResult, list[ClaimResult]]]:
    """Yield each claim, represented by its first result, with all of its results."""
    by_claim: dict[str, list[ClaimResult]] = {}
    for result in results:
        by_claim.setdefault(result.claim, []).append(result)
    return ((of_claim[0], of_claim) for of_claim in by_claim.values())


def _compared(results: Sequence[ClaimResult], servers: Sequence[str]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=False)
    table.add_column("claim", ratio=3)
    table.add_column("claimed", max_width=_WIDEST_BOUND)
    for server in servers:
        table.add_column(Text(server), ratio=3)
    before = ""
    for claim, of_claim in _claims(results):
        cells = {result.target: result for result in of_claim}
        is_as_before, before = claim.how == before, claim.how
        table.add_row(
            _text(f"“{claim.says}”") if is_as_before else _statement(claim),
            _text(claim.bound),
            *(_verdict_cell(_cell_of(cells, server, servers)) for server in servers),
        )
    return table


def _cell_of(
    cells: Mapping[str, ClaimResult], server: str, servers: Sequence[str]
) -> ClaimResult | None:
    # A result that is about no server goes in the first server's column.
    return cells.get(server) or (cells.get(ALONE) if server == servers[0] else None)


def _verdict_cell(result: ClaimResult | None) -> Text:
    if result is None:
        return Text("")
    mark, colour = _MARKS[result.verdict]
    figures = f"{_of_runs(result)}\n{_figures(result)}" if result.estimate else ""
    verdict = _text(f"{mark}{_NO_BREAK}{result.verdict}", colour)
    return verdict.append_text(_text(figures, "default"))


def _statement(result: ClaimResult) -> Text:
    return _text(f"“{result.says}”\n").append_text(_text(result.how, "dim"))


def _of_runs(result: ClaimResult) -> str:
    return f", {_runs(result)} runs" if result.estimate else ""


def _listed(results: Sequence[ClaimResult]) -> Table:
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False, show_lines=False)
    table.add_column("verdict", no_wrap=True)
    table.add_column("claim", ratio=4)
    table.add_column("claimed", max_width=_WIDEST_BOUND)
    table.add_column("measured, 95 % interval", ratio=3)
    table.add_column("runs", justify="right")
    for result in results:
        mark, colour = _MARKS[result.verdict]
        table.add_row(
            Text(f"{mark} {result.verdict}", style=colour),
            _statement(result),
            _text(result.bound),
            _text(_figures(result)),
            _runs(result),
        )
    return table


def verdict_svg(results: Sequence[ClaimResult]) -> str:
    """Draw the table as a picture, for a page."""
    console = Console(record=True, width=PICTURE_WIDTH, file=io.StringIO(), highlight=False)
    console.print(verdict_table(results))
    # The library's own frame would fetch a font from the network.
    frame = re.sub(r"@font-face \{\{.*?\}\}\s*", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    return console.export_svg(title="swarmgate claims", code_format=frame)


def verdict_markdown(results: Sequence[ClaimResult]) -> str:
    """Write the table as Markdown, with a column for each server if there are several."""
    servers = _servers(results)
    rows = _compared_rows(results, servers) if len(servers) > 1 else _listed_rows(results)
    return markdown_table(rows)


def _compared_rows(
    results: Sequence[ClaimResult], servers: Sequence[str]
) -> Iterator[tuple[str, ...]]:
    yield ("claim", "claimed", *(f"{server}, 95 % interval" for server in servers), "how", "source")
    yield ("---",) * (len(servers) + 4)
    for claim, of_claim in _claims(results):
        cells = {result.target: result for result in of_claim}
        judged = (_cell_of(cells, server, servers) for server in servers)
        verdicts = (_verdict_words(result) for result in judged)
        yield (f"“{claim.says}”", claim.bound, *verdicts, claim.how, claim.source)


def _verdict_words(result: ClaimResult | None) -> str:
    if result is None:
        return "–"
    mark, _ = _MARKS[result.verdict]
    return f"{mark} **{result.verdict}**{_of_runs(result)}: {_measured(result)}"


def _listed_rows(results: Sequence[ClaimResult]) -> list[tuple[str, ...]]:
    return [
        ("verdict", "claim", "claimed", "measured, 95 % interval", "runs", "how", "source"),
        ("---",) * 7,
        *(
            (
                f"{_MARKS[result.verdict][0]} **{result.verdict}**",
                f"“{result.says}”",
                result.bound,
                _measured(result),
                _runs(result),
                result.how,
                result.source,
            )
            for result in results
        ),
    ]


def tally(results: Sequence[ClaimResult]) -> str:
    """Return one line with how many claims hold, are refuted, and so on."""
    counted = ((verdict, sum(r.verdict is verdict for r in results)) for verdict in Verdict)
    parts = [f"{count} {verdict}" for verdict, count in counted if count]
    news = [named(result) for result in results if result.expected not in (None, result.verdict)]
    servers = len(_servers(results))
    what = (
        f"verdict{'s' * (len(results) != 1)} on {servers} servers"
        if servers > 1
        else (f"claim{'s' * (len(results) != 1)}")
    )
    line = f"{len(results)} {what}: {', '.join(parts)}."
    return f"{line} Not as expected: {', '.join(news)}." if news else line


def _measured(result: ClaimResult) -> str:
    """Return one line with what was measured, or why nothing was."""
    if result.estimate is None:
        return "; ".join(map(printable, result.reasons))
    return _figures(result).replace("\n", "; ")


def _figures(result: ClaimResult) -> str:
    """Return what was measured, with the accompanying figures on a separate line."""
    if result.estimate is None:
        return ""
    judged = _interval(result.metric, result.estimate)
    beside = ", ".join(
        f"{known.label} {_figure(known.key, value)}" for known, value in result.context
    )
    return f"{judged}\n{beside}" if beside else judged


def _interval(metric: str, estimate: Estimate) -> str:
    # A ratio has no unit, and a bare number says nothing.
    times = f"{_NO_BREAK}times" if metric == "times" else ""
    value = f"{_figure(metric, estimate.value)}{times}"
    if estimate.low == estimate.high:
        return f"{value} in every run"
    # Measured figures are never negative, but an interval from few runs may reach below 0.
    low = max(0.0, estimate.low)
    high = _figure(metric, estimate.high) if math.isfinite(estimate.high) else "?"
    return f"{value} ({_figure(metric, low)} to {high})"


def _figure(name: str, value: float) -> str:
    return format_figure(name, value).replace(" ", _NO_BREAK)


def _runs(result: ClaimResult) -> str:
    return str(len(result.estimate.runs)) if result.estimate else "0"
