"""The master's side: leads the swarms of one user class through a live load and keeps its record.

If a scenario lets connections come and go, one load lasts from the first user to the stop. If it
needs to know its connections, the load runs in rounds: a round begins when all users are there and
ends after its time or when their number is to change, and its ledger is closed before the next. The
commands to each process and their times are decided by :mod:`loadtests.run.controller`, and sent to
the workers here. Times in the record are by the master's clock.
"""

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import gevent
from gevent.event import Event as GeventEvent
from gevent.pool import Group

from loadtests.locust.clock import SAME_CLOCK, ClockEstimate, Offset
from loadtests.plan import limits
from loadtests.plan.masking import masked, masked_url
from loadtests.plan.plan import Endpoint, Plan, ProcessPlan, port_of, split_url
from loadtests.run import probe
from loadtests.run.commands import Prepare, command_as_data
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
from loadtests.run.header import run_header
from loadtests.run.roster import Member
from loadtests.run.validity import (
    UNTRIED,
    failures_of,
    footer_of,
    process_reasons,
    reasons_against,
)
from loadtests.scenarios.registry import scenario_kind
from reports.record import (
    Event,
    Header,
    Interval,
    Line,
    RecordCutError,
    RecordWriter,
    Sample,
    Target,
    decode_line,
    encode_line,
)
from reports.summary import MARK_START, Summary
from reports.terminal import Progress

_PATIENCE: Final = Patience(lead_ns=100_000_000, end_seconds=15.0)
_SAMPLE_SECONDS: Final = 1.0
# Workers that join later number their connections beyond all the others'.
_LATE_NUMBERS: Final = 10_000_000
_LATE_STEP: Final = 1_000
_CLOCKS_DIFFER_NS: Final = 1_000_000_000

logger = logging.getLogger("swarmgate")

Command = Callable[[str, Mapping[str, Any]], None]


@dataclass(slots=True)
class Worker:
    """One Locust worker, whatever it runs.

    Attributes:
        client_id: Locust's name for it.
        host: the name of its machine.
        shares_clock: whether it has the same clock as the master, being on the same machine.
        unseen: how many times in a row Locust did not know it.
    """

    client_id: str
    host: str
    shares_clock: bool
    estimate: ClockEstimate = field(default_factory=ClockEstimate)
    unseen: int = 0

    def offset(self) -> Offset | None:
        """Return the offset of its clock from the master's, or None while it is not known."""
        return SAME_CLOCK if self.shares_clock else self.estimate.best(perf_counter_ns())


@dataclass(slots=True)
class Placed:
    """The swarm process of this class on one worker.

    Attributes:
        member: what it has reported.
        clock: the offset of the worker's clock from the master's, as precisely as it is known.
        reading: its worker's last reading of its memory and CPU time.
    """

    worker: Worker
    member: Member
    clock: Offset
    reading: Mapping[str, float] = field(default_factory=dict)


