"""All swarm processes of one run: started, led through the phases together, and recorded.

The fleet decides when; each swarm process does (:mod:`loadtests.run.swarm`); nothing here opens a
connection. The phases are open (in steps, each followed by settle), measure, collect, close.
"""

import asyncio
import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from time import perf_counter_ns
from typing import Any, Final

from loadtests.plan.plan import Endpoint, Plan, processes_of
from loadtests.run import probe
from loadtests.run.child_process import MOST_SILENT_SECONDS, own_environment, own_module, sheltered
from loadtests.run.swarm import PLAN
from loadtests.run.target_shutdown import TargetShutdown
from loadtests.run.validity import failures_of, reasons_against, warnings_about
from loadtests.scenarios.registry import scenario_kind
from loadtests.scenarios.scenario import merged
from reports.printable import printable
from reports.record import Event, Footer, Interval, Line, Sample, decode_line
from reports.summary import (
    MARK_MEASURE_BEGIN,
    MARK_MEASURE_END,
    MARK_START,
    MARK_STEP,
    Totals,
)
from reports.threshold import holds, parse_threshold
from reports.units import format_figure

_SAMPLE_SECONDS: Final = 1.0
_LINE_LIMIT_BYTES: Final = 2**26
# Time for a command to reach every process, so that all begin the load at the same moment.
_LEAD_NS: Final = 50_000_000
_CLOSE_SECONDS: Final = 20.0
# What a load that is ended early may take to end, beyond the wait for what is under way.
_END_SECONDS: Final = 5.0
# Lines of a process that are shown and recorded.
_MOST_PRINTED: Final = 1_000

Emit = Callable[[Line], None]


@dataclass(slots=True)
class _Member:
    """One swarm process, and what it has said so far.

    Attributes:
        silent: how many seconds in a row it has said nothing.
    """

    process: asyncio.subprocess.Process
    silent: int = 0
    said: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    last_words: str = ""
    is_lost: bool = False

    def tell(self, command: Mapping[str, Any]) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(command).encode() + b"\n")


