"""All swarm processes of one run: led through the phases together, and recorded.

:mod:`loadtests.run.controller` decides which commands are sent to whom and when, each swarm process
(:mod:`loadtests.run.swarm`) carries them out, and this module transports them.
"""

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from time import perf_counter_ns
from typing import Final, Protocol

from loadtests.plan.plan import Endpoint, Plan, processes_of
from loadtests.run import probe
from loadtests.run.child_process import MOST_SILENT_SECONDS
from loadtests.run.commands import Prepare, encode_command
from loadtests.run.controller import (
    Action,
    CloseLedger,
    Controller,
    Depart,
    Enter,
    Flow,
    Hold,
    Moment,
    Patience,
    Read,
    Restart,
    Send,
    Signal,
    Synchronise,
    Wait,
)
from loadtests.run.roster import Member
from loadtests.run.swarm_processes import end
from loadtests.run.target_shutdown import TargetEnd, TargetShutdown
from loadtests.run.validity import footer_of
from loadtests.scenarios.registry import scenario_kind
from reports.printable import printable
from reports.record import Event, Footer, Interval, Line, Sample, decode_line
from reports.summary import Totals
from reports.threshold import holds, parse_threshold
from reports.units import format_figure

_SAMPLE_SECONDS: Final = 1.0
_PATIENCE: Final = Patience(lead_ns=50_000_000, end_seconds=5.0)
# How many printed lines of a process are shown and recorded.
_MOST_PRINTED: Final = 1_000


class Emit(Protocol):
    """Takes every line of a record, in the order they were made."""

    def __call__(self, line: Line, text: bytes = b"") -> None:
        """Take a line; ``text`` is the line as a swarm process has encoded it already."""


@dataclass(slots=True)
class _Child:
    """One swarm process running here.

    Attributes:
        silent: how many seconds in a row it has reported nothing.
        last_words: the last line that it printed.
    """

    process: asyncio.subprocess.Process
    member: Member
    silent: int = 0
    last_words: str = ""


