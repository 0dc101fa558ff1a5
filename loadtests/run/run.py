"""One run from plan to record: find or start the target, lead the fleet, keep every line."""

import asyncio
import os
import signal
import uuid
from asyncio.subprocess import Process
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import (
    AbstractAsyncContextManager,
    AsyncExitStack,
    asynccontextmanager,
    contextmanager,
)
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter_ns
from typing import Any
from urllib.parse import urlsplit

from loadtests.clients.answers import parse_answers
from loadtests.clients.ready import parse_steps, texts_of
from loadtests.clients.setup import setup_of
from loadtests.errors import UsageError
from loadtests.plan import limits
from loadtests.plan.connect_options import check_files as check_options
from loadtests.plan.feed import FeedPolicy, read_feed
from loadtests.plan.masking import masked, masked_source
from loadtests.plan.payload import read_payloads
from loadtests.plan.plan import Endpoint, Plan, port_of, split_url
from loadtests.plan.replay import replay_command
from loadtests.plan.target_source import TargetSource
from loadtests.plan.template import fill, saved_names
from loadtests.run import probe
from loadtests.run.fleet import Fleet
from loadtests.run.header import run_header
from loadtests.run.swarm_processes import swarm_processes
from loadtests.run.target import resolve, running
from loadtests.run.target_shutdown import TargetShutdown
from loadtests.scenarios.drain import DrainParameters
from loadtests.scenarios.figures import against_figure_of, check_measures
from loadtests.scenarios.registry import SCENARIOS, check_scenario, parse_parameters, scenario_kind
from loadtests.scenarios.scenario import Scenario
from reports.record import (
    RECORD_SUFFIX,
    Line,
    RecordCutError,
    RecordWriter,
    Target,
    encode_line,
)
from reports.summary import Summary, Totals
from reports.threshold import parse_threshold

DEFAULT_FOLDER = Path("reports/runs")


@dataclass(frozen=True, slots=True)
class _Found:
    command: tuple[str, ...]
    pids: tuple[int, ...]
    port: int | None = None
    exit_status: Callable[[], int | None] | None = None
    how_it_ended: Callable[[], str] | None = None
    restart: Callable[[], Awaitable[int]] | None = None


def default_record_path(plan: Plan, folder: Path = DEFAULT_FOLDER) -> Path:
    """Name a record after its time, scenario and size."""
    stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S")
    unique = uuid.uuid4().hex[:4]
    scenario = Path(plan.scenario).stem
    return folder / f"{stamp}-{scenario}-{plan.connections}-{unique}{RECORD_SUFFIX}"


def default_folder(command: str) -> Path:
    """Name a folder of records after the command that makes them, and its time."""
    return DEFAULT_FOLDER / datetime.now(UTC).strftime(f"{command}-%Y%m%dT%H%M%S")


async def execute(
    plan: Plan,
    source: TargetSource,
    path: Path,
    observe: Callable[[Line], None],
) -> Summary:
    """Perform one run and write its record.

    SIGINT or SIGTERM ends the run early, its record complete up to then.

    Args:
        plan: what to do; ``{port}`` in its URL is filled in when ``source`` starts the target.
        source: the server under test.
        path: the record to write; it must not exist.
        observe: called with every line as it is written, for a live view.

    Raises:
        LoadTestError: the run cannot be made at all; nothing was recorded.
        RecordError: the record cannot be written, or can no longer be written.
    """
    plan = checked(plan)
    for pid in source.pids:
        if not probe.is_alive(pid):
            raise UsageError(f"--pid {pid}: there is no such process; name the server's")
    with _writer(path) as writer:
        async with _swarm(plan) as processes, _target(plan, source, path) as found:
            command = replay_command(masked(plan), masked_source(source))
            plan = _addressed(plan, found.port)
            with _interruption() as interrupted:
                if plan.warmup_seconds:
                    await _warm_up(plan, found, interrupted)
                try:
                    return await _record(
                        plan,
                        found,
                        writer,
                        observe,
                        processes=processes,
                        command=command,
                        interrupted=interrupted,
                    )
                except* RecordCutError as group:
                    cut = _first(group)
            raise cut


