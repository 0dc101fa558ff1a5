"""The command ``compare``: two sets of records, their figures side by side."""

import json
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from benchmarks.command_options import check_outputs
from benchmarks.judging.alike import NotComparableError, Run, grouped, matched
from benchmarks.judging.compare import Choose, compare, matters
from loadtests.errors import UsageError
from reports.comparison import Comparison
from reports.damage import naming_damage
from reports.figures import nearest
from reports.outcome import ExitStatus
from reports.printable import printable
from reports.record import RECORD_SUFFIX, RecordError, read_record
from reports.summary import Summary, summarise
from reports.tables.comparison_table import (
    after_table,
    comparison_document,
    comparison_markdown,
    comparison_table,
    footnotes,
    group_lines,
    headline,
)
from reports.terminal import result_console
from reports.whole_file import write_whole

# Columns of a table that goes to a file or a pipe, unless COLUMNS sets the number.
_WIDTH: Final = 100

app = typer.Typer()


class _NothingToJudgeError(Exception):
    """No record of one side can be judged; each line of the message says why not."""


@dataclass(frozen=True, slots=True)
class _Read:
    """The records of one side."""

    paths: tuple[Path, ...]
    runs: tuple[Run, ...]
    left_out: tuple[str, ...]


@app.command(name="compare")
def compare_records(
    base: Annotated[Path, typer.Argument(help="A run record, or a folder of them.")],
    head: Annotated[Path, typer.Argument(help="The record or folder to compare with it.")],
    *,
    figures: Annotated[
        list[str] | None,
        typer.Option("--figure", metavar="NAME", help="Compare only this figure (repeatable)."),
    ] = None,
    every: Annotated[bool, typer.Option("--all", help="Compare every figure.")] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Also compare runs of another load or machine.")
    ] = False,
    markdown: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the result as Markdown; - prints it.")
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Compare two sets of run records: each figure's ratio, and whether it is better or worse."""
    try:
        check_outputs({"--markdown": markdown}, as_json=json_output)
        if figures and every:
            raise UsageError("--figure and --all; leave one of them out")
        sides = [_read(base, "base"), _read(head, "head")]
        choose = _chosen(figures or (), sides, every=every)
        found = matched(*(grouped(side.runs) for side in sides), force=force)
        left_out = [line for side in sides for line in side.left_out]
        comparison = compare(found, left_out, choose)
        if markdown is not None:
            records = [path for side in sides for path in side.paths]
            write_whole(markdown, comparison_markdown(comparison), records)
    except (RecordError, UsageError) as error:
        raise _fail(str(error), ExitStatus.USAGE) from None
    except _NothingToJudgeError as error:
        raise _fail(str(error), ExitStatus.INVALID) from None
    except NotComparableError as error:
        message = f"not comparable; --force compares anyway\n{error}"
        raise _fail(message, ExitStatus.USAGE) from None
    if json_output:
        sys.stdout.write(json.dumps(comparison_document(comparison), indent=2) + "\n")
    elif markdown != "-":
        _print_comparison(comparison)


def _read(path: Path, side: str) -> _Read:
    """Read the records of a side.

    Raises:
        RecordError: there is none, or one is damaged.
        _NothingToJudgeError: none of them may be judged.
    """
    paths = sorted(path.rglob(f"*{RECORD_SUFFIX}")) if path.is_dir() else [path]
    if not paths:
        raise RecordError(f"no record (*{RECORD_SUFFIX}) in {path}; name a folder that has some")
    runs, left_out = [], []
    for each in paths:
        run, problems = _run(each)
        if problems:
            left_out.append(f"{each}: {'; '.join(problems)}")
        else:
            runs.append(run)
    if not runs:
        why = "".join(f"\n  {line}" for line in left_out)
        raise _NothingToJudgeError(f"no record of {side} can be judged{why}")
    return _Read(tuple(paths), tuple(runs), tuple(left_out))


def _run(path: Path) -> tuple[Run, tuple[str, ...]]:
    """Read one run, and why it is left out, if it is. Raises RecordError."""
    record = read_record(path)
    with naming_damage(path):
        summary = summarise(record)
        header = record.header
        started = datetime.fromisoformat(header.started_at).astimezone()
        return Run(header, started, summary.judged_figures), tuple(_problems(summary))


def _problems(summary: Summary) -> Iterator[str]:
    """Yield why a run's figures cannot be judged; errors are figures, and so not a reason."""
    if summary.interrupted:
        yield "interrupted"
    if not summary.valid:
        yield f"invalid: {'; '.join(summary.reasons) or 'no reason was recorded'}"
    yield from summary.failures


def _chosen(figures: Sequence[str], sides: Sequence[_Read], *, every: bool) -> Choose:
    """Return which figures are compared. Raises RecordError for one that does not exist."""
    if every:
        return lambda _figure, _scenario: True
    if not figures:
        return matters
    measured = {name for side in sides for run in side.runs for name in run.figures}
    for name in figures:
        if name not in measured:
            near = nearest(name, measured)
            raise RecordError(f"--figure {name!r}: no run has a figure of that name{near}")
    return lambda figure, _scenario: figure.key in figures


def _fail(text: str, status: ExitStatus) -> typer.Exit:
    lines = (printable(line) for line in text.splitlines())
    sys.stderr.write("swarmgate: " + "\n".join(lines) + "\n")
    return typer.Exit(status)


def _print_comparison(comparison: Comparison) -> None:
    """Print it, the outcome first."""
    console = result_console(_WIDTH)

    def print_line(line: str) -> None:
        console.print(printable(line), soft_wrap=True)

    print_line(headline(comparison))
    for group in comparison.groups:
        print_line("")
        console.print(printable(group.what), style="bold", soft_wrap=True)
        for line in group_lines(group):
            print_line(f"  {line}")
        if group.rows:
            console.print(comparison_table(group))
        for line in after_table(group):
            print_line(line)
    print_line("")
    for line in footnotes(comparison):
        print_line(line)
