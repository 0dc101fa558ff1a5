"""The command of this room: ``report`` tells again what records say, from the files alone."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from reports.exit_status import ExitStatus
from reports.html import html_report
from reports.record import Record, RecordError, read_record
from reports.summary import Summary, summarise
from reports.terminal import summary_text

app = typer.Typer()


class _Destination:
    """A file that is opened before the work, so that a bad path fails early; ``-`` is stdout."""

    def __init__(self, path: str) -> None:
        self._file = sys.stdout if path == "-" else Path(path).open("w", encoding="utf-8")  # noqa: SIM115
        self._is_ours = path != "-"

    def write(self, text: str) -> None:
        self._file.write(text)
        if self._is_ours:
            self._file.close()


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
    """Tell what records say: on the terminal, as a page, as figures."""
    try:
        if html is not None and len(records) > 1:
            raise RecordError(f"--html is of one record, {len(records)} are given; name one")
        page = None if html is None else _Destination(html)
        figures = None if json_output is None else _Destination(json_output)
        read = [read_record(path) for path in records]
    except OSError as error:
        raise _fail(f"cannot write {error.filename}: {error.strerror}") from None
    except RecordError as error:
        raise _fail(str(error)) from None
    summaries = [summarise(record) for record in read]
    if page is not None:
        page.write(html_report(read[0]))
    if figures is not None:
        figures.write(_figures(read, summaries))
    if page is None and figures is None:
        for record, summary in zip(read, summaries, strict=True):
            sys.stdout.write(f"{record.path}\n{summary_text(summary)}\n\n")
    if not all(summary.valid for summary in summaries):
        raise typer.Exit(ExitStatus.INVALID)


def _fail(message: str) -> typer.Exit:
    sys.stderr.write(f"swarmgate: {message}\n")
    return typer.Exit(ExitStatus.USAGE)


def _figures(records: list[Record], summaries: list[Summary]) -> str:
    document = [
        {
            "record": str(record.path),
            "valid": summary.valid,
            "reasons": summary.reasons,
            "warnings": summary.warnings,
            "figures": summary.figures,
            "errors": summary.errors,
            "close_codes": summary.close_codes,
        }
        for record, summary in zip(records, summaries, strict=True)
    ]
    return json.dumps(document, indent=2) + "\n"
