"""The command of this package: ``report`` reports on records again, from the files alone."""

import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from reports.damage import naming_damage
from reports.html.page import html_report
from reports.outcome import ExitStatus, Outcome, worst
from reports.printable import printable
from reports.record import RecordError, read_record
from reports.run_outcome import outcome_of, run_document
from reports.summary import Summary, summarise
from reports.terminal import summary_text
from reports.whole_file import write_whole

app = typer.Typer()


@app.command()
def report(
    records: Annotated[list[Path], typer.Argument(help="Run records, *.run.jsonl.")],
    *,
    html: Annotated[
        str | None, typer.Option(metavar="FILE", help="Write the HTML page of one record.")
    ] = None,
    json_output: Annotated[
        str | None, typer.Option("--json", metavar="FILE", help="Write the figures; - prints them.")
    ] = None,
) -> None:
    """Print the results of records, or write a page for one; exit with the status of their runs."""
    try:
        if html is not None and len(records) > 1:
            raise RecordError(f"--html takes one record, {len(records)} were given; name one")
        evaluations = [_evaluate(path, with_page=html is not None) for path in records]
        # Write only after everything has been read: an unreadable record must not cost an
        # existing file.
        if html is not None:
            write_whole(html, evaluations[0].page, records)
        if json_output is not None:
            write_whole(json_output, _figures(evaluations), records)
    except RecordError as error:
        sys.stderr.write(f"swarmgate: {printable(str(error))}\n")
        raise typer.Exit(ExitStatus.USAGE) from None
    if html is None and json_output is None:
        sys.stdout.write("\n".join(map(_text, evaluations)))
    raise typer.Exit(worst([it.outcome.status for it in evaluations]))


@dataclass(frozen=True, slots=True)
class _Evaluation:
    """The outcome of one record, and its page if one was requested."""

    path: Path
    summary: Summary
    outcome: Outcome
    page: str


def _evaluate(path: Path, *, with_page: bool) -> _Evaluation:
    """Read a record and evaluate it. Raises RecordError."""
    record = read_record(path)
    with naming_damage(path):
        summary = summarise(record)
        page = html_report(record) if with_page else ""
        return _Evaluation(path, summary, outcome_of(summary), page)


def _text(evaluation: _Evaluation) -> str:
    line = printable(evaluation.outcome.line)
    return f"{printable(str(evaluation.path))}\n{summary_text(evaluation.summary)}\n{line}\n"


def _figures(evaluations: Sequence[_Evaluation]) -> str:
    document = [run_document(it.path, it.summary, it.outcome) for it in evaluations]
    return json.dumps(document, indent=2) + "\n"