class Fleet:
    """The swarm processes of one run, and their leader."""

    def __init__(
        self,
        plan: Plan,
        endpoint: Endpoint,
        sources: tuple[str, ...],
        emit: Emit,
        totals: Totals,
        *,
        processes: Sequence[asyncio.subprocess.Process],
        server_pids: Sequence[int],
        how_target_ended: Callable[[], str] | None,
        origin_ns: int,
        shutdown: TargetShutdown | None = None,
    ) -> None:
        """Prepare; nothing is sent before :meth:`run`.

        Args:
            plan: the run.
            endpoint: where to connect.
            sources: source addresses to spread connections over.
            emit: called with every line of the record, in the order they were made.
            totals: the sum of the lines emitted so far, kept by their receiver.
            processes: the swarm processes, one for each share of the plan.
            server_pids: roots of the process trees to watch, none if they are not known.
            how_target_ended: returns how a target that has ended did so; None if we did not start
                it.
            origin_ns: CLOCK_MONOTONIC time that the record counts from.
            shutdown: how to stop the target after the load, if at all.
        """
        self._plan = plan
        self._shares = processes_of(plan, endpoint, sources, origin_ns)
        members = (
            Member(number, f"swarm process {number}", share)
            for number, share in enumerate(self._shares)
        )
        self._children = [_Child(*each) for each in zip(processes, members, strict=True)]
        self._emit = emit
        self._totals = totals
        self._server_pids = tuple(server_pids)
        self._server = probe.ProcessTrees(server_pids)
        self._how_target_ended = how_target_ended
        self._origin_ns = origin_ns
        self._shutdown = shutdown
        kinds = [scenario_kind(share.plan.scenario) for share in self._shares]
        self._may_be_away = any(it.comes_back for it in kinds)
        self._may_be_dead = all(it.comes_back for it in kinds)
        # Processes that always have some connection open, unless the target ends them all.
        self._staying = [number for number, it in enumerate(kinds) if not it.replaces]
        self._controller = Controller(plan, perf_counter_ns, _PATIENCE)
        self._is_departing = False
        self._seeing_off: asyncio.Task[TargetEnd] | None = None
        self._abort_on = tuple(map(parse_threshold, plan.abort_on))
        # Failures of the target or a script.
        self._failures: list[str] = []
        self._wakeup = asyncio.Event()
        self._was_interrupted = False

    async def run(self, interrupted: asyncio.Event) -> Footer:
        """Lead the run to its end, however it ends, and return its footer.

        Args:
            interrupted: set when the user wants the run to end now.
        """
        async with asyncio.TaskGroup() as tasks:
            return await self._lead(tasks, interrupted)

    async def _lead(self, tasks: asyncio.TaskGroup, interrupted: asyncio.Event) -> Footer:
        """Lead the run to its end, and return its footer."""
        beside = [tasks.create_task(it) for it in (self._watch(), self._end_on(interrupted))]
        self._start(tasks)
        shutdown = self._shutdown
        drain_seconds = None if shutdown is None else shutdown.within_seconds
        await self._carry(self._controller.fixed(self._has_opened, drain_seconds))
        # What is reported from here on belongs to the closing.
        losses, failures = tuple(self._controller.losses), tuple(self._failures)
        was_interrupted = self._was_interrupted
        await self._carry(self._controller.close(self._plan.ramp_down_seconds))
        for child in self._children:
            await end(child.process)
        for task in (*beside, *filter(None, [self._seeing_off])):
            task.cancel()
        return footer_of(
            self._plan,
            self._totals,
            self._now_ns(),
            losses=losses,
            failures=failures,
            was_interrupted=was_interrupted,
        )

    async def _end_on(self, interrupted: asyncio.Event) -> None:
        """End the load when the user wants that, unless it is already ending."""
        await interrupted.wait()
        if not self._controller.is_ending:
            self._was_interrupted = True
            self._end_now()

    def _end_now(self) -> None:
        """End the load with its ledger; before the load there is nothing to keep."""
        self._controller.is_ending = True
        self._wakeup.set()

    def _has_opened(self) -> bool:
        return bool(self._totals.counts["opened"])

    def _start(self, tasks: asyncio.TaskGroup) -> None:
        for child in self._children:
            self._controller.roster.add(child.member)
            self._write(child, encode_command(Prepare(child.member.share)))
            tasks.create_task(self._listen(child))
            tasks.create_task(self._read_printed(child))

    async def _carry(self, flow: Flow) -> None:
        """Carry out the controller's actions in order, and send it the result of each."""
        result = None
        while True:
            try:
                action = flow.send(result)
            except StopIteration:
                return
            result = await self._do(action)

    async def _do(self, action: Action) -> object:
        match action:
            case Send(member, command):
                self._write(self._children[member.process], encode_command(command))
            case Wait(holds_now, seconds):
                await self._wait(holds_now, seconds)
            case Enter(phase, detail):
                self._is_departing |= phase == "drain"
                self._emit(Event(self._now_ns(), "phase", {"phase": phase, **detail}))
            case Read(mark):
                self._read_all(mark)
            case CloseLedger():
                self._totals.settle_deliveries()
            case Signal(connected):
                return self._signal(connected)
            case Depart():
                return await self._depart()
            case Restart():
                return await self._restart()
            case Moment() | Hold() | Synchronise():
                raise AssertionError(f"{action} belongs to a live load, which Locust leads")
        return None

    async def _wait(self, holds_now: Callable[[], bool], seconds: float | None) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while not holds_now():
                    self._wakeup.clear()
                    await self._wakeup.wait()

    def _signal(self, connected: int) -> int:
        """Ask the target to stop; return when."""
        shutdown = self._shutdown
        assert shutdown is not None
        tree = shutdown.processes()
        signal_ns = shutdown.send()
        detail = {
            "signal": shutdown.signum.name,
            "pid": shutdown.pid,
            "processes": len(tree),
            "connected": connected,
        }
        self._emit(Event(signal_ns - self._origin_ns, "signal", detail))
        self._seeing_off = asyncio.create_task(shutdown.watch(signal_ns, tree))
        return signal_ns

    async def _depart(self) -> bool:
        """Wait for the target to end; return whether to start it again."""
        shutdown, watching = self._shutdown, self._seeing_off
        assert shutdown is not None
        assert watching is not None
        outcome = await watching
        detail = outcome.detail(shutdown.errors(outcome))
        self._emit(Event(self._now_ns(), "departed", detail))
        return shutdown.restart is not None and outcome.exit_ns is not None

    async def _restart(self) -> int:
        """Start the target again; return when it was back."""
        assert self._shutdown is not None
        assert self._shutdown.restart is not None
        pid = await self._shutdown.restart()
        restarted_ns = perf_counter_ns()
        self._server_pids = (pid,)
        self._server = probe.ProcessTrees((pid,))
        self._emit(Event(restarted_ns - self._origin_ns, "restarted", {"pid": pid}))
        return restarted_ns

    def _write(self, child: _Child, line: bytes) -> None:
        assert child.process.stdin is not None
        # One that has just ended is handled as lost when its end is read.
        with suppress(ConnectionError):
            child.process.stdin.write(line)

    async def _listen(self, child: _Child) -> None:
        """Take what one process reports until it has nothing more to report."""
        assert child.process.stdout is not None
        async for text in child.process.stdout:
            child.silent = 0
            if not text.endswith(b"\n"):
                # It was killed in the middle of a line.
                break
            line = decode_line(text)
            if line is not None:
                self._emit(line, text)
            if isinstance(line, Event):
                self._receive(child.member, line)
            if isinstance(line, Interval):
                self._notice_loss_of_all()
        if "closed" not in child.member.reports and self._totals.phase != "close":
            await self._lose(child)
        else:
            await child.process.wait()
            child.member.has_ended = True
        self._wakeup.set()

    def _receive(self, member: Member, event: Event) -> None:
        member.receive(event.name, event.detail)
        if event.name == "script_error" and self._plan.fail_fast:
            self._fail(f"a script failed, and --fail-fast was given: {event.detail['kind']}")
        self._wakeup.set()

    async def _lose(self, child: _Child) -> None:
        """Continue without a process that ended in the middle of the run, and mark the run."""
        status, number = await child.process.wait(), child.member.process
        connections = self._totals.open_by_process.get(number, 0)
        detail = {"process": number, "status": status, "connections": connections}
        self._emit(Event(self._now_ns(), "process_lost", detail))
        is_any_left = self._controller.lose(
            child.member,
            how=f"ended in the middle of the run with status {status}",
            why=child.last_words,
            connections=connections,
        )
        if not is_any_left:
            self._end_for("no swarm process is left")

    async def _read_printed(self, child: _Child) -> None:
        """Show what a process and its script print; the last line gives why it died."""
        assert child.process.stderr is not None
        lines, number = 0, child.member.process
        async for text in child.process.stderr:
            printed = printable(text.decode(errors="replace").rstrip())
            child.last_words = printed or child.last_words
            lines += 1
            if lines > _MOST_PRINTED:
                continue
            if lines == _MOST_PRINTED:
                printed = f"it has printed {lines:,} lines; further lines are not shown"
            self._emit(Event(self._now_ns(), "printed", {"process": number, "text": printed}))

    async def _watch(self) -> None:
        """Read server, swarm and kernel once a second, and notice if the target ends."""
        while True:
            await asyncio.sleep(_SAMPLE_SECONDS)
            # Adding up a large process's pages keeps its memory map locked for milliseconds, which
            # would show in a latency being measured.
            self._read_all("", thorough=self._totals.phase != "measure")
            self._end_the_silent()
            self._look_for_abort()
            self._notice_death()

    def _notice_death(self) -> None:
        """End the run early if the target's process has ended."""
        if self._may_be_dead or self._is_departing:
            return
        dead = [pid for pid in self._server_pids if not probe.is_alive(pid)]
        if dead:
            how = "" if self._how_target_ended is None else f": {self._how_target_ended()}"
            self._fail(f"the target died in the middle of the run (process {dead[0]}){how}")

    def _end_the_silent(self) -> None:
        """End processes that hang: each reports every second, whatever it is doing.

        Checks are counted, not time: if everything was stopped, every process gets new time.
        """
        for child in self._children:
            child.silent += 1
            if child.silent > MOST_SILENT_SECONDS and child.process.returncode is None:
                child.last_words = f"it reported nothing for {MOST_SILENT_SECONDS} s and was ended"
                child.process.kill()

    def _notice_loss_of_all(self) -> None:
        if self._may_be_away or not self._staying or self._plan.population is not None:
            return
        there = sum(self._totals.open_by_process.get(number, 0) for number in self._staying)
        if self._totals.phase == "measure" and not there:
            # Of a target that died all connections end as well; that it died says more.
            self._notice_death()
            codes = ", ".join(str(code) for code in sorted(self._totals.close_codes))
            which = (
                "" if len(self._staying) == len(self._shares) else " that should have stayed open"
            )
            self._fail(
                f"the target ended every connection{which} in the middle of the run "
                f"(close codes {codes})"
            )

    def _look_for_abort(self) -> None:
        if not self._abort_on:
            return
        asked = {part for it in self._abort_on for part in it.figure.split(".")}
        with_deliveries = bool(asked & {"delivery", "delivered"})
        figures = self._totals.judged_figures(with_deliveries=with_deliveries)
        for condition in self._abort_on:
            if holds(condition, figures):
                found = format_figure(condition.figure, figures[condition.figure])
                self._fail(f"aborted on {condition}, found {found}")
                return

    def _read_all(self, mark: str, *, thorough: bool = True) -> None:
        """Take a reading of everything that is watched, at one moment."""
        connections = float(self._totals.open)
        swarm_pids = [child.process.pid for child in self._children]
        readings: dict[str, Callable[[], dict[str, float]]] = {
            "server": partial(self._server.read, thorough=thorough),
            "swarm": partial(probe.sample_processes, swarm_pids, thorough=thorough),
            "kernel": probe.sample_kernel,
        }
        for source, read in readings.items():
            t_ns = self._now_ns()
            if values := read():
                self._emit(Sample(t_ns, source, values | {"connections": connections}, mark))

    def _fail(self, what: str) -> None:
        """End the run early because of what the target or a script did; the first reason stands."""
        if not self._controller.is_ending:
            self._failures.append(what)
            self._end_for(what)

    def _end_for(self, what: str) -> None:
        self._emit(Event(self._now_ns(), "trouble", {"what": what}))
        self._end_now()

    def _now_ns(self) -> int:
        return perf_counter_ns() - self._origin_ns
