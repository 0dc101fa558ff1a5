"""The command ``capacity``: search for the largest load that still meets an objective."""

import json
import sys
import time
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Annotated, Final
from urllib.parse import urlsplit, urlunsplit

import typer
from rich.console import Console

from benchmarks.capacity.load import MOST_RATE, Load, Searched, check_searched, most_connections
from benchmarks.capacity.objective import objective_of
from benchmarks.capacity.result_text import (
    SearchResult,
    condition_heads,
    document,
    limit_line,
    notes,
    rows,
    run_line,
    search_result,
    sentence,
)
from benchmarks.capacity.searching import Made, Search, prepare, resumed, search
from benchmarks.command_options import check_outputs, parsed
from benchmarks.judging.capacity import Ending, Span
from benchmarks.runs.making import InterruptedRunError
from benchmarks.runs.targets import Target, base_of
from benchmarks.runs.workload import Case, Workload
from loadtests import cli as loadtests_cli
from loadtests.errors import LoadTestError, UsageError
from loadtests.plan import limits
from loadtests.plan.command_line import takes_options
from loadtests.plan.from_options import source_of, url_of
from loadtests.plan.output import Output
from loadtests.plan.plan import Plan
from loadtests.plan.run_options import OPTIONS, Given, values_of
from loadtests.plan.scenario_file import ScenarioFile, file_of
from loadtests.run.help import RunCommand
from loadtests.run.run import checked, default_folder
from reports.outcome import ExitStatus
from reports.printable import printable
from reports.record import RecordError
from reports.tables.capacity_table import loads_markdown, loads_table
from reports.terminal import live_view, result_console
from reports.units import format_seconds, parse_count, parse_rate, parse_ratio, parse_seconds
from reports.whole_file import write_whole

# Columns of a table that goes to a file or a pipe, unless COLUMNS sets the number.
_WIDTH: Final = 100
_MOST_PRECISE: Final = 0.01
_MOST_REPEATS: Final = 15
_FIRST: Final = {Searched.CONNECTIONS: "100", Searched.RATE: "10"}

app = typer.Typer()
_option = partial(typer.Option, rich_help_panel="Search")


@dataclass(frozen=True, slots=True)
class _Asked:
    """The search, where its records go, and how much may be spent on it."""

    search: Search
    folder: Path
    before: tuple[Made, ...]
    budget: str
    most: str


@app.command(cls=RunCommand)
@takes_options
def capacity(
    given: Given,
    *,
    searched: Annotated[
        Searched,
        _option("--search", help="What to search for; the flags set the rest of the load."),
    ] = Searched.CONNECTIONS,
    low: Annotated[
        str | None,
        _option(
            "--from",
            metavar="N",
            help="First load to try; otherwise 100 connections, or 10 a second.",
        ),
    ] = None,
    high: Annotated[
        str | None,
        _option(
            "--to",
            metavar="N",
            help="Largest load to try; otherwise the most that this machine allows.",
        ),
    ] = None,
    objective: Annotated[
        list[str] | None,
        _option(
            metavar="'FIGURE<=VALUE'",
            help="What a load has to meet to count as held, besides no errors and no losses; "
            "otherwise 99 % of replies or deliveries within 50 ms (repeatable).",
        ),
    ] = None,
    repeats: Annotated[
        int,
        _option(
            metavar="N", min=1, max=_MOST_REPEATS, help="Runs of each load; the majority decides."
        ),
    ] = 3,
    precision: Annotated[
        str,
        _option(
            metavar="SHARE", help="How close the load that breaks must be to the one that holds."
        ),
    ] = "5%",
    budget: Annotated[
        str, _option(metavar="TIME", help="Start no run that would end later than this.")
    ] = "10m",
    resume: Annotated[
        Path | None,
        _option(metavar="FOLDER", help="Continue a search that ended early, from its records."),
    ] = None,
    markdown: Annotated[
        str | None, _option(metavar="FILE", help="Write the result as Markdown; - prints it.")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="Folder of records; otherwise a new one under reports/runs/.",
            rich_help_panel="This run",
        ),
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option(
            "--dry-run", help="Print what would be searched for.", rich_help_panel="This run"
        ),
    ] = False,
) -> None:
    """Search for the largest load that a server holds; each load has its own runs.

    The load doubles until it breaks; the range in between is then halved. It is applied as by run.
    """
    try:
        file = file_of(given)
        shown = Output(**values_of({**file.given, **given}, Output))
        check_outputs({"--markdown": markdown}, as_json=shown.json)
        load = _load(given, file, searched)
        span, most = _span(load, low, high, parsed("--precision", precision, parse_ratio))
        span = replace(span, repeats=repeats)
        plan = checked(load.at(span.low).plan())
        texts = (*(objective or ()), *plan.thresholds)
        wanted = Search(load, span, objective_of(texts, plan))
        _check_budget(plan, span, budget)
        if dry_run:
            sys.stdout.write(_described(wanted, plan, most, budget))
            return
        asked = _prepared(wanted, resume, output or shown.output, budget, most)
    except (LoadTestError, RecordError) as error:
        raise loadtests_cli.fail(error) from None
    result, status = _searched(asked, quiet=shown.quiet)
    _report(result, asked.folder, markdown, as_json=shown.json)
    raise typer.Exit(status)