class Conductor:
    """The leader of all swarms of one user class from the start of a test to its end.

    Attributes:
        progress: what the record says about the load as it goes on; ``totals`` is the sum of it.
        path: the path of the record.
        measures: the measures that its scenario declares.
    """

    def __init__(
        self,
        name: str,
        plan: Plan,
        path: Path,
        command: Command,
        *,
        pids: Sequence[int],
        observe: Callable[[Line], None],
        replay: tuple[str, ...],
        is_running: Callable[[], bool],
        users: Callable[[], int],
        spawn_rate: Callable[[], float | None],
        give_up: Callable[[], None],
    ) -> None:
        """Open the record; nothing is sent before :meth:`start`.

        Args:
            name: the name of the user class.
            plan: what its users do.
            path: the path of the record, which must not exist.
            command: sends a command to a worker's agent.
            pids: roots of the server's process trees.
            observe: called with every line of the record.
            replay: the command that repeats the run.
            is_running: returns whether Locust has all its users.
            users: returns how many users of this class Locust was asked for.
            spawn_rate: returns how many users a second, of all classes; None if a load shape
                decides it.
            give_up: makes Locust end the test.

        Raises:
            RecordError: the record cannot be written.
        """
        self.progress = Progress()
        self.totals = self.progress.totals
        self.path = path
        self._name = name
        self._plan = plan
        kind = scenario_kind(plan.scenario)
        self.measures = kind.measures
        self._joins = kind.joins
        self._command = command
        self._observe = observe
        self._is_running = is_running
        self._users = users
        self._spawn_rate = spawn_rate
        self._asked: dict[str, float | None] = {"count": 0}
        self._give_up = give_up
        self._placed: dict[str, Placed] = {}
        self._controller = Controller(plan, perf_counter_ns, _PATIENCE)
        self._losses = self._controller.losses
        self._numbers = count()
        self._wakeup = GeventEvent()
        self._interrupted = False
        self._is_cut = False
        self._pids = tuple(pids)
        self._server = probe.ProcessTrees(pids)
        self._origin_ns = perf_counter_ns()
        self._greenlets = Group()
        self._conducting: gevent.Greenlet[[], None] | None = None
        self._writer = RecordWriter(path)
        header = self._header(replay)
        try:
            self._writer.write(header)
        except RecordCutError:
            self.abandon()
            raise
        self._dispatch(header)

    def start(self, workers: Sequence[Worker]) -> None:
        """Begin with these workers; more may join."""
        self._enter("open", connections=self._plan.connections)
        self._read_all(MARK_START)
        for worker in workers:
            self._take(worker, first_number=0, number_step=len(workers))
        self._greenlets.spawn(self._sample)
        self._conducting = gevent.spawn(self._conduct)

    def join(self, worker: Worker) -> None:
        """Add one more worker to a load that has begun."""
        if self._conducting is not None and not self._controller.is_ending:
            self._take(worker, first_number=_LATE_NUMBERS, number_step=_LATE_STEP)

    def knows(self, worker: Worker) -> bool:
        """Return whether a worker takes part or took part."""
        return worker.client_id in self._placed

    def _take(self, worker: Worker, first_number: int, number_step: int) -> None:
        """Add a worker; one whose clock is not known yet is added when it is."""
        known = self._placed.get(worker.client_id)
        offset = worker.offset()
        if offset is None or (known is not None and not known.member.is_lost):
            return
        process = next(self._numbers)
        share = ProcessPlan(
            plan=self._plan,
            process=process,
            endpoint=Endpoint("", 0),
            sources=(),
            origin_ns=self._origin_ns + offset.offset_ns,
            first_number=first_number + process,
            number_step=number_step,
            clock_ns=-offset.offset_ns,
            clock_error_ns=0 if worker.shares_clock else _CLOCKS_DIFFER_NS,
        )
        name = f"swarm process {process} on {worker.host}"
        member = Member(process, name, share, clock_ns=offset.offset_ns)
        self._controller.roster.add(member)
        self._placed[worker.client_id] = Placed(worker, member, offset)
        self._record_worker(self._placed[worker.client_id])
        logger.info("%s: worker %s is process %d", self._name, worker.client_id, process)
        self._command(worker.client_id, command_as_data(Prepare(share)))

    def receive(self, client_id: str, what: str, detail: Mapping[str, Any]) -> None:
        """Handle a report from a worker's agent."""
        placed = self._placed.get(client_id)
        if placed is None:
            return
        member = placed.member
        match what:
            case "line":
                self._take_line(member, detail)
            case "reading":
                placed.reading = detail["values"]
            case "change wanted":
                self._controller.is_changing = True
            case "held":
                member.is_held, member.ordered = True, detail["ordered"]
            case "ended":
                member.has_ended = True
            case "lost":
                status = detail["status"]
                how = "was ended" if status is None else f"ended with status {status}"
                self._lose(member, how, detail["last_words"])
        self._wakeup.set()

    def lose_worker(self, client_id: str, why: str) -> None:
        """Continue without a worker that is gone; the run is marked."""
        placed = self._placed.get(client_id)
        if placed is not None and placed.member.is_living:
            self._lose(placed.member, f"is gone with its worker {client_id}", why)
            self._wakeup.set()

    def finish(self, *, interrupted: bool) -> Summary:
        """End the load, close every connection and the record; return what was measured."""
        self._interrupted |= interrupted
        self._controller.is_ending = True
        self._wakeup.set()
        if self._conducting is not None:
            self._conducting.join()
        self._greenlets.kill()
        return self.totals.summary()

    def abandon(self) -> None:
        """Delete the record of a test that does not begin."""
        self._writer.close()
        self.path.unlink()

    @property
    def placed(self) -> Sequence[Placed]:
        """All that take part or took part, in the order in which they joined."""
        return tuple(self._placed.values())

    @property
    def url(self) -> str:
        """The address that its users connect to, with secrets masked."""
        return masked_url(self._plan.url)

    def problems(self) -> Sequence[str]:
        """Return why the figures so far may not be judged; empty if they may."""
        against = reasons_against(self._plan, self.totals, has_failed=bool(self.failures()))
        # While the load goes on, the first connection may yet be tried.
        return (
            *self._losses,
            *(it for it in against if self._controller.is_ending or it != UNTRIED),
        )

    def failures(self) -> Sequence[str]:
        """Return the failures of the target so far that leave no load."""
        return () if self._losses else failures_of(self._plan, self.totals)

    def keeps_up(self, member: Member) -> bool:
        """Return whether what one swarm process has measured so far may be judged."""
        return not any(process_reasons(self._plan, member.process, self.totals))

    def _conduct(self) -> None:
        """Lead all swarms from the first connection to the last."""
        controller = self._controller
        flow = controller.live if self._joins else controller.rounds
        try:
            self._carry(flow(self._is_running))
        finally:
            self._carry(controller.close(0.0))
            self._end_record()

    def _carry(self, flow: Flow) -> None:
        """Carry out the controller's actions in order."""
        for action in flow:
            self._do(action)

    def _do(self, action: Action) -> None:
        match action:
            case Send(member, command):
                self._command(self._worker_of(member).client_id, command_as_data(command))
            case Hold(member, is_held):
                do = "hold" if is_held else "release"
                self._command(self._worker_of(member).client_id, {"do": do})
            case Wait(holds, seconds):
                self._wait(holds, seconds)
            case Moment():
                self._wait_a_moment()
            case Enter(phase, detail):
                self._enter(phase, **detail)
            case Read(mark):
                self._read_all(mark)
            case Synchronise(member):
                self._set_clock(member)
            case CloseLedger():
                self.totals.settle_deliveries()
            case Signal() | Depart() | Restart():
                raise AssertionError(f"{action} belongs to a fixed load, which a fleet leads")

    def _of(self, member: Member) -> Placed:
        return next(it for it in self._placed.values() if it.member is member)

    def _worker_of(self, member: Member) -> Worker:
        return self._of(member).worker

    def _set_clock(self, member: Member) -> None:
        """Update the offset of a worker's clock if it is known more precisely by now."""
        placed = self._of(member)
        offset = placed.worker.offset()
        if offset is not None and offset.uncertainty_ns < placed.clock.uncertainty_ns:
            placed.clock = offset
            member.clock_ns = offset.offset_ns
            member.share = replace(member.share, clock_ns=-offset.offset_ns)
            self._record_worker(placed)

    def _record_worker(self, placed: Placed) -> None:
        worker, clock = placed.worker, placed.clock
        detail = {
            "process": placed.member.process,
            "worker": worker.client_id,
            "host": worker.host,
            "shares_clock": worker.shares_clock,
            "clock_offset_ns": clock.offset_ns,
            "clock_uncertainty_ns": clock.uncertainty_ns,
        }
        self._emit(Event(self._now_ns(), "worker", detail))

    def _end_record(self) -> None:
        self._emit(
            footer_of(
                self._plan,
                self.totals,
                self._now_ns(),
                losses=tuple(self._losses),
                was_interrupted=self._interrupted,
            )
        )
        self._writer.close()

    def _take_line(self, member: Member, detail: Mapping[str, Any]) -> None:
        line = decode_line(detail["text"])
        member.ordered = detail["ordered"]
        if isinstance(line, Event):
            member.receive(line.name, line.detail)
            if line.name == "population":
                return
        elif isinstance(line, Interval):
            member.open = line.open
        if line is not None:
            self._emit(line, detail["text"])

    def _lose(self, member: Member, how: str, why: str) -> None:
        detail = {"process": member.process, "connections": member.open, "why": why}
        self._emit(Event(self._now_ns(), "process_lost", detail))
        is_any_left = self._controller.lose(member, how=how, why=why, connections=member.open)
        if not (is_any_left or self._controller.is_ending):
            self._give_up()

    def _sample(self) -> None:
        """Read server and kernel once a second, and collect the workers' readings of swarms."""
        while True:
            gevent.sleep(_SAMPLE_SECONDS)
            self._read_all("", thorough=self.totals.phase != "measure")
            asked = {"count": self._users(), "spawn_rate": self._spawn_rate()}
            if asked != self._asked and (asked["count"] or self._asked["count"]):
                self._asked = asked
                self._emit(Event(self._now_ns(), "users", asked))

    def _read_all(self, mark: str, *, thorough: bool = True) -> None:
        readings: dict[str, Mapping[str, float]] = {
            "server": self._server.read(thorough=thorough),
            "kernel": probe.sample_kernel(),
        }
        if not mark:
            living = (it for it in self._placed.values() if it.member.is_living)
            readings["swarm"] = _sum(it.reading for it in living)
        for source, values in readings.items():
            if values:
                # The record's own count is up to a second old.
                connections = {
                    "connections": float(sum(it.open for it in self._controller.roster.living()))
                }
                self._emit(Sample(self._now_ns(), source, {**values, **connections}, mark))

    def _wait(self, holds: Callable[[], bool], seconds: float | None) -> None:
        end_ns = math.inf if seconds is None else perf_counter_ns() + seconds * 1e9
        while not holds() and perf_counter_ns() < end_ns:
            self._wait_a_moment()

    def _wait_a_moment(self) -> None:
        """Wait until a report arrives, or for a short while."""
        self._wakeup.wait(timeout=0.1)
        self._wakeup.clear()

    def _enter(self, phase: str, **detail: object) -> None:
        self._emit(Event(self._now_ns(), "phase", {"phase": phase, **detail}))

    def _emit(self, line: Line, text: bytes = b"") -> None:
        """Write a line and pass it on; ``text`` is the line as a swarm process has encoded it."""
        if not self._is_cut:
            try:
                self._writer.write_encoded(text or encode_line(line))
            except RecordCutError as error:
                # Nothing is written after an incomplete line, even if there is room again.
                self._is_cut = True
                logger.error("%s: %s", self._name, error)
                self._losses.append(str(error))
                self._give_up()
        self._dispatch(line)

    def _dispatch(self, line: Line) -> None:
        self.progress.add(line)
        self._observe(line)

    def _header(self, replay: tuple[str, ...]) -> Header:
        masked_plan = masked(self._plan)
        address = f"{split_url(masked_plan.url).hostname}:{port_of(masked_plan.url)}"
        target = Target(masked_plan.url, address, (), self._pids)
        return run_header(masked_plan, target, limits.read_limits(), replay)

    def _now_ns(self) -> int:
        return perf_counter_ns() - self._origin_ns


def _sum(readings: Iterator[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for reading in readings:
        for name, value in reading.items():
            total[name] = total.get(name, 0.0) + value
    return total