class Fleet:
    """Leads the swarm processes of one run."""

    def __init__(
        self,
        plan: Plan,
        endpoint: Endpoint,
        sources: tuple[str, ...],
        emit: Emit,
        totals: Totals,
        *,
        server_pids: Sequence[int],
        origin_ns: int,
        shutdown: TargetShutdown | None = None,
    ) -> None:
        """Prepare; nothing is started before :meth:`run`.

        Args:
            plan: the run.
            endpoint: where to connect.
            sources: source addresses to spread connections over.
            emit: told of every line of the record, in the order it was made.
            totals: the sum of the lines emitted so far, kept by whoever receives them.
            server_pids: roots of the process trees to watch, none if they are not known.
            origin_ns: CLOCK_MONOTONIC time that the record counts from.
            shutdown: how the target is to be stopped after the load, if it is.
        """
        self._plan = plan
        self._shares = processes_of(plan, endpoint, sources, origin_ns)
        self._emit = emit
        self._totals = totals
        self._server_pids = tuple(server_pids)
        self._server = probe.ProcessTrees(server_pids)
        self._origin_ns = origin_ns
        self._shutdown = shutdown
        self._departing = False
        kinds = [scenario_kind(share.plan.scenario) for share in self._shares]
        self._may_be_away = any(it.comes_back for it in kinds)
        self._may_be_dead = all(it.comes_back for it in kinds)
        # Processes of which at any moment some connection is open, unless the target ends them all.
        self._staying = [number for number, it in enumerate(kinds) if not it.replaces]
        self._members: list[_Member] = []
        self._abort_on = tuple(map(parse_threshold, plan.abort_on))
        # What the generator lost, and what the target or a script failed at.
        self._losses: list[str] = []
        self._failures: list[str] = []
        self._heard = asyncio.Condition()
        self._trouble = asyncio.Event()
        self._is_ending = False

    async def run(self, interrupted: asyncio.Event) -> Footer:
        """Lead the run to its end, however it ends, and return its footer.

        Args:
            interrupted: set when a person wants the run to end now.
        """
        try:
            async with asyncio.TaskGroup() as tasks:
                was_interrupted, losses, failures = await self._lead(tasks, interrupted)
        finally:
            # Where the record cannot be written any more, nobody was asked to end.
            for member in self._members:
                if member.process.returncode is None:
                    member.process.kill()
                # Whoever watches for its end must not outlive the event loop.
                await member.process.wait()
        if was_interrupted:
            reasons = (*losses, "the run was interrupted")
        else:
            if not (losses or failures):
                failures = failures_of(self._plan, self._totals)
            against = reasons_against(self._plan, self._totals, has_failed=bool(failures))
            reasons = (*losses, *against)
        return Footer(
            t_ns=self._now_ns(),
            valid=not reasons,
            reasons=tuple(dict.fromkeys(reasons)),
            failures=failures,
            warnings=warnings_about(self._plan, self._totals),
            interrupted=was_interrupted,
        )

    async def _lead(
        self, tasks: asyncio.TaskGroup, interrupted: asyncio.Event
    ) -> tuple[bool, tuple[str, ...], tuple[str, ...]]:
        """Lead the run to its end; return whether it was interrupted, losses and failures."""
        watching = tasks.create_task(self._watch())
        await self._start(tasks)
        conducting = tasks.create_task(self._conduct())
        endings = [tasks.create_task(event.wait()) for event in (interrupted, self._trouble)]
        await asyncio.wait((conducting, *endings), return_when=asyncio.FIRST_COMPLETED)
        was_interrupted = interrupted.is_set() and not conducting.done()
        if not conducting.done():
            await self._end_early(conducting)
        for ending in endings:
            ending.cancel()
        # What is said from here on is of the closing.
        losses, failures = tuple(self._losses), tuple(self._failures)
        await self._close()
        watching.cancel()
        return was_interrupted, losses, failures

    async def _end_early(self, conducting: asyncio.Task[None]) -> None:
        """End a load now, with its ledger; before it there is nothing to be kept."""
        self._is_ending = True
        if self._totals.phase in ("measure", "collect"):
            self._tell_all({"do": "end"})
            with suppress(TimeoutError):
                async with asyncio.timeout(self._plan.collect_seconds + _END_SECONDS):
                    await asyncio.shield(conducting)
        conducting.cancel()

    async def _start(self, tasks: asyncio.TaskGroup) -> None:
        for number, share in enumerate(self._shares):
            with sheltered():
                process = await asyncio.create_subprocess_exec(
                    *own_module("loadtests.run.swarm"),
                    stdin=asyncio.subprocess.PIPE,
                    stdout=asyncio.subprocess.PIPE,
                    stderr=asyncio.subprocess.PIPE,
                    limit=_LINE_LIMIT_BYTES,
                    env={**own_environment(), "PYTHONUNBUFFERED": "1"},
                )
            member = _Member(process)
            self._members.append(member)
            assert process.stdin is not None
            process.stdin.write(PLAN.dump_json(share) + b"\n")
            tasks.create_task(self._listen(number, member))
            tasks.create_task(self._hear_prints(number, member))

    async def _conduct(self) -> None:
        """Lead everyone through the phases."""
        await self._all_said("ready")
        self._read_all(MARK_START)
        if self._plan.population is not None:
            await self._measure()
            return
        total = self._plan.connections
        for stage in self._plan.stages():
            self._enter("open", connections=stage)
            counts = [share.reached(stage, total) for share in self._shares]
            self._tell_each([{"do": "open", "until": count} for count in counts])
            await self._all_said("opened")
            self._enter("settle")
            self._tell_all({"do": "settle", "is_last": stage == total})
            await asyncio.sleep(self._plan.settle_seconds)
            await self._all_said("settled")
            self._read_all(MARK_STEP)
        if not self._totals.counts["opened"]:
            return
        await self._measure()

    async def _measure(self) -> None:
        self._enter("measure", seconds=self._plan.duration_seconds)
        # Before the load, not beside it: see why :meth:`_watch` reads less while it lasts.
        self._read_all(MARK_MEASURE_BEGIN)
        self._tell_all({"do": "measure", "start_ns": perf_counter_ns() + _LEAD_NS})
        measured = await self._all_said("measured")
        self._read_all(MARK_MEASURE_END)
        if self._shutdown is not None and not self._is_ending:
            measured = await self._shut_target_down(self._shutdown)
        self._enter("collect")
        published = {
            share.user: merged(
                said["published"]
                for said in measured
                if self._shares[said["process"]].user == share.user
            )
            for share in self._shares
        }
        self._tell_each(
            [{"do": "collect", "published": published[share.user]} for share in self._shares]
        )
        await self._all_said("collected")

    async def _shut_target_down(self, shutdown: TargetShutdown) -> list[Mapping[str, Any]]:
        """Have the target stop, and everyone see how it does; return what they said of it."""
        self._enter("drain", seconds=shutdown.within_seconds)
        self._departing = True
        self._tell_all({"do": "expect end"})
        connected = sum(said["open"] for said in await self._all_said("expecting"))
        tree = shutdown.processes()
        signal_ns = shutdown.send()
        self._emit(
            Event(
                signal_ns - self._origin_ns,
                "signal",
                {
                    "signal": shutdown.signum.name,
                    "pid": shutdown.pid,
                    "processes": len(tree),
                    "connected": connected,
                },
            )
        )
        self._tell_all({"do": "drain", "signal_ns": signal_ns})
        drained: list[Mapping[str, Any]]
        outcome, drained = await asyncio.gather(
            shutdown.watch(signal_ns, tree), self._all_said("drained")
        )
        detail = outcome.detail(shutdown.errors(outcome))
        self._emit(Event(self._now_ns(), "departed", detail))
        if shutdown.restart is not None and outcome.exit_ns is not None:
            await self._return(shutdown.restart)
        return drained

    async def _return(self, restart: Callable[[], Awaitable[int]]) -> None:
        """Have the target started again, and everyone come back."""
        self._enter("return")
        pid = await restart()
        restarted_ns = perf_counter_ns()
        self._server_pids = (pid,)
        self._server = probe.ProcessTrees((pid,))
        self._emit(Event(restarted_ns - self._origin_ns, "restarted", {"pid": pid}))
        self._tell_all({"do": "return", "restarted_ns": restarted_ns})
        await self._all_said("returned")

    async def _close(self) -> None:
        """Have everyone end; whoever does not in time is ended."""
        self._enter("close")
        ramp_seconds = 0.0 if self._is_ending else self._plan.ramp_down_seconds
        living = [member for member in self._members if member.process.returncode is None]
        for member in living:
            with suppress(ConnectionError):
                member.tell({"do": "close", "over_seconds": ramp_seconds})
        with suppress(TimeoutError):
            async with asyncio.timeout(ramp_seconds + _CLOSE_SECONDS):
                await asyncio.gather(*(member.process.wait() for member in living))
        for member in living:
            if member.process.returncode is None:
                member.process.kill()
            await member.process.wait()

    async def _listen(self, number: int, member: _Member) -> None:
        """Take what one process reports until it has no more to say."""
        assert member.process.stdout is not None
        async for text in member.process.stdout:
            member.silent = 0
            if not text.endswith(b"\n"):
                # It was killed in the middle of a line.
                break
            line = decode_line(text)
            if line is not None:
                self._emit(line)
            if isinstance(line, Event):
                await self._hear(member, line)
            if isinstance(line, Interval):
                self._notice_loss_of_all()
        if "closed" not in member.said and self._totals.phase != "close":
            await self._lose(number, member)

    async def _hear(self, member: _Member, said: Event) -> None:
        member.said[said.name] = said.detail
        if said.name == "script_error" and self._plan.fail_fast:
            self._fail(f"the script failed and was to fail fast: {said.detail['kind']}")
        async with self._heard:
            self._heard.notify_all()

    async def _lose(self, number: int, member: _Member) -> None:
        """Go on without a process that ended in the middle of the run; the run is marked."""
        status = await member.process.wait()
        connections = self._totals.open_by_process.get(number, 0)
        detail = {"process": number, "status": status, "connections": connections}
        self._emit(Event(self._now_ns(), "process_lost", detail))
        member.is_lost = True
        self._losses.append(
            f"swarm process {number} ended in the middle of the run with status {status} "
            f"({member.last_words or 'it said nothing'}); its {connections:,} connections are "
            "lost by the generator, not by the server"
        )
        if all(other.is_lost for other in self._members):
            self._losses.append("no swarm process is left")
            self._end_for("no swarm process is left")
        async with self._heard:
            self._heard.notify_all()

    async def _hear_prints(self, number: int, member: _Member) -> None:
        """Show what a process and its script print; the last line tells why it died."""
        assert member.process.stderr is not None
        lines = 0
        async for text in member.process.stderr:
            said = printable(text.decode(errors="replace").rstrip())
            member.last_words = said or member.last_words
            lines += 1
            if lines > _MOST_PRINTED:
                continue
            if lines == _MOST_PRINTED:
                said = f"it has printed {lines:,} lines, more are not shown"
            self._emit(Event(self._now_ns(), "printed", {"process": number, "text": said}))

    async def _watch(self) -> None:
        """Read server, swarm and kernel once a second, and notice a target that ends."""
        while True:
            await asyncio.sleep(_SAMPLE_SECONDS)
            # Adding up a large process's pages holds its memory map locked for milliseconds, which
            # a latency being measured would show.
            self._read_all("", thorough=self._totals.phase != "measure")
            self._end_the_silent()
            self._look_for_abort()
            if self._departing or self._may_be_dead:
                continue
            dead = [pid for pid in self._server_pids if not probe.is_alive(pid)]
            if dead:
                self._fail(f"the target died in the middle of the run (process {dead[0]})")

    def _end_the_silent(self) -> None:
        """End processes that hang: each reports every second, whatever it is at.

        Looks are counted, not time: where everything was stopped, everybody is given time anew.
        """
        for member in self._members:
            member.silent += 1
            if member.silent > MOST_SILENT_SECONDS and member.process.returncode is None:
                member.last_words = f"it said nothing for {MOST_SILENT_SECONDS} s and was ended"
                member.process.kill()

    def _notice_loss_of_all(self) -> None:
        if self._may_be_away or not self._staying or self._plan.population is not None:
            return
        there = sum(self._totals.open_by_process.get(number, 0) for number in self._staying)
        if self._totals.phase == "measure" and not there:
            codes = ", ".join(str(code) for code in sorted(self._totals.close_codes))
            which = "" if len(self._staying) == len(self._shares) else " that was to stay"
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
        swarm_pids = [member.process.pid for member in self._members]
        readings: dict[str, Callable[[], dict[str, float]]] = {
            "server": partial(self._server.read, thorough=thorough),
            "swarm": partial(probe.sample_processes, swarm_pids, thorough=thorough),
            "kernel": probe.sample_kernel,
        }
        for source, read in readings.items():
            t_ns = self._now_ns()
            if values := read():
                self._emit(Sample(t_ns, source, values | {"connections": connections}, mark))

    async def _all_said(self, name: str) -> list[Mapping[str, Any]]:
        """Wait until every process that is left has said ``name``; take what each said with it."""
        async with self._heard:
            await self._heard.wait_for(
                lambda: all(it.is_lost or name in it.said for it in self._members)
            )
        return [member.said.pop(name) for member in self._members if name in member.said]

    def _tell_all(self, command: Mapping[str, Any]) -> None:
        self._tell_each([command] * len(self._members))

    def _tell_each(self, commands: Sequence[Mapping[str, Any]]) -> None:
        for member, command in zip(self._members, commands, strict=True):
            if not member.is_lost:
                member.tell(command)

    def _enter(self, phase: str, **detail: object) -> None:
        self._emit(Event(self._now_ns(), "phase", {"phase": phase, **detail}))

    def _fail(self, what: str) -> None:
        """End the run early for what the target or a script did; the first reason stands."""
        if not self._trouble.is_set():
            self._failures.append(what)
            self._end_for(what)

    def _end_for(self, what: str) -> None:
        self._emit(Event(self._now_ns(), "trouble", {"what": what}))
        self._trouble.set()

    def _now_ns(self) -> int:
        return perf_counter_ns() - self._origin_ns
