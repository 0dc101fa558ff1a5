"""The command line ``swarmgate``: each room contributes commands, ``serve`` is a process."""

import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from benchmarks.calibrate import FULL, QUICK, CalibrationError
from benchmarks.calibrate import calibrate as run_calibration
from benchmarks.calibration import Row
from benchmarks.calibration_table import calibration_markdown, calibration_table
from benchmarks.claims import ClaimsFileError, choose, judge, load_claims
from benchmarks.experiments import ANY_MACHINE, InterruptedRunError, check, needed, run_all
from benchmarks.experiments import quick as reduced
from loadtests import cli as loadtests_cli
from loadtests.bounds import Bounds
from loadtests.errors import LoadTestError
from loadtests.own_module import own_environment, own_module
from loadtests.run import DEFAULT_FOLDER
from reports import cli as reports_cli
from reports.claims_table import tally, verdict_markdown, verdict_svg, verdict_table
from reports.exit_status import ExitStatus
from reports.outcome import Outcome
from reports.record import RecordError
from reports.terminal import live_view
from reports.verdict import ClaimResult, outcome_of_claims

DEFAULT_CLAIMS: Final = Path(__file__).with_name("claims.toml")
# Columns of a table that goes to a file or a pipe.
REPORT_WIDTH: Final = 132

app = typer.Typer(
    name="swarmgate",
    help="Load-test WebSocket servers with real connections; a verdict on every scaling claim.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(loadtests_cli.app)
app.add_typer(reports_cli.app)


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)
def serve(context: typer.Context) -> None:
    """Run the reference server; `swarmgate serve --help` lists its options."""
    # A process of its own: the server under test knows nothing of what measures it.
    command = [*own_module("target_app"), *context.args]
    os.execve(command[0], command, own_environment())  # noqa: S606


@app.command()
def claims(
    file: Annotated[Path, typer.Argument(help="The claims.")] = DEFAULT_CLAIMS,
    *,
    only: Annotated[
        list[str] | None, typer.Option(metavar="ID", help="Judge only this claim (repeatable).")
    ] = None,
    repeats: Annotated[
        int | None, typer.Option(min=2, help="Runs of each experiment. [default: the file's]")
    ] = None,
    quick: Annotated[
        bool,
        typer.Option(
            "--quick",
            help="A tenth of the connections, twice: shows that it works, judges no claim. "
            "Exits with 3 if something could not be measured, else with 0.",
        ),
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of records. [default: under reports/runs/]"),
    ] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing meanwhile.")] = False,
) -> None:
    """Run what the claims need and print a verdict on each, from repeated fresh-process runs."""
    try:
        asked = choose(load_claims(file), only or ())
        experiments = {
            name: reduced(held) if quick else held for name, held in needed(asked).items()
        }
        if repeats is not None:
            experiments = {
                name: held.model_copy(update={"repeats": repeats})
                for name, held in experiments.items()
            }
        check(experiments, file)
    except ClaimsFileError as error:
        sys.stderr.write(f"swarmgate: {error}\n")
        raise typer.Exit(ExitStatus.USAGE) from None
    folder = output or DEFAULT_FOLDER / datetime.now(UTC).strftime("claims-%Y%m%dT%H%M%S")
    console = Console(stderr=True)
    try:
        runs = run_all(
            experiments,
            folder,
            lambda title: live_view(console, title, quiet=quiet),
            ANY_MACHINE if quick else Bounds(),
        )
    except InterruptedRunError as error:
        sys.stderr.write(f"swarmgate: {error}; the records up to then are in {folder}\n")
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    except RecordError as error:
        raise loadtests_cli.fail(error) from None
    results = [judge(claim, experiments[claim.experiment], runs) for claim in asked.claims]
    _tell(results, folder, is_reduced=quick)
    outcome = outcome_of_claims(results)
    if quick and outcome.status is not ExitStatus.INVALID:
        outcome = Outcome(ExitStatus.HELD, ("everything was measured, and nothing is judged",))
    sys.stdout.write(f"{outcome.line}\n")
    raise typer.Exit(outcome.status)


@app.command()
def calibrate(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="A short form: half of the faults, 2 s each.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of records. [default: under reports/runs/]"),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing meanwhile.")] = False,
) -> None:
    """Measure a server with known delays and faults: does the instrument tell the truth?"""
    folder = output or DEFAULT_FOLDER / datetime.now(UTC).strftime("calibrate-%Y%m%dT%H%M%S")
    console = Console(stderr=True)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        rows = run_calibration(
            QUICK if quick else FULL, folder, lambda title: live_view(console, title, quiet=quiet)
        )
    except OSError as error:
        sys.stderr.write(f"swarmgate: cannot write {folder}: {error.strerror}\n")
        raise typer.Exit(ExitStatus.USAGE) from None
    except (LoadTestError, RecordError) as error:
        raise loadtests_cli.fail(error) from None
    except InterruptedRunError as error:
        sys.stderr.write(f"swarmgate: {error}; the records up to then are in {folder}\n")
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    except CalibrationError as error:
        sys.stderr.write(f"swarmgate: not calibrated: {error}\n")
        raise typer.Exit(ExitStatus.INVALID) from None
    tell_calibration(rows, folder, as_json=json_output)
    wrong = [f"{row.subject}: {row.figure}" for row in rows if not row.holds]
    outcome = Outcome(
        ExitStatus.FAILED if wrong else ExitStatus.HELD,
        (f"not what was injected: {', '.join(wrong)}",)
        if wrong
        else (f"all {len(rows)} figures are what was injected",),
    )
    if not json_output:
        sys.stdout.write(f"{outcome.line}\n")
    raise typer.Exit(outcome.status)


def tell_calibration(rows: Sequence[Row], folder: Path, *, as_json: bool) -> None:
    """Print the comparison, and keep it beside its records."""
    (folder / "calibration.md").write_text(calibration_markdown(rows), encoding="utf-8")
    if as_json:
        document = [asdict(row) | {"holds": row.holds} for row in rows]
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=REPORT_WIDTH)
    console.print(calibration_table(rows))
    held = sum(row.holds for row in rows)
    console.print(f"{held} of {len(rows)} figures are what was injected. Records: {folder}")


def _tell(results: Sequence[ClaimResult], folder: Path, *, is_reduced: bool) -> None:
    """Print the verdict table, and keep it beside its records."""
    notice = "Reduced load (--quick): these verdicts say nothing about the claims.\n"
    markdown = folder / "claims.md"
    markdown.write_text(
        f"{notice if is_reduced else ''}{tally(results)}\n\n{verdict_markdown(results)}",
        encoding="utf-8",
    )
    (folder / "claims.svg").write_text(verdict_svg(results), encoding="utf-8")
    console = Console(highlight=False)
    if not console.is_terminal:
        console = Console(highlight=False, width=REPORT_WIDTH)
    console.print(verdict_table(results))
    console.print(f"{notice if is_reduced else ''}{tally(results)}", soft_wrap=True)
    console.print(f"Records, and the table as Markdown and SVG: {folder}", soft_wrap=True)


def main() -> None:
    """Run the command line; a wrong command is told in one line, status 2."""
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as error:
        sys.stderr.write(f"swarmgate: {_one_line(error)}\n")
        status = ExitStatus.USAGE
    sys.exit(status)


def _one_line(error: typer.TyperException) -> str:
    message = error.format_message() if isinstance(error, typer.BadParameter) else str(error)
    return f"{' '.join(message.split()).rstrip('.')}; see swarmgate --help"
