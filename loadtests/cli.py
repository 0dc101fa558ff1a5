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
from loadtests.bounds import Bounds, parse_bounds
from loadtests.distribution import DistributionKind, parse_distribution
from loadtests.dry_run import plan_document, plan_rows
from loadtests.errors import LoadTestError, UsageError
from loadtests.feed import FeedPolicy
from loadtests.help import RunCommand, parameter_lines
from loadtests.options import Client, ConnectOptions
from loadtests.plan import Endpoint, Plan, split_url
from loadtests.rate_profile import Profile, parse_profile
from loadtests.run import checked, default_record_path, execute
from loadtests.scenarios import SCENARIOS, parse_parameters, scenario_kind
from loadtests.schedule import ArrivalKind
from loadtests.stages import are_stages, parse_stages
from loadtests.target import TargetSource, split_command
from reports.exit_status import ExitStatus
from reports.outcome import Outcome, outcome_of, run_document
from reports.printable import printable
from reports.record import RecordCutError, RecordError
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
    usage = isinstance(error, UsageError | RecordError) and not isinstance(error, RecordCutError)
    return typer.Exit(ExitStatus.USAGE if usage else ExitStatus.INVALID)


@app.command(cls=RunCommand)
def run(
    ctx: typer.Context,
    url: Annotated[
        str,
        typer.Argument(help="ws:// or wss:// address; {n} in it is the connection's number."),
    ],
    count: Annotated[
        str,
        typer.Argument(
            help="Connections, such as 10k; or stages: '0..2k in 30s, 2k for 1m, 500 in 5s'."
        ),
    ] = "100",
    *,
    scenario: Annotated[
        str,
        typer.Option(
            "--scenario",
            "-s",
            help=f"One of {', '.join(SCENARIOS)}, or a Python file; "
            "with --help after it, its parameters are told too.",
        ),
    ] = "hold",
    concurrent: Annotated[
        str, typer.Option("--concurrent", "-c", metavar="K", help="Handshakes under way at once.")
    ] = "256",
    file: Annotated[  # noqa: ARG001 - RunCommand has read it by now
        Path | None,
        typer.Option("--file", "-f", help="TOML with any of these by name; flags go before it."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Tell what it comes to, and open nothing.")
    ] = False,
    duration: Annotated[
        str | None,
        typer.Option("--duration", "-d", metavar="TIME", help="Measured time. [default: 10s]"),
    ] = None,
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
    per_connection: Annotated[
        bool, typer.Option("--per-connection", help="The rate is of each connection.")
    ] = False,
    profile: Annotated[
        str | None,
        typer.Option(help="A rate that changes: '0..1k/s for 10s, 1k/s for 30s, 5k/s for 2s'."),
    ] = None,
    think: Annotated[
        str | None,
        typer.Option(help="Closed model: time from reply to next, '1s', 'exp 1s', 'uniform …'."),
    ] = None,
    arrivals: Annotated[
        ArrivalKind, typer.Option(help="How arrivals are spaced.")
    ] = ArrivalKind.CONSTANT,
    payload: Annotated[
        str,
        typer.Option(
            metavar="SIZE", help="Of a message; or 'uniform 64B..4KiB', '64B 70%, 4KiB 30%', …."
        ),
    ] = "64B",
    payload_file: Annotated[
        str | None, typer.Option(metavar="FILE", help="Fill messages with its lines.")
    ] = None,
    binary: Annotated[bool, typer.Option("--binary", help="Send binary, not text.")] = False,
    ramp: Annotated[
        str, typer.Option(metavar="TIME", help="Spread the opening over this long.")
    ] = "0s",
    ramp_down: Annotated[
        str, typer.Option(metavar="TIME", help="Spread the closing over this long.")
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
    setup: Annotated[
        Path | None,
        typer.Option(
            help="Python file with setup(), called once in each process, and handshake(client), "
            "called for each connection, such as for a login. [default: a script's own]"
        ),
    ] = None,
    feed: Annotated[
        Path | None,
        typer.Option(help="CSV or JSON lines: a row of data for each connection of a script."),
    ] = None,
    feed_policy: Annotated[
        FeedPolicy,
        typer.Option(help="For connections beyond its rows: begin again, open none, or refuse."),
    ] = FeedPolicy.CYCLE,
    ready: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'SEND => EXPECT'",
            help="Before a connection counts as open: send this, wait for an answer with that in "
            "it (either may be left out). May be repeated.",
        ),
    ] = None,
    answer: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'MESSAGE => ANSWER'",
            help="Whenever the server says just that, such as a ping of its protocol's own, answer "
            "it. May be repeated.",
        ),
    ] = None,
    late: Annotated[
        str, typer.Option(metavar="TIME", help="A reply that takes longer is counted as late.")
    ] = "1s",
    fail_fast: Annotated[
        bool, typer.Option("--fail-fast", help="End at the first error of a script.")
    ] = False,
    threshold: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'FIGURE<=VALUE'",
            help="What a figure must be, else the exit status is 1: 'latency.p99_seconds<=20ms'. "
            "May be repeated.",
        ),
    ] = None,
    abort_on: Annotated[
        list[str] | None,
        typer.Option(
            metavar="'FIGURE>VALUE'",
            help="End the run as failed once a figure is that: 'errors>100'. Looked at once a "
            "second. May be repeated.",
        ),
    ] = None,
    bound: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=VALUE",
            help="What the generator must keep to, else the run is invalid: "
            "'lateness_p99_seconds=20ms' (docs/figures.md). May be repeated.",
        ),
    ] = None,
    timeout: Annotated[
        str, typer.Option(metavar="TIME", help="How long one handshake may take.")
    ] = "10s",
    reply_timeout: Annotated[
        str,
        typer.Option(
            metavar="TIME", help="Closed model: how long a reply is waited for before going on."
        ),
    ] = "10s",
    header: Annotated[
        list[str] | None,
        typer.Option("--header", "-H", metavar="'NAME: VALUE'", help="Add to the handshake."),
    ] = None,
    subprotocol: Annotated[list[str] | None, typer.Option(help="Offer, best first.")] = None,
    cookie: Annotated[list[str] | None, typer.Option(metavar="NAME=VALUE", help="Send.")] = None,
    bearer: Annotated[
        str | None,
        typer.Option(metavar="TOKEN", help="Authorization; {n} and {feed.NAME} are filled in."),
    ] = None,
    origin: Annotated[str | None, typer.Option(help="The Origin header.")] = None,
    deflate: Annotated[
        bool, typer.Option("--deflate/--no-deflate", help="Offer permessage-deflate.")
    ] = False,
    ca: Annotated[str | None, typer.Option(metavar="FILE", help="Trust these only.")] = None,
    cert: Annotated[str | None, typer.Option(metavar="FILE", help="Client certificate.")] = None,
    key: Annotated[str | None, typer.Option(metavar="FILE", help="Its key.")] = None,
    insecure: Annotated[bool, typer.Option("--insecure", help="Accept any certificate.")] = False,
    source: Annotated[
        list[str] | None,
        typer.Option(metavar="ADDRESS", help="Connect from it; 127.0.0.0/28 is all of them."),
    ] = None,
    unix_socket: Annotated[
        str | None, typer.Option(metavar="PATH", help="Connect to it, not to the host.")
    ] = None,
    proxy: Annotated[
        str | None, typer.Option(metavar="URL", help="Connect through it (HTTP CONNECT).")
    ] = None,
    max_message: Annotated[
        str,
        typer.Option(metavar="SIZE", help="Of a message of the server's; else closed with 1009."),
    ] = "16MiB",
    client: Annotated[
        Client, typer.Option(help="Library; auto is picows unless something needs the other.")
    ] = Client.AUTO,
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
        stages = _read("COUNT", count, parse_stages) if are_stages(count) else None
        if stages is not None and duration is not None:
            raise UsageError("stages say how long they last; leave --duration out")
        connections = _read("COUNT", count, parse_count) if stages is None else stages.most
        changing = None if profile is None else _read("--profile", profile, parse_profile)
        if changing is not None and (rate is not None or duration is not None):
            raise UsageError("--profile says rate and duration; leave --rate and --duration out")
        sizes = _read("--payload", payload, lambda text: parse_distribution(text, parse_bytes))
        is_fixed = len(sizes.numbers) == 1 and sizes.kind is DistributionKind.CHOICE
        plan = Plan(
            url=url,
            connections=connections,
            scenario=scenario,
            parameters={**ctx.meta.get("parameters", {}), **_parameters(param or [])},
            concurrent=_read("--concurrent", concurrent, parse_count),
            duration_seconds=changing.seconds
            if changing
            else stages.seconds
            if stages
            else _read("--duration", duration or "10s", parse_seconds),
            population=stages,
            live=stages is not None,
            rate=_rate(rate, changing),
            per_connection=per_connection,
            profile=changing,
            think=None
            if think is None
            else _read("--think", think, lambda text: parse_distribution(text, parse_seconds)),
            arrivals=arrivals,
            payload_bytes=round(sizes.numbers[0]) if is_fixed else 64,
            payload_sizes=None if is_fixed else sizes,
            payload_file=payload_file,
            binary=binary,
            ramp_seconds=_read("--ramp", ramp, parse_seconds),
            ramp_down_seconds=_read("--ramp-down", ramp_down, parse_seconds),
            steps=steps,
            setup=None if setup is None else str(setup),
            feed=None if feed is None else str(feed),
            feed_policy=feed_policy,
            late_seconds=_read("--late", late, parse_seconds),
            fail_fast=fail_fast,
            thresholds=tuple(threshold or ()),
            abort_on=tuple(abort_on or ()),
            bounds=_bounds(bound or ()),
            ready=tuple(ready or ()),
            answers=tuple(answer or ()),
            handshake_timeout_seconds=_read("--timeout", timeout, parse_seconds),
            reply_timeout_seconds=_read("--reply-timeout", reply_timeout, parse_seconds),
            processes=processes or limits.processes_for(connections, limits.read_limits()),
            options=ConnectOptions(
                headers=tuple(header or ()),
                subprotocols=tuple(subprotocol or ()),
                cookies=tuple(cookie or ()),
                bearer=bearer,
                origin=origin,
                deflate=deflate,
                ca=ca,
                cert=cert,
                key=key,
                insecure=insecure,
                sources=tuple(source or ()),
                unix_socket=unix_socket,
                proxy=proxy,
                max_message_bytes=_read("--max-message", max_message, parse_bytes),
                client=client,
            ),
            seed=random.getrandbits(32) if seed is None else seed,
        )
        if dry_run:
            sys.stdout.write(_dry_run(plan, as_json=json_output))
            return
        command = split_command(target_cmd) if target_cmd else ()
        path = output or default_record_path(plan)
        with live_view(Console(stderr=True), quiet=quiet) as observe:
            summary = asyncio.run(
                execute(plan, TargetSource(command, tuple(pid or ())), path, observe)
            )
    except (LoadTestError, RecordError) as error:
        raise fail(error) from None
    outcome = outcome_of(summary)
    if json_output:
        sys.stdout.write(json.dumps(run_document(path, summary, outcome), indent=2) + "\n")
    else:
        sys.stdout.write(_as_text(summary, outcome, path))
    raise typer.Exit(outcome.status)


