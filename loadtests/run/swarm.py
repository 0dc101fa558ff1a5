"""One swarm process: open its share of the connections, run its part of the scenario, and report.

It runs as ``python -m loadtests.run.swarm``, started by ``fleet.py``. Its plan is the first line
on standard input and commands are the lines after it (:mod:`loadtests.run.commands`); it writes
lines of a run record to standard output. It ends when standard input does, so it cannot outlive its
fleet.
"""

import asyncio
import gc
import logging
import os
import resource
import sys
import traceback
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import perf_counter_ns
from typing import TYPE_CHECKING, BinaryIO, Final, cast

import uvloop

from loadtests.clients import picows_client
from loadtests.clients.dial import Dialer
from loadtests.clients.pool import ConnectionPool
from loadtests.clients.setup import setup_of
from loadtests.measure.generator_health import GeneratorHealth
from loadtests.measure.load_window import LoadWindow
from loadtests.measure.recorder import Recorder
from loadtests.plan.feed import read_feed
from loadtests.plan.plan import ProcessPlan
from loadtests.run.child_process import ignore_ctrl_c
from loadtests.run.commands import (
    Add,
    Close,
    Collect,
    Command,
    End,
    ExpectEnd,
    Measure,
    Open,
    Prepare,
    Remove,
    Return,
    SeeOff,
    Serve,
    Settle,
    TakePart,
    decode_command,
)
from loadtests.run.live_connections import LiveConnections
from loadtests.scenarios.registry import make_scenario
from loadtests.scenarios.scenario import Published
from reports.printable import printable
from reports.record import Event, Line, encode_line

if TYPE_CHECKING:
    from loadtests.scenarios.drain import Drain

_FOLD_SECONDS: Final = 0.02
_INTERVAL_SECONDS: Final = 1.0
_POLL_SECONDS: Final = 0.02
# What arrives beyond the last expected message, such as a duplicate of it, comes within this time.
_QUIET_SECONDS: Final = 0.2
_CLOSE_SECONDS: Final = 10.0
# A setup may create accounts or rooms; one that hangs is reported before the user gives up.
_SETUP_SECONDS: Final = 60.0
# Collections of the oldest generation walk every connection; while they open, most find nothing.
_GC_THRESHOLD: Final = 50_000