def _first(error: BaseException) -> BaseException:
    """Return the first of several simultaneous errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def checked(plan: Plan) -> Plan:
    """Fill in the scenario's defaults; reject what no process could run.

    Raises:
        LoadTestError: the plan cannot be run; the message says why.
    """
    _check_figures(plan)
    limits.check_files(plan.connections, plan.processes, limits.read_limits())
    if not plan.users:
        return _checked_part(plan)
    users = []
    for user in plan.users:
        try:
            if scenario_kind(user.plan.scenario).stops_target:
                raise UsageError(
                    f"{user.plan.scenario} stops the server for all users; run it alone"
                )
            users.append(replace(user, plan=_checked_part(user.plan)))
        except UsageError as error:
            raise UsageError(f"user {user.name}: {error}") from None
    return replace(plan, users=tuple(users))


def _checked_part(plan: Plan) -> Plan:
    """Check the plan of one kind of users."""
    check_options(plan.options)
    plan = replace(plan, ready=plan.ready or scenario_kind(plan.scenario).ready)
    try:
        steps = parse_steps(plan.ready)
    except ValueError as error:
        raise UsageError(f"--ready: {error}") from None
    try:
        parse_answers(plan.answers)
    except ValueError as error:
        raise UsageError(f"--answer: {error}") from None
    check_measures(plan)
    check_scenario(plan)
    if plan.population is not None and not _takes_stages(scenario_kind(plan.scenario)):
        joining = ", ".join(name for name, kind in SCENARIOS.items() if _takes_stages(kind))
        raise UsageError(
            f"{plan.scenario} needs all its connections from the start; stages are for {joining} "
            "and scripts"
        )
    if setup_of(plan).is_empty and plan.setup is not None:
        raise UsageError(f"--setup {plan.setup} has neither setup nor handshake as an async def")
    if plan.payload_file is not None:
        read_payloads(Path(plan.payload_file), binary=plan.binary)
    rows = read_feed(Path(plan.feed)) if plan.feed is not None else ()
    plan = _with_rows(plan, len(rows))
    # A row that lacks a value would make a swarm process fail in the middle of the opening.
    for row in rows or (None,):
        fill(plan.url, 0, row)
        tuple(plan.options.request_headers(0, row))
        for step in steps:
            for text in texts_of(step):
                fill(text, 0, row, dict.fromkeys(saved_names(text), ""))
    return replace(plan, rate=plan.rate or scenario_kind(plan.scenario).default_rate)


def _takes_stages(kind: type[Scenario[Any]]) -> bool:
    return kind.joins or kind.takes_stages


def _with_rows(plan: Plan, rows: int) -> Plan:
    """Limit the plan to the rows of the feed, if none of them may be given twice."""
    if plan.feed is None or plan.feed_policy is FeedPolicy.CYCLE:
        return plan
    if plan.live:
        raise UsageError(
            f"--feed-policy {plan.feed_policy}: when connections come and go, a new one reuses the "
            "number, and so the row, of one that has left; leave it out"
        )
    if rows >= plan.connections:
        return plan
    if plan.feed_policy is FeedPolicy.ONCE:
        raise UsageError(
            f"--feed-policy once: {plan.feed} has {rows:,} rows for {plan.connections:,} "
            "connections; use at most that many connections, or another policy"
        )
    return replace(plan, connections=rows, processes=min(plan.processes, rows))


def _check_figures(plan: Plan) -> None:
    """Reject a threshold on a figure that never exists; a script may have any."""
    for flag, texts in (("--threshold", plan.thresholds), ("--abort-on", plan.abort_on)):
        for text in texts:
            if complaint := against_figure_of(plan, parse_threshold(text).figure):
                raise UsageError(f"{flag} {text!r}: {complaint}")


@contextmanager
def _writer(path: Path) -> Iterator[RecordWriter]:
    """Open the record; do not leave an empty one behind."""
    with RecordWriter(path) as writer:
        try:
            yield writer
        finally:
            if path.stat().st_size == 0:
                path.unlink()


@asynccontextmanager
async def _target(plan: Plan, source: TargetSource, path: Path) -> AsyncIterator[_Found]:
    if source.command:
        log = path.with_name(path.name.removesuffix(RECORD_SUFFIX) + ".target.log")
        async with AsyncExitStack() as targets:
            target = await targets.enter_async_context(running(source, log))

            async def restart() -> int:
                again = running(source, log, target.port)
                return (await targets.enter_async_context(again)).pid

            yield _Found(
                target.command,
                (target.pid,),
                target.port,
                target.exit_status,
                target.how_it_ended,
                restart,
            )
    else:
        if "{port}" in plan.url:
            raise UsageError(f"{plan.url!r} has a {{port}}, which only --target-cmd fills in")
        host = split_url(plan.url).hostname or ""
        pids = source.pids
        if not pids and (host == "localhost" or host.startswith("127.") or host == "::1"):
            pids = probe.listener_roots(port_of(plan.url))
        yield _Found((), pids)


def _swarm(plan: Plan) -> AbstractAsyncContextManager[tuple[Process, ...]]:
    """Start the plan's swarm processes, which import what they need while the target starts."""
    return swarm_processes(sum(part.processes for part in plan.parts))