def _rate(text: str | None, profile: Profile | None) -> float | None:
    if profile is not None:
        return profile.arrivals / profile.seconds
    return None if text is None else _read("--rate", text, parse_rate)


def _bounds(texts: Sequence[str]) -> Bounds:
    try:
        return parse_bounds(texts)
    except ValueError as error:
        raise UsageError(f"--bound: {error}") from None


def _dry_run(plan: Plan, *, as_json: bool) -> str:
    plan = checked(plan)
    parameters = parse_parameters(plan.scenario, plan.parameters)
    if as_json:
        return json.dumps(plan_document(plan, parameters), indent=2, default=str) + "\n"
    in_force = limits.read_limits()
    endpoint = Endpoint(split_url(plan.url.replace("{port}", "1")).hostname or "", 1)
    sources = limits.sources_for(plan.connections, endpoint, in_force, plan.options)
    rows = list(plan_rows(plan, parameters, sources, in_force))
    width = max(len(name) for name, _ in rows)
    return "".join(f"{name:<{width}}  {text}\n" for name, text in rows)


def _parameters(given: Sequence[str]) -> dict[str, str]:
    parameters = {}
    for item in given:
        key, equals, value = item.partition("=")
        if not equals or not key:
            raise UsageError(f"--param takes KEY=VALUE, not {item!r}")
        parameters[key] = value
    return parameters


def _as_text(summary: Summary, outcome: Outcome, path: Path) -> str:
    again = shlex.join(summary.header.command)
    text = f"{summary_text(summary)}\nRecord: {path}\nAgain:  {again}\n"
    return f"{text}{printable(outcome.line)}\n"


@app.command()
def scenarios(
    name: Annotated[str | None, typer.Argument(help="One of them, or a Python file.")] = None,
) -> None:
    """Tell what each scenario does, and the parameters that --param sets."""
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
