"""Commands of this package: ``run`` puts one load on one server, ``doctor`` prints the limits."""

import asyncio
import json
import shlex
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from loadtests.errors import LoadTestError, UsageError
from loadtests.plan import limits
from loadtests.plan.command_line import takes_options
from loadtests.plan.from_options import source_of
from loadtests.plan.output import Output
from loadtests.plan.plan import Endpoint, Plan, split_url
from loadtests.plan.run_options import Given, values_of
from loadtests.plan.scenario_file import file_of
from loadtests.plan.user_kinds import plan_of_run
from loadtests.run.dry_run import plan_document, plan_rows
from loadtests.run.help import RunCommand, parameter_lines
from loadtests.run.run import checked, default_record_path, execute
from loadtests.scenarios.registry import SCENARIOS, scenario_kind
from reports.outcome import ExitStatus, Outcome
from reports.printable import printable
from reports.record import RecordCutError, RecordError
from reports.run_outcome import outcome_of, run_document
from reports.summary import Summary
from reports.terminal import live_view, summary_text

app = typer.Typer()


def fail(error: Exception) -> typer.Exit:
    """Print an error's one-line message and return the exit for its kind."""
    sys.stderr.write(f"swarmgate: {error}\n")
    usage = isinstance(error, UsageError | RecordError) and not isinstance(error, RecordCutError)
    return typer.Exit(ExitStatus.USAGE if usage else ExitStatus.INVALID)


def _run(given: Given) -> None:
    """Put a load on a WebSocket server, ours or not, and report what it did."""
    try:
        file = file_of(given)
        every = {**file.given, **given}
        output = Output(**values_of(every, Output))
        plan, source = plan_of_run(given, file), source_of(every)
        if output.dry_run:
            sys.stdout.write(_dry_run(plan, as_json=output.json))
            return
        path = output.output or default_record_path(plan)
        with live_view(Console(stderr=True), quiet=output.quiet) as observe:
            summary = asyncio.run(execute(plan, source, path, observe))
    except (LoadTestError, RecordError) as error:
        raise fail(error) from None
    outcome = outcome_of(summary)
    if output.json:
        sys.stdout.write(json.dumps(run_document(path, summary, outcome), indent=2) + "\n")
    else:
        sys.stdout.write(_as_text(summary, outcome, path))
    raise typer.Exit(outcome.status)


app.command("run", cls=RunCommand)(
    takes_options(_run, completions={"scenario": lambda: [*SCENARIOS]})
)


def _dry_run(plan: Plan, *, as_json: bool) -> str:
    plan = checked(plan)
    if as_json:
        return json.dumps(plan_document(plan), indent=2, default=str) + "\n"
    in_force = limits.read_limits()
    endpoint = Endpoint(split_url(plan.url.replace("{port}", "1")).hostname or "", 1)
    sources = limits.sources_for(plan.connections, endpoint, in_force, plan.options)
    rows = list(plan_rows(plan, sources, in_force))
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name:<{width}}  {text}\n" for name, text in rows)


def _as_text(summary: Summary, outcome: Outcome, path: Path) -> str:
    again = shlex.join(summary.header.command)
    text = f"{summary_text(summary)}\nRecord: {path}\nAgain:  {again}\n"
    return f"{text}{printable(outcome.line)}\n"


@app.command()
def scenarios(
    name: Annotated[str | None, typer.Argument(help="A scenario, or a Python file.")] = None,
) -> None:
    """Print what each scenario does, and the parameters that --param sets."""
    console = Console(highlight=False)
    try:
        kinds = SCENARIOS if name is None else {name: scenario_kind(name)}
    except LoadTestError as error:
        raise fail(error) from None
    for known, kind in kinds.items():
        console.print("\n".join(parameter_lines(known, kind)), markup=False, soft_wrap=True)


@app.command()
def doctor(
    *,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Print the limits of this machine that a load can hit, and the command that lifts each."""
    findings = limits.diagnose(limits.read_limits())
    if json_output:
        sys.stdout.write(json.dumps([asdict(finding) for finding in findings], indent=2) + "\n")
        return
    console = Console(soft_wrap=True, highlight=False)
    for finding in findings:
        fits = "" if finding.fits is None else f", enough for {finding.fits:,} connections"
        console.print(f"[bold]{finding.name}[/] = {finding.value}{fits}")
        console.print(f"    bounds   {finding.meaning}")
        console.print(f"    lift it  {finding.remedy}")
