"""The command ``scaling``: laws from a series of records, which it can make first."""

import asyncio
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from benchmarks.command_options import check_outputs, parsed
from benchmarks.scaling.document import document_of
from benchmarks.scaling.machines import MachineSpec
from benchmarks.scaling.readings import LeftOut, Series, SeriesError, TooFewError, read_series
from benchmarks.scaling.report import Report, outcome_of_scaling, report_on
from benchmarks.scaling.series import Make, ScalingRun, make_all, runs_of
from benchmarks.scaling.text import markdown, terminal_text
from loadtests import cli as loadtests_cli
from loadtests.errors import LoadTestError, UsageError
from loadtests.plan.command_line import read_words
from loadtests.plan.from_options import source_of
from loadtests.plan.limits import SPARE_FILES, USABLE_PORT_SHARE
from loadtests.plan.run_options import Given, flag_of
from loadtests.plan.scenario_file import ScenarioFile
from loadtests.plan.user_kinds import plan_of_run
from loadtests.run.run import checked, default_folder, execute
from reports.outcome import ExitStatus, Outcome
from reports.printable import printable
from reports.record import RecordError
from reports.summary import Summary
from reports.terminal import live_view, result_console
from reports.units import parse_bytes, parse_count
from reports.whole_file import write_whole

# Columns of what goes to a file or a pipe, unless COLUMNS sets the number.
REPORT_WIDTH: Final = 110
PROJECTED: Final = "100k,1M,10M"


app = typer.Typer()


@app.command(context_settings={"ignore_unknown_options": True})
def scaling(
    words: Annotated[
        list[str],
        typer.Argument(
            metavar="FOLDER… | URL FLAGS…",
            help="Folders of records, one scenario each. With --target-cmd: the address and the "
            "flags of every run, as swarmgate run has them, after a --.",
        ),
    ],
    *,
    fit_up_to: Annotated[
        str | None,
        typer.Option(
            metavar="N", help="Fit up to this many connections; compare with the runs beyond."
        ),
    ] = None,
    project: Annotated[
        str, typer.Option(metavar="N,N", help="Connections to project to.")
    ] = PROJECTED,
    target_cmd: Annotated[
        str | None,
        typer.Option(help="Make the runs first: command that starts the server, with {port}."),
    ] = None,
    sizes: Annotated[
        str | None, typer.Option(metavar="N,N", help="Connections of the runs: 2k,5k,10k,20k.")
    ] = None,
    rates: Annotated[
        str | None, typer.Option(metavar="N,N", help="Or their rates: 500,1k,2k.")
    ] = None,
    workers: Annotated[
        str | None,
        typer.Option(metavar="N,N", help="Or the server's workers, as {workers} in --target-cmd."),
    ] = None,
    repeats: Annotated[int, typer.Option(min=1, help="Runs of each size.")] = 3,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="Folder of records. \\[default: under reports/runs/]"),
    ] = None,
    cores: Annotated[
        int | None, typer.Option(min=1, help="Cores of a machine; otherwise as measured.")
    ] = None,
    memory: Annotated[
        str | None, typer.Option(metavar="SIZE", help="Memory of a machine: 64GB.")
    ] = None,
    files: Annotated[
        str | None, typer.Option(metavar="N", help="Files that a process may open: 1M.")
    ] = None,
    proxy_sources: Annotated[
        int, typer.Option(min=0, help="Source addresses of a proxy in front; 0 for no proxy.")
    ] = 0,
    markdown_output: Annotated[
        str | None,
        typer.Option(
            "--markdown", metavar="FILE", help="Write the report as Markdown; - prints it."
        ),
    ] = None,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
    quiet: Annotated[
        bool, typer.Option("--quiet", "-q", help="Show nothing during the run.")
    ] = False,
) -> None:
    """Fit scaling laws to a series of runs and project them, with what could break a projection."""
    try:
        limit = math.inf if fit_up_to is None else _count("--fit-up-to", fit_up_to)
        asked = [float(_count("--project", it)) for it in _listed(project)]
        failed: tuple[LeftOut, ...] = ()
        check_outputs({"--markdown": markdown_output}, as_json=json_output)
        given = _given_machine(cores, memory, files, proxy_sources)
        series_given = (_listed(sizes), _listed(rates), _listed(workers))
        if target_cmd is not None:
            changed = {"count": sizes, "rate": rates}
            runs = runs_of(_flags(words, target_cmd, changed), *series_given)
            folder = output or default_folder("scaling")
            failed = _make(runs, repeats, folder, _maker(quiet=quiet))
            folders = [folder]
        else:
            _refuse_runs(words, any(series_given))
            folders = [Path(it) for it in words]
        series, left_out = read_series(folders)
        spec = given(series) if series else MachineSpec(1, 0, 0, 0, 0, 0)
        report = report_on(series, (*left_out, *failed), asked, spec, limit)
    except SeriesError as error:
        sys.stderr.write(f"swarmgate: {printable(str(error))}\n")
        is_few = isinstance(error, TooFewError)
        raise typer.Exit(ExitStatus.INVALID if is_few else ExitStatus.USAGE) from None
    except (LoadTestError, RecordError) as error:
        raise loadtests_cli.fail(error) from None
    outcome = outcome_of_scaling(report)
    _print_report(report, outcome, markdown_output, as_json=json_output)
    raise typer.Exit(outcome.status)