def _load(given: Given, file: ScenarioFile, searched: Searched) -> Load:
    """Make the load from the options. Raises UsageError."""
    every = {**file.given, **given}
    scenario = every.get("scenario", OPTIONS["scenario"].default)
    check_searched(searched, every, scenario, has_count="count" in given)
    url = url_of(every)
    parts = urlsplit(url)
    content = ScenarioFile(every, file.parameters, file.users)
    path = urlunsplit(("", "", parts.path, parts.query, parts.fragment))
    target = Target("target", source_of(every), base_of(url))
    return Load(Case(target, Workload(path, content)), searched)


def _span(load: Load, low: str | None, high: str | None, precision: float) -> tuple[Span, str]:
    """Return the span to search, and why it goes no further. Raises UsageError."""
    if not _MOST_PRECISE <= precision <= 1:
        raise UsageError(f"--precision {100 * precision:g}%: it must be from 1% to 100%")
    read = parse_count if load.is_whole else parse_rate
    first = parsed("--from", low or _FIRST[load.searched], read)
    last = None if high is None else parsed("--to", high, read)
    if first <= 0:
        raise UsageError(f"--from {low}: the first load must be above 0")
    if last is not None and last <= first:
        raise UsageError(
            f"--from {load.formatted(first)} --to {load.formatted(last)}: there is nothing in "
            "between to search; give a larger --to"
        )
    most, why = float(MOST_RATE), "no --to was given"
    if load.is_whole:
        most, why = most_connections(
            load.at(first).plan(),
            limits.read_limits(),
            has_processes="processes" in load.case.workload.content.given,
        )
        why = f"{why} of this machine allows {most:,}"
    if last is not None and last <= most:
        most, why = last, f"--to {load.formatted(last)}"
    if most <= first:
        raise UsageError(f"--from {load.formatted(first)}: nothing to search, {why}")
    return Span(first, most, precision, is_whole=load.is_whole), why


def _seconds_of(plan: Plan) -> float:
    """Return the least time that one run takes, without the start of the server."""
    return sum(
        (
            plan.duration_seconds,
            plan.warmup_seconds,
            plan.ramp_seconds,
            plan.ramp_down_seconds,
            plan.settle_seconds * plan.steps,
        )
    )


def _check_budget(plan: Plan, span: Span, budget: str) -> None:
    seconds = parsed("--budget", budget, parse_seconds)
    each = _seconds_of(plan)
    if seconds < (needed := each * span.majority):
        raise UsageError(
            f"--budget {budget} is too short for one load: {span.majority} runs of "
            f"{format_seconds(each)} or more take {format_seconds(needed)}; give more, or shorten "
            "--duration"
        )