class Swarm:
    """The connections of one process and what is done with them, one command at a time."""

    def __init__(self, share: ProcessPlan, output: asyncio.StreamWriter) -> None:
        self._share = share
        # Its number in the run; in a round it may have another one among those that take part.
        self._process = share.process_of_run
        self._output = output
        self._phase = "start"
        self._recorder = Recorder(
            self._process,
            share.origin_ns,
            share.plan.payload_bytes,
            share.plan.late_seconds,
        )
        self._scenario = make_scenario(share, self._recorder)
        self._rows = read_feed(Path(share.plan.feed)) if share.plan.feed else ()
        self._dialer = Dialer(share, self._recorder, self._rows)
        self._setup = setup_of(share.plan)
        self._pool = ConnectionPool(
            share,
            self._scenario,
            self._dialer,
            self._recorder,
            self._report_event,
            setup=self._setup,
        )
        self._live = LiveConnections(share, self._pool, self._scenario, self._recorder)
        self._load = LoadWindow(0, 0)
        self._reported_population = (0, 0, 0)

    async def run(self, commands: asyncio.StreamReader) -> None:
        """Carry out commands until one closes the process, or until there are no more."""
        watch = GeneratorHealth(asyncio.get_running_loop(), self._recorder)
        # A failure in a task of the group ends this process, and the fleet learns of it.
        async with asyncio.TaskGroup() as tasks:
            ticking = tasks.create_task(self._tick())
            keeping = tasks.create_task(self._live.run())
            beginning = tasks.create_task(self._begin())
            obeying: asyncio.Task[None] | None = None
            while text := await commands.readline():
                command = decode_command(text)
                if self._obey_beside(command):
                    continue
                if obeying is not None:
                    # A command ends the previous one: close may come at any moment.
                    obeying.cancel()
                    await asyncio.wait((obeying,))
                    obeying = None
                match command:
                    case Serve(share, number):
                        self._begin_round(share, number)
                        self._report_event("serving", seed=self._share.plan.seed)
                        continue
                    case Measure(start_ns):
                        # Set here, because the next command may end it.
                        length_ns = round(self._share.plan.duration_seconds * 1e9)
                        self._load = LoadWindow(start_ns, start_ns + length_ns)
                        self._recorder.load_ns = start_ns
                    case Close():
                        # What is being opened now would be left open.
                        keeping.cancel()
                        beginning.cancel()
                        await asyncio.wait((keeping, beginning))
                        await self._obey(command)
                        break
                obeying = tasks.create_task(self._obey(command))
            else:
                # The fleet is gone; there is nobody to close for.
                os._exit(1)
            ticking.cancel()
        watch.close()
        self._report_faults()
        self._write(self._recorder.take(self._phase))
        if self._share.plan.live:
            self._report_event("negotiated", outcomes=dict(self._dialer.negotiated))
        self._report_event("closed")
        await self._output.drain()

    async def _begin(self) -> None:
        """Do what is done once, while commands are already being read."""
        async with asyncio.timeout(_SETUP_SECONDS) as patience:
            try:
                await self._setup.begin()
            except asyncio.CancelledError:
                if patience.expired():
                    raise TimeoutError(f"setup took longer than {_SETUP_SECONDS:.0f} s") from None
                raise
        if self._rows:
            self._report_event("feed", rows=len(self._rows))
        self._report_event("ready")

    async def _obey(self, command: Command) -> None:
        self._enter(command.do)
        match command:
            case Open(until):
                await self._pool.open_planned(until)
                self._report_event("negotiated", outcomes=dict(self._dialer.negotiated))
                self._dialer.negotiated.clear()
                self._report_event(
                    "opened", open=self._recorder.open, attempted=self._pool.attempted
                )
            case Settle(is_last):
                # Now, while nothing is timed: a collection that walks every connection takes tens
                # of milliseconds. Once frozen, they are not walked again.
                gc.collect()
                gc.freeze()
                if is_last:
                    self._scenario.prepare(self._pool)
                self._report_event("settled")
            case Measure():
                published = await self._measure()
                # So that what the fleet reads now is not up to a second old.
                self._write(self._recorder.take(self._phase))
                self._report_event("measured", published=published)
            case ExpectEnd():
                self._report_event("expecting", open=cast("Drain", self._scenario).expect_end())
            case SeeOff(signal_ns):
                drain = cast("Drain", self._scenario)
                published = await drain.see_off(signal_ns)
                self._report_event("drained", published=published)
            case Return(restarted_ns):
                await cast("Drain", self._scenario).come_back(restarted_ns)
                self._report_event("returned")
            case Collect(published):
                await self._collect(published)
                self._report_event("collected")
            case Close(over_seconds):
                await self._close(over_seconds)

    async def _measure(self) -> Published:
        """Apply the load, while connections come and go by the stages of the plan, if any."""
        measuring = self._scenario.measure(self._pool, self._load)
        if (stages := self._share.plan.population) is None:
            return await measuring
        own = stages.part(self._share.plan.processes, self._share.process)
        seed = self._share.plan.seed + self._share.process
        following = asyncio.create_task(self._live.follow(own, self._load.start_ns, seed))
        try:
            return await measuring
        finally:
            following.cancel()
            self._recorder.counts["connections.overdue"] += self._live.overdue
            self._live.stop()

    def _obey_beside(self, command: Command) -> bool:
        """Carry out a command that does not end the previous one; return whether it was one."""
        match command:
            case Add(count, over_seconds, order):
                self._live.add(count, over_seconds, order)
            case Remove(count, order):
                self._live.remove(count, order)
            case TakePart(part):
                self._scenario.live_part = part
            case End():
                if self._share.plan.live and self._share.plan.population is None:
                    self._recorder.counts["connections.overdue"] += self._live.overdue
                self._load.cut()
            case _:
                return False
        return True

    def _begin_round(self, share: ProcessPlan, number: int) -> None:
        """Begin a round of a live load: a new scenario on the connections that are open now."""
        # What is still to be reported belongs to the round before.
        self._write(self._recorder.take(self._phase))
        self._recorder.round_number = number
        self._share = share
        self._scenario = make_scenario(share, self._recorder)
        self._pool.serve(self._scenario)
        self._scenario.prepare(self._pool)
        self._live.scenario = self._scenario

    def _enter(self, phase: str) -> None:
        """Begin a phase with a new interval, so that no interval spans two phases."""
        self._write(self._recorder.take(self._phase))
        self._phase = phase

    async def _collect(self, published: Published) -> None:
        """Wait for what is still under way, but not forever; then close the ledger."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self._share.plan.collect_seconds):
                await _until(lambda: not self._scenario.outstanding(published))
                await asyncio.sleep(_QUIET_SECONDS)
        self._scenario.account(published)

    async def _close(self, over_seconds: float) -> None:
        """End every connection with a closing handshake, or without one if it is slow."""
        await self._pool.close_all(over_seconds)
        with suppress(TimeoutError):
            async with asyncio.timeout(_CLOSE_SECONDS):
                await _until(lambda: not self._recorder.open)
        self._pool.abort_all()

    async def _tick(self) -> None:
        """Fold durations often, and report an interval every second."""
        reported_ns = perf_counter_ns()
        while True:
            await asyncio.sleep(_FOLD_SECONDS)
            self._recorder.fold()
            self._report_faults()
            self._report_population()
            if perf_counter_ns() - reported_ns >= _INTERVAL_SECONDS * 1e9:
                reported_ns = perf_counter_ns()
                self._write(self._recorder.take(self._phase))

    def _report_faults(self) -> None:
        """Report what a scenario's code raised, once for each kind."""
        for kind, trace in self._recorder.unreported_faults.items():
            self._report_event("script_error", kind=kind, traceback=trace)
        self._recorder.unreported_faults.clear()

    def _report_population(self) -> None:
        """Report the number of connections when it has changed; only for a live load."""
        if not self._share.plan.live or self._share.plan.population is not None:
            return
        live = self._live
        now = (live.staying, live.pending + self._scenario.away, live.order)
        if now != self._reported_population:
            if self._reported_population[1] and not now[1] and not self._scenario.replaces:
                # All have arrived, to stay: a collection need not walk them again.
                gc.freeze()
            self._reported_population = now
            self._report_event("population", open=now[0], pending=now[1], order=now[2])

    def _report_event(self, name: str, **detail: object) -> None:
        t_ns = perf_counter_ns() - self._share.origin_ns
        self._write(Event(t_ns=t_ns, name=name, detail={"process": self._process, **detail}))

    def _write(self, line: Line) -> None:
        self._output.write(encode_line(line))


