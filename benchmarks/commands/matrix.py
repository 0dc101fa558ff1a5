"""The command ``matrix``: the same experiments on several servers, interleaved, in one table."""

import json
import sys
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from benchmarks.command_options import check_outputs
from benchmarks.matrix.folder import Heading, add, begin, end, read_matrix
from benchmarks.matrix.matrix_file import MatrixFile, chosen, load_matrix
from benchmarks.runs.making import ANY_MACHINE, InterruptedRunError
from benchmarks.runs.series import check_plans, describe, make_all, turns, with_repeats
from benchmarks.runs.series import quick as reduced
from benchmarks.runs.tables import InputFileError
from loadtests import cli as loadtests_cli
from loadtests.errors import UsageError
from loadtests.run.run import default_folder
from reports.matrix import Matrix, matrix_document, outcome_of_matrix
from reports.outcome import Outcome
from reports.printable import printable
from reports.record import RecordError
from reports.tables.matrix_findings import findings, notes
from reports.tables.matrix_table import matrix_markdown, matrix_table, reasons
from reports.terminal import live_view, result_console
from reports.whole_file import write_whole

DEFAULT_MATRIX: Final = Path(__file__).parents[1] / "matrix.toml"
# Columns of a table that goes to a file or a pipe, unless COLUMNS sets the number.
REPORT_WIDTH: Final = 132
QUICK_ROUNDS: Final = 1
QUICK_SECONDS: Final = 1.0

app = typer.Typer()


@app.command()
def matrix(
    file: Annotated[Path, typer.Argument(help="The servers and experiments.")] = DEFAULT_MATRIX,
    *,
    only: Annotated[
        list[str] | None,
        typer.Option(metavar="TARGET", help="Only this server and the reference (repeatable)."),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option(min=2, help="Runs of each experiment on each server. \\[default: the file's]"),
    ] = None,
    quick: Annotated[
        bool,
        typer.Option("--quick", help="A tenth of the connections, once: shows that it works."),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of records. \\[default: under reports/runs/]"),
    ] = None,
    from_folder: Annotated[
        Path | None,
        typer.Option(
            "--from", metavar="FOLDER", help="Make no run: the table of one that was made."
        ),
    ] = None,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
    markdown: Annotated[
        str | None,
        typer.Option(metavar="FILE", help="Write the table as Markdown, too; - prints it alone."),
    ] = None,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show nothing during the run.")
    ] = False,
) -> None:
    """Run the same experiments on several servers, interleaved, and compare their figures."""
    try:
        # Before the runs, which take long, so that an unwritable file is reported at once.
        check_outputs({"--markdown": markdown}, as_json=as_json)
        if from_folder is not None:
            if only or rounds is not None or quick or output is not None:
                raise UsageError("--from makes no run: leave out --only, --rounds, --quick and -o")
            folder = from_folder
        else:
            asked = _asked(file, only or [], rounds, is_reduced=quick)
            folder = output or default_folder("matrix")
            _make(asked, folder, is_reduced=quick, quiet=quiet)
        found = read_matrix(folder)
        if from_folder is None:
            write_whole(str(folder / "matrix.md"), _markdown(found), ())
        if markdown is not None:
            write_whole(markdown, _markdown(found), ())
    except (InputFileError, UsageError) as error:
        raise loadtests_cli.fail(UsageError(str(error))) from None
    except RecordError as error:
        raise loadtests_cli.fail(error) from None
    outcome = outcome_of_matrix(found)
    if as_json:
        document = matrix_document(found, findings(found), outcome) | {"folder": str(folder)}
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
    elif markdown != "-":
        _print_matrix(found, folder, outcome)
    raise typer.Exit(outcome.status)


def _asked(file: Path, only: list[str], rounds: int | None, *, is_reduced: bool) -> MatrixFile:
    """Read what is to be run, and refuse, before anything runs, what cannot run."""
    asked = chosen(load_matrix(file), only)
    if is_reduced:
        asked = reduced(asked, QUICK_ROUNDS, QUICK_SECONDS)
    if rounds is not None:
        asked = with_repeats(asked, rounds)
    check_plans(asked)
    for name, missing in asked.left_out.items():
        sys.stderr.write(f"swarmgate: target {name} is left out: there is no {missing}\n")
    return asked


def _make(asked: MatrixFile, folder: Path, *, is_reduced: bool, quiet: bool) -> None:
    """Make the runs, or as many as the user does not interrupt. Raises RecordError."""
    how = {it: describe(asked, it, asked.reference) for it in asked.experiments}
    planned = len(list(turns(asked)))
    begin(
        folder,
        Heading(
            reference=asked.reference,
            columns=asked.columns,
            targets=tuple(asked.targets),
            how=how,
            left_out=asked.left_out,
            planned=planned,
            is_reduced=is_reduced,
        ),
    )
    console = Console(stderr=True)
    bounds = ANY_MACHINE if is_reduced else None
    runs = make_all(asked, folder, lambda title: live_view(console, title, quiet=quiet), bounds)
    with suppress(InterruptedRunError, KeyboardInterrupt):
        for turn, made in runs:
            add(folder, turn, made)
        end(folder)


def _markdown(found: Matrix) -> str:
    sentences = "".join(f"- {it}\n" for it in findings(found))
    below = "".join(f"{it}\n\n" for it in (*reasons(found), *notes(found)))
    return f"{matrix_markdown(found)}\n{sentences}\n{below}".rstrip("\n") + "\n"


def _print_matrix(found: Matrix, folder: Path, outcome: Outcome) -> None:
    """Print the table, what it says, and what a reader must know to understand it."""
    console = result_console(REPORT_WIDTH)
    console.print(matrix_table(found, console.width))
    for sentence in (*findings(found), *reasons(found), *notes(found)):
        console.print(printable(sentence.replace("\u00a0", " ")), soft_wrap=True)
    console.print(f"Records, and the table as Markdown: {folder}", soft_wrap=True)
    sys.stdout.write(f"{printable(outcome.line)}\n")