def _described(asked: Search, plan: Plan, most: str, budget: str) -> str:
    span, load, each = asked.span, asked.load, format_seconds(_seconds_of(plan))
    low, high = load.formatted(span.low), load.formatted(span.high)
    lines = {
        "search": f"{load.unit}, {low} to {high} ({most})",
        "objective": ", ".join(map(str, asked.objective)),
        "runs": f"up to {span.repeats} of each load, {each} or more each",
        "until": f"what breaks is within {span.precision:.3g} of what holds, or after {budget}",
    }
    return "".join(f"{name:<9}  {text}\n" for name, text in lines.items())


def _prepared(
    wanted: Search, resume: Path | None, output: Path | None, budget: str, most: str
) -> _Asked:
    """Return a search with its folder. Raises UsageError or RecordError."""
    if resume is not None:
        if output is not None:
            raise UsageError(
                "--resume and --output: a search continues in its own folder; leave --output out"
            )
        return _Asked(wanted, resume, resumed(wanted, resume), budget, most)
    folder = output or default_folder("capacity")
    prepare(wanted, folder)
    return _Asked(wanted, folder, (), budget, most)


def _searched(asked: _Asked, *, quiet: bool) -> tuple[SearchResult, ExitStatus]:
    """Make the runs, reporting each as it ends; return their result."""
    made = list(asked.before)
    console = Console(stderr=True)
    interruption = ""
    try:
        for each in search(
            asked.search,
            asked.folder,
            asked.before,
            # In a log, one line for each run is enough.
            lambda title: live_view(console, title, quiet=quiet or not console.is_terminal),
            budget_seconds=parse_seconds(asked.budget),
            clock=time.monotonic,
        ):
            made.append(each)
            if not quiet:
                sys.stderr.write(f"{printable(run_line(asked.search, each))}\n")
    except (InterruptedRunError, KeyboardInterrupt):
        interruption = "Interrupted"
    except RecordError as error:
        raise loadtests_cli.fail(error) from None
    why = interruption or f"Not found within the budget of {asked.budget}"
    result = search_result(asked.search, made, most=asked.most, unfinished=why)
    return result, ExitStatus.INTERRUPTED if interruption else result.status


def _report(result: SearchResult, folder: Path, markdown: str | None, *, as_json: bool) -> None:
    """Print what was found, and save it next to its records."""
    found = json.dumps(document(result, str(folder)), indent=2) + "\n"
    try:
        write_whole(str(folder / "capacity.json"), found, ())
        if markdown is not None:
            write_whole(markdown, _as_markdown(result), ())
    except RecordError as error:
        raise loadtests_cli.fail(error) from None
    if as_json:
        sys.stdout.write(found)
    elif markdown != "-":
        _print(result, folder)


def _as_markdown(result: SearchResult) -> str:
    table = loads_markdown(result.asked.load.unit, condition_heads(result), rows(result))
    after = "".join(f"\n{note}\n" for note in notes(result))
    given = "\n\n".join(filter(None, (sentence(result), limit_line(result))))
    return f"{given}\n\n{table}{after}"


def _print(result: SearchResult, folder: Path) -> None:
    console = result_console(_WIDTH)

    def print_line(line: str) -> None:
        console.print(printable(line), soft_wrap=not console.is_terminal)

    for line in filter(None, (sentence(result), limit_line(result))):
        print_line(line)
    if result.made:
        console.print(loads_table(result.asked.load.unit, condition_heads(result), rows(result)))
    for note in notes(result):
        print_line(note)
    print_line(f"Records: {folder}")
    if result.answer.ending is Ending.UNFINISHED:
        print_line(f"Resume:  the same command with --resume {folder}")
