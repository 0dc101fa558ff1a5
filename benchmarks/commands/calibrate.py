"""The command ``calibrate``: does the instrument tell the truth?"""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from benchmarks.calibration.calibrate import FULL, QUICK, CalibrationError
from benchmarks.calibration.calibrate import calibrate as run_calibration
from benchmarks.calibration.calibration_table import calibration_markdown, calibration_table
from benchmarks.calibration.judging import Row
from benchmarks.commands.claims import REPORT_WIDTH
from benchmarks.runs.making import InterruptedRunError
from loadtests import cli as loadtests_cli
from loadtests.errors import LoadTestError
from loadtests.run.run import default_folder
from reports.outcome import ExitStatus, outcome_from
from reports.record import RecordError
from reports.terminal import live_view, result_console

app = typer.Typer()


@app.command()
def calibrate(
    *,
    quick: Annotated[
        bool, typer.Option("--quick", help="A short run: half of the faults, 2 s each.")
    ] = False,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of records. \\[default: under reports/runs/]"),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show nothing during the run.")
    ] = False,
) -> None:
    """Measure a server with known delays and faults: does the instrument tell the truth?"""
    folder = output or default_folder("calibrate")
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
        sys.stderr.write(f"swarmgate: {error}; the records so far are in {folder}\n")
        raise typer.Exit(ExitStatus.INTERRUPTED) from None
    except CalibrationError as error:
        sys.stderr.write(f"swarmgate: not calibrated: {error}\n")
        raise typer.Exit(ExitStatus.INVALID) from None
    print_calibration(rows, folder, as_json=json_output)
    wrong = ", ".join(f"{row.subject}: {row.figure}" for row in rows if not row.holds)
    outcome = outcome_from(
        failed=[f"not what was injected: {wrong}"] if wrong else [],
        held=f"all {len(rows)} figures are what was injected",
    )
    if not json_output:
        sys.stdout.write(f"{outcome.line}\n")
    raise typer.Exit(outcome.status)


def print_calibration(rows: Sequence[Row], folder: Path, *, as_json: bool) -> None:
    """Print the comparison, and save it next to its records."""
    (folder / "calibration.md").write_text(calibration_markdown(rows), encoding="utf-8")
    if as_json:
        document = [asdict(row) | {"holds": row.holds} for row in rows]
        sys.stdout.write(json.dumps(document, indent=2) + "\n")
        return
    console = result_console(REPORT_WIDTH)
    console.print(calibration_table(rows))
    held = sum(row.holds for row in rows)
    console.print(f"{held} of {len(rows)} figures are what was injected. Records: {folder}")