async def _record(
    plan: Plan,
    found: _Found,
    writer: RecordWriter,
    observe: Callable[[Line], None],
    *,
    processes: tuple[Process, ...],
    command: tuple[str, ...],
    interrupted: asyncio.Event,
) -> Summary:
    in_force = limits.read_limits()
    endpoint = await _endpoint(plan)
    sources = limits.sources_for(plan.connections, endpoint, in_force, plan.options)
    totals = Totals()

    def emit(line: Line, text: bytes = b"") -> None:
        writer.write_encoded(text or encode_line(line))
        totals.add(line)
        observe(line)

    origin_ns = perf_counter_ns()
    masked_plan = masked(plan)
    target = Target(masked_plan.url, str(endpoint), found.command, found.pids)
    emit(run_header(masked_plan, target, in_force, command))
    fleet = Fleet(
        plan,
        endpoint,
        sources,
        emit,
        totals,
        processes=processes,
        server_pids=found.pids,
        how_target_ended=found.how_it_ended,
        origin_ns=origin_ns,
        shutdown=_shutdown(plan, found, endpoint),
    )
    emit(await fleet.run(interrupted))
    return totals.summary()


async def _warm_up(plan: Plan, found: _Found, interrupted: asyncio.Event) -> None:
    """Apply the load to the target for the duration of the warm-up, and discard its results."""
    plan = _as_warmup(plan, plan.warmup_seconds)
    endpoint = await _endpoint(plan)
    sources = limits.sources_for(plan.connections, endpoint, limits.read_limits(), plan.options)
    totals = Totals()
    async with _swarm(plan) as processes:
        fleet = Fleet(
            plan,
            endpoint,
            sources,
            lambda line, _text=b"": totals.add(line),
            totals,
            processes=processes,
            server_pids=found.pids,
            how_target_ended=found.how_it_ended,
            origin_ns=perf_counter_ns(),
        )
        await fleet.run(interrupted)


def _as_warmup(plan: Plan, seconds: float) -> Plan:
    """Return the load at its usual pace, without stages of any kind, and with nothing judged."""
    return replace(
        plan,
        duration_seconds=seconds,
        profile=None,
        population=None,
        live=False,
        steps=1,
        thresholds=(),
        abort_on=(),
        fail_fast=False,
        users=tuple(replace(it, plan=_as_warmup(it.plan, seconds)) for it in plan.users),
    )


def _addressed(plan: Plan, port: int | None) -> Plan:
    """Fill in the port of a target that was started, and what a scenario adds to an address."""
    url = plan.url if port is None else plan.url.replace("{port}", str(port))
    if plan.users:
        users = (replace(user, plan=_addressed(user.plan, port)) for user in plan.users)
        return replace(plan, url=url, users=tuple(users))
    parameters = parse_parameters(plan.scenario, plan.parameters)
    return replace(plan, url=scenario_kind(plan.scenario).address(url, parameters))


async def _endpoint(plan: Plan) -> Endpoint:
    if plan.options.unix_socket is not None:
        return Endpoint(plan.options.unix_socket, 0)
    if plan.options.proxy is not None:
        proxy = urlsplit(plan.options.proxy)
        default = 443 if proxy.scheme == "https" else 80
        return await resolve(proxy.hostname or "", proxy.port or default)
    return await resolve(split_url(plan.url).hostname or "", port_of(plan.url))


def _shutdown(plan: Plan, found: _Found, endpoint: Endpoint) -> TargetShutdown | None:
    if plan.users:
        return None
    parameters = parse_parameters(plan.scenario, plan.parameters)
    if not isinstance(parameters, DrainParameters):
        return None
    if len(found.pids) != 1 or os.getpid() in found.pids:
        known = ", ".join(map(str, found.pids)) or "none"
        raise UsageError(
            f"the drain scenario needs the one process to signal, found {known}; name it with "
            "--pid, or let the run start the server with --target-cmd"
        )
    if parameters.restart and found.restart is None:
        raise UsageError(
            "the drain scenario can only restart a target that it started; use --target-cmd"
        )
    return TargetShutdown(
        pid=found.pids[0],
        url=plan.url,
        endpoint=endpoint,
        signum=signal.Signals[f"SIG{parameters.signal}"],
        within_seconds=parameters.within,
        expected_status=parameters.exit_status,
        exit_status=found.exit_status,
        restart=found.restart if parameters.restart else None,
    )


@contextmanager
def _interruption() -> Iterator[asyncio.Event]:
    """Turn the first SIGINT or SIGTERM into an event; a second one acts as usual."""
    loop = asyncio.get_running_loop()
    interrupted = asyncio.Event()
    watched = (signal.SIGINT, signal.SIGTERM)

    def on_signal() -> None:
        interrupted.set()
        stop_watching()

    def stop_watching() -> None:
        for number in watched:
            loop.remove_signal_handler(number)

    for number in watched:
        loop.add_signal_handler(number, on_signal)
    try:
        yield interrupted
    finally:
        stop_watching()