async def _until(holds: Callable[[], bool]) -> None:
    """Poll a condition: an event for each message or close would cost the hot path more."""
    while not holds():  # noqa: ASYNC110
        await asyncio.sleep(_POLL_SECONDS)


async def _main() -> None:
    loop = asyncio.get_running_loop()
    picows_client.count_alone(loop)
    inward, outward = _own_pipes()
    commands = asyncio.StreamReader(limit=2**24)
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), inward)
    transport, protocol = await loop.connect_write_pipe(asyncio.streams.FlowControlMixin, outward)
    output = asyncio.StreamWriter(transport, protocol, None, loop)
    if not (line := await commands.readline()):
        # Its leader is gone, or has no load for it.
        return
    first = decode_command(line)
    assert isinstance(first, Prepare)
    await Swarm(first.share, output).run(commands)


def _own_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Reserve standard input and output for the commands and the record.

    A script then reads nothing, and what it prints goes to standard error, which the fleet shows.
    """
    inward, outward = os.fdopen(os.dup(0), "rb"), os.fdopen(os.dup(1), "wb")
    with open(os.devnull, "rb") as nothing:  # noqa: PTH123 - a file for its descriptor
        os.dup2(nothing.fileno(), 0)
    os.dup2(2, 1)
    return inward, outward


def _last_words(error: BaseException) -> str:
    """Return in one line why a process dies: the first error, if there is a group of them."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    *_, place = traceback.extract_tb(error.__traceback__) or [None]
    where = "" if place is None else f" ({Path(place.filename).name}, line {place.lineno})"
    return printable(f"{type(error).__name__}: {error}{where}")


def main() -> None:
    """Run one swarm process to its end."""
    # The fleet decides what to do about it.
    ignore_ctrl_c()
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    gc.set_threshold(_GC_THRESHOLD, 20, 100)
    # The client libraries log what is counted here; a line for each of 10,000 connections helps
    # nobody.
    for library in (picows_client.__name__, "websockets"):
        logging.getLogger(library).setLevel(logging.CRITICAL + 1)
    try:
        uvloop.run(_main())
    except Exception as error:  # noqa: BLE001 - the last line reports any error to the fleet
        traceback.print_exception(error)
        sys.stderr.write(f"{_last_words(error)}\n")
        sys.exit(1)


if __name__ == "__main__":
    main()
