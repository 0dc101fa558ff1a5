"""The commands of this room: ``run`` puts one load on one server, ``doctor`` tells the limits."""

import asyncio
import json
import random
import shlex
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, TypeVar

import typer
from rich.console import Console

from loadtests import limits
from loadtests.errors import LoadTestError, UsageError
from loadtests.plan import Plan
from loadtests.run import default_record_path, execute
from loadtests.scenarios import SCENARIOS
from loadtests.schedule import ArrivalKind
from loadtests.target import TargetSource, split_command
from reports.exit_status import ExitStatus
from reports.record import RecordError
from reports.summary import Summary
from reports.terminal import live_view, summary_text
from reports.units import parse_bytes, parse_count, parse_rate, parse_seconds

app = typer.Typer()

Read = TypeVar("Read")


def _read(option: str, text: str, parse: Callable[[str], Read]) -> Read:
    """Read a value with its unit; an error names the option."""
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def fail(error: Exception) -> typer.Exit:
    """Print an error's one line and give the exit that goes with its kind."""
    sys.stderr.write(f"swarmgate: {error}\n")
    usage = isinstance(error, UsageError | RecordError)
    return typer.Exit(ExitStatus.USAGE if usage else ExitStatus.INVALID)


def status_of(summary: Summary) -> ExitStatus:
    """Give the exit status of one run: validity first, then whether anything went wrong."""
    if summary.interrupted:
        return ExitStatus.INTERRUPTED
    if not summary.valid:
        return ExitStatus.INVALID
    faults = summary.figures["errors"] + sum(
        summary.figures.get(f"integrity.{name}", 0)
        for name in ("lost", "duplicated", "reordered", "corrupted")
    )
    return ExitStatus.FAILED if faults else ExitStatus.HELD


@app.command()
def run(
    url: Annotated[
        str,
        typer.Argument(help="ws:// or wss:// address; {n} in it is the connection's number."),
    ],
    count: Annotated[str, typer.Argument(help="Connections, such as 10k.")] = "100",
    *,
    scenario: Annotated[str, typer.Option(help=f"One of: {', '.join(SCENARIOS)}.")] = "hold",
    concurrent: Annotated[
        str, typer.Option("--concurrent", "-c", metavar="K", help="Handshakes under way at once.")
    ] = "256",
    duration: Annotated[
        str, typer.Option("--duration", "-d", metavar="TIME", help="Measured time.")
    ] = "10s",
    rate: Annotated[
        str | None,
        typer.Option(
            "--rate",
            "-r",
            metavar="N",
            help="Messages a second over all connections (open model). "
            "Without it, echo sends the next after the reply (closed model).",
        ),
    ] = None,
    arrivals: Annotated[
        ArrivalKind, typer.Option(help="How arrivals are spaced.")
    ] = ArrivalKind.CONSTANT,
    payload: Annotated[str, typer.Option(metavar="SIZE", help="Size of a message.")] = "64B",
    binary: Annotated[bool, typer.Option("--binary", help="Send binary, not text.")] = False,
    ramp: Annotated[
        str, typer.Option(metavar="TIME", help="Spread the opening over this long.")
    ] = "0s",
    steps: Annotated[
        int, typer.Option(help="Open in so many steps, reading memory at each: 4 give a slope.")
    ] = 1,
    processes: Annotated[
        int | None,
        typer.Option("--processes", "-p", help="Swarm processes. [default: as few as fit]"),
    ] = None,
    pid: Annotated[
        list[int] | None,
        typer.Option(help="Watch this process. [default: what listens on the port here]"),
    ] = None,
    target_cmd: Annotated[
        str | None, typer.Option(help="Start the server with this, {port} where its port goes.")
    ] = None,
    param: Annotated[
        list[str] | None, typer.Option(metavar="KEY=VALUE", help="A parameter of the scenario.")
    ] = None,
    timeout: Annotated[
        str, typer.Option(metavar="TIME", help="How long one handshake may take.")
    ] = "10s",
    insecure: Annotated[bool, typer.Option("--insecure", help="Accept any certificate.")] = False,
    seed: Annotated[
        int | None, typer.Option(help="Seed of every random choice. [default: drawn]")
    ] = None,
    output: Annotated[
        Path | None,
        typer.Option("--output", "-o", help="The record. [default: under reports/runs/]"),
    ] = None,
    json_output: Annotated[
        bool, typer.Option("--json", help="Print one JSON document and nothing else.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show nothing meanwhile.")] = False,
) -> None:
    """Put a load on a WebSocket server, ours or not, and tell what it did."""
    try:
        connections = _read("COUNT", count, parse_count)
        plan = Plan(
            url=url,
            connections=connections,
            scenario=scenario,
            parameters=_parameters(param or []),
            concurrent=_read("--concurrent", concurrent, parse_count),
            duration_seconds=_read("--duration", duration, parse_seconds),
            rate=None if rate is None else _read("--rate", rate, parse_rate),
            arrivals=arrivals,
            payload_bytes=_read("--payload", payload, parse_bytes),
            binary=binary,
            ramp_seconds=_read("--ramp", ramp, parse_seconds),
            steps=steps,
            handshake_timeout_seconds=_read("--timeout", timeout, parse_seconds),
            processes=processes or limits.processes_for(connections, limits.read_limits()),
            insecure=insecure,
            seed=random.getrandbits(32) if seed is None else seed,
        )
        command = split_command(target_cmd) if target_cmd else ()
        path = output or default_record_path(plan)
        with live_view(Console(stderr=True), quiet=quiet) as observe:
            summary = asyncio.run(
                execute(plan, TargetSource(command, tuple(pid or ())), path, observe)
            )
    except (LoadTestError, RecordError) as error:
        raise fail(error) from None
    sys.stdout.write(_as_json(summary, path) if json_output else _as_text(summary, path))
    raise typer.Exit(status_of(summary))


def _parameters(given: Sequence[str]) -> dict[str, str]:
    parameters = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"--param takes KEY=VALUE, not {item!r}")
        parameters[key] = value
    return parameters


def _as_text(summary: Summary, path: Path) -> str:
    again = shlex.join(summary.header.command)
    return f"{summary_text(summary)}\nRecord: {path}\nAgain:  {again}\n"


def _as_json(summary: Summary, path: Path) -> str:
    document = {
        "valid": summary.valid,
        "reasons": summary.reasons,
        "warnings": summary.warnings,
        "interrupted": summary.interrupted,
        "figures": summary.figures,
        "errors": summary.errors,
        "close_codes": summary.close_codes,
        "record": str(path),
    }
    return json.dumps(document, indent=2) + "\n"


@app.command()
def doctor(
    *,
    json_output: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Tell which limits of this machine will bite, and the command that lifts each."""
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