def _count(option: str, text: str) -> int:
    count = parsed(option, text, parse_count)
    if count < 1:
        raise UsageError(f"{option} is {text}; it must be 1 or more")
    return count


def _listed(text: str | None) -> list[str]:
    return [it.strip() for it in text.split(",") if it.strip()] if text else []


def _refuse_runs(words: Sequence[str], has_sizes: bool) -> None:
    """Refuse what only makes sense with runs to make: it would be ignored."""
    if flag := next((it for it in words if it.startswith("-")), None):
        raise UsageError(f"No such option: {flag} (flags of runs go with --target-cmd)")
    if has_sizes:
        raise UsageError("--sizes, --rates and --workers are for runs to make: give --target-cmd")


def _flags(words: Sequence[str], target_cmd: str, changed: Mapping[str, str | None]) -> Given:
    """Read the flags of every run.

    Raises:
        UsageError: they cannot be read, or one is not for a run of a series, or the series itself
            changes it.
    """
    given = read_words([*words, "--target-cmd", target_cmd])
    for name in ("file", "output", "dry_run", *(name for name, sizes in changed.items() if sizes)):
        if name in given:
            raise UsageError(f"{flag_of(name)} is not for the runs of this series; leave it out")
    return given


def _given_machine(
    cores: int | None, memory: str | None, files: str | None, proxy_sources: int
) -> Callable[[Sequence[Series]], MachineSpec]:
    """Read what was given about a machine; the rest is taken from the records."""
    memory_bytes = None if memory is None else parsed("--memory", memory, parse_bytes)
    most_files = None if files is None else _count("--files", files)
    if memory_bytes is not None and memory_bytes < 1:
        raise UsageError(f"--memory is {memory}; it must be 1 or more")

    def of_records(series: Sequence[Series]) -> MachineSpec:
        header = series[0].header
        limits = header.limits
        ports = limits.get("port_high", 60_999) - limits.get("port_low", 32_768) + 1
        return MachineSpec(
            cores=cores or header.machine.cores,
            memory_bytes=memory_bytes or header.machine.memory_bytes,
            files=max((most_files or limits.get("files_hard", 0)) - SPARE_FILES, 0),
            files_machine=max(limits.get("files_machine", 0), most_files or 0),
            tcp_memory_bytes=limits.get("tcp_memory_bytes", 0),
            ports=int(ports * USABLE_PORT_SHARE),
            proxy_sources=proxy_sources,
        )

    return of_records


def _make(
    runs: Sequence[ScalingRun], repeats: int, folder: Path, make: Make
) -> tuple[LeftOut, ...]:
    """Make the runs, and return those that could not be made; if interrupted, the records stay."""
    for run in runs:
        checked(plan_of_run(run.given, ScenarioFile()))
    if any(folder.glob("*")):
        raise UsageError(f"--output {folder} is not empty; name another folder")
    made = make_all(runs, repeats, folder, make)
    if made.interrupted:
        sys.stderr.write(f"swarmgate: interrupted; the records so far are in {folder}\n")
        raise typer.Exit(ExitStatus.INTERRUPTED)
    return made.failed


def _maker(*, quiet: bool) -> Make:
    console = Console(stderr=True)

    def make(title: str, given: Given, path: Path) -> Summary:
        plan = plan_of_run(given, ScenarioFile())
        source = source_of(given)
        with live_view(console, title, quiet=quiet) as observe:
            return asyncio.run(execute(plan, source, path, observe))

    return make


def _print_report(report: Report, outcome: Outcome, file: str | None, *, as_json: bool) -> None:
    line = printable(outcome.line)
    if file is not None:
        try:
            write_whole(file, markdown(report, line), ())
        except RecordError as error:
            raise loadtests_cli.fail(error) from None
    if file == "-":
        return
    if as_json:
        sys.stdout.write(json.dumps(document_of(report, outcome), indent=2) + "\n")
        return
    width = result_console(REPORT_WIDTH).width
    sys.stdout.write(f"{line}\n{terminal_text(report, width)}{line}\n")
