"""The master's side: leads the swarms of one user class through a live load and keeps its record.

Where a scenario lets connections come and go, one load lasts from the first user to the stop. Where
it needs to know its connections, the load is one of rounds: a round begins when all users are
there, ends after its time or when their number is to change, and its ledger is closed before the
next. Times on the record are of the master's clock.
"""

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import gevent
from gevent.event import Event as Signal
from gevent.pool import Group

from loadtests.locust.clock import SAME_CLOCK, ClockEstimate, Offset
from loadtests.locust.worker_agent import SHARE
from loadtests.plan import limits
from loadtests.plan.masking import masked, masked_url
from loadtests.plan.plan import Endpoint, Plan, ProcessPlan, port_of, split_url
from loadtests.run import probe
from loadtests.run.header import run_header
from loadtests.run.validity import (
    UNTRIED,
    failures_of,
    process_reasons,
    reasons_against,
    warnings_about,
)
from loadtests.scenarios.registry import scenario_kind
from loadtests.scenarios.scenario import merged
from reports.record import (
    Event,
    Footer,
    Header,
    Interval,
    Line,
    RecordCutError,
    RecordWriter,
    Sample,
    Target,
    decode_line,
)
from reports.summary import (
    MARK_MEASURE_BEGIN,
    MARK_MEASURE_END,
    MARK_START,
    MARK_STEP,
    Summary,
)
from reports.terminal import Progress

_LEAD_NS: Final = 100_000_000
_SAMPLE_SECONDS: Final = 1.0
_START_SECONDS: Final = 30.0
_END_SECONDS: Final = 15.0
_CLOSE_SECONDS: Final = 20.0
# Workers that come later number their connections beyond all the others'.
_LATE_NUMBERS: Final = 10_000_000
_LATE_STEP: Final = 1_000
_CLOCKS_DIFFER_NS: Final = 1_000_000_000
# Beyond the numbers of broadcasts, and of their publishers, within a round.
_ROUND: Final = 1 << 48

logger = logging.getLogger("swarmgate")

Command = Callable[[str, Mapping[str, Any]], None]


@dataclass(slots=True)
class Worker:
    """One Locust worker, whatever it runs.

    Attributes:
        client_id: Locust's name of it.
        host: the name of its machine.
        shares_clock: it goes by the same clock as the master, being on the same machine.
        unseen: how often in a row Locust did not know it.
    """

    client_id: str
    host: str
    shares_clock: bool
    estimate: ClockEstimate = field(default_factory=ClockEstimate)
    unseen: int = 0

    def offset(self) -> Offset | None:
        """Return how far its clock is from the master's, None while it is not known."""
        return SAME_CLOCK if self.shares_clock else self.estimate.best(perf_counter_ns())


@dataclass(slots=True)
class Member:
    """The swarm process of this class on one worker."""

    worker: Worker
    process: int
    share: ProcessPlan
    clock: Offset
    said: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    open: int = 0
    pending: int = 0
    order: int = 0
    ordered: int = 0
    is_lost: bool = False
    has_ended: bool = False
    part: float = 0.0
    round: int = 0
    is_measuring: bool = False
    is_held: bool = False
    reading: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_living(self) -> bool:
        """Whether its swarm process still runs, as far as anybody has said."""
        return not (self.is_lost or self.has_ended)

    @property
    def is_settled(self) -> bool:
        """Whether it has all the connections that it was ordered to have."""
        return self.order == self.ordered and not self.pending


class Conductor:
    """Leads all swarms of one user class from the start of a test to its end.

    Attributes:
        progress: what the record says of the load as it goes on; ``totals`` is the sum of it.
        path: the record.
        measures: what its scenario declares that it measures.
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
            name: of the user class.
            plan: what its users do.
            path: of the record, which must not exist.
            command: has a worker's agent do something.
            pids: roots of the server's process trees.
            observe: told of every line of the record.
            replay: the command that repeats the run.
            is_running: whether Locust has all its users.
            users: how many users of this class Locust was asked for.
            spawn_rate: how many a second, of all classes; None where a load shape says it.
            give_up: has Locust end the test.

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
        self._members: dict[str, Member] = {}
        self._losses: list[str] = []
        self._numbers = count()
        self._round_seeds = count(plan.seed)
        self._heard = Signal()
        self._change_wanted = False
        self._finishing = False
        self._interrupted = False
        self._is_cut = False
        self._step_at: int | None = None
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
        self._tell(header)

    def start(self, workers: Sequence[Worker]) -> None:
        """Begin with these workers; more may join."""
        self._enter("open", connections=self._plan.connections)
        self._read_all(MARK_START)
        for worker in workers:
            self._take(worker, first_number=0, number_step=len(workers))
        self._greenlets.spawn(self._sample)
        self._conducting = gevent.spawn(self._conduct)

    def join(self, worker: Worker) -> None:
        """Have one more worker take part in what has begun."""
        if self._conducting is not None and not self._finishing:
            self._take(worker, first_number=_LATE_NUMBERS, number_step=_LATE_STEP)

    def knows(self, worker: Worker) -> bool:
        """Whether a worker takes part or took part."""
        return worker.client_id in self._members

    def _take(self, worker: Worker, first_number: int, number_step: int) -> None:
        """Have a worker take part; one whose clock is not known yet does when it is."""
        known = self._members.get(worker.client_id)
        offset = worker.offset()
        if offset is None or (known is not None and not known.is_lost):
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
        self._members[worker.client_id] = Member(worker, process, share, offset)
        self._tell_of(self._members[worker.client_id])
        logger.info("%s: worker %s is process %d", self._name, worker.client_id, process)
        self._command(worker.client_id, {"do": "prepare", "share": _dump(share)})

    def hear(self, client_id: str, what: str, detail: Mapping[str, Any]) -> None:
        """Take what a worker's agent tells."""
        member = self._members.get(client_id)
        if member is None:
            return
        match what:
            case "line":
                self._take_line(member, detail)
            case "reading":
                member.reading = detail["values"]
            case "change wanted":
                self._change_wanted = True
            case "held":
                member.is_held, member.ordered = True, detail["ordered"]
            case "ended":
                member.has_ended = True
            case "lost":
                status = detail["status"]
                how = "was ended" if status is None else f"ended with status {status}"
                self._lose(member, how, detail["last_words"])
        self._heard.set()

    def lose_worker(self, client_id: str, why: str) -> None:
        """Go on without a worker that is gone; the run is marked."""
        member = self._members.get(client_id)
        if member is not None and member.is_living:
            self._lose(member, f"is gone with its worker {client_id}", why)
            self._heard.set()

    def finish(self, *, interrupted: bool) -> Summary:
        """End the load, close every connection and the record; return what was measured."""
        self._interrupted |= interrupted
        self._finishing = True
        self._heard.set()
        if self._conducting is not None:
            self._conducting.join()
        self._greenlets.kill()
        return self.totals.summary()

    def abandon(self) -> None:
        """Leave no record of a test that does not begin."""
        self._writer.close()
        self.path.unlink()

    @property
    def members(self) -> Sequence[Member]:
        """All that take part or took part, in the order in which they came."""
        return tuple(self._members.values())

    @property
    def url(self) -> str:
        """Where its users connect to, secrets masked."""
        return masked_url(self._plan.url)

    def problems(self) -> Sequence[str]:
        """Return why the figures so far may not be judged; nothing when they may."""
        against = reasons_against(self._plan, self.totals, has_failed=bool(self.failures()))
        # While it goes on, the first connection may still be tried.
        return (*self._losses, *(it for it in against if self._finishing or it != UNTRIED))

    def failures(self) -> Sequence[str]:
        """Return what the target failed at so far, so that there is no load."""
        return () if self._losses else failures_of(self._plan, self.totals)

    def keeps_up(self, member: Member) -> bool:
        """Whether what one swarm process measured may be judged so far."""
        return not any(process_reasons(self._plan, member.process, self.totals))

    def _conduct(self) -> None:
        """Lead everyone from the first connection to the last."""
        try:
            if self._joins:
                self._live()
            else:
                while not self._finishing:
                    self._round()
        finally:
            self._close()
            self._end_record()

    def _live(self) -> None:
        """One load, in which connections come and go."""
        self._enter("measure")
        self._read_all(MARK_MEASURE_BEGIN)
        while not self._finishing:
            for member in self._living():
                if not member.is_measuring and "ready" in member.said:
                    self._begin(member, perf_counter_ns() + _LEAD_NS)
            self._share_anew()
            self._note_step()
            self._wait_a_moment()
        # Locust may still be spawning.
        self._tell_all({"do": "hold"})
        self._tell_all({"do": "end"})
        self._end_load()

    def _round(self) -> None:
        """Wait until all are there, load them for a while, close the ledger."""
        if not self._gather():
            return
        living = sorted(self._living(), key=lambda member: not member.open)
        if not self._serve(living):
            return
        self._enter("measure", seconds=self._plan.duration_seconds)
        self._note_step()
        self._read_all(MARK_MEASURE_BEGIN)
        start_ns = perf_counter_ns() + _LEAD_NS
        for member in living:
            self._begin(member, start_ns)
        self._wait(
            lambda: self._is_called_off() or self._all_said("measured"),
            self._plan.duration_seconds + _END_SECONDS,
        )
        if not self._all_said("measured"):
            self._tell_all({"do": "end"})
        self._end_load()
        self._enter("open")

    def _serve(self, members: Sequence[Member]) -> bool:
        """Have all await the round's messages, before the first is published; tells whether all do.

        Nobody is measured without one of them: what it did not await would count as lost.
        """
        plan = replace(
            self._plan,
            connections=max(1, sum(member.open for member in members)),
            processes=len(members),
            seed=next(self._round_seeds),
        )
        for number, member in enumerate(members):
            self._set_clock(member)
            # What a process reports stays with its number in the test.
            share = _dump(replace(member.share, plan=plan, process=number))
            self._command(member.worker.client_id, {"do": "serve", "share": share})

        def waiting() -> list[Member]:
            said = ((it, it.said.get("serving", {})) for it in members if it.is_living)
            return [it for it, serving in said if serving.get("seed") != plan.seed]

        self._wait(lambda: self._is_called_off() or not waiting(), _END_SECONDS)
        if self._is_called_off():
            return False
        for member in waiting():
            late = f"swarm process {member.process} on {member.worker.host}"
            self._losses.append(f"{late} did not begin a round within {_END_SECONDS:.0f} s")
        return all(member.is_living for member in members) and not waiting()

    def _is_called_off(self) -> bool:
        """Return whether a round is not to begin, or to end before its time."""
        return self._finishing or self._change_wanted

    def _set_clock(self, member: Member) -> None:
        """Take what is known of a worker's clock by now, if it is surer."""
        offset = member.worker.offset()
        if offset is not None and offset.uncertainty_ns < member.clock.uncertainty_ns:
            member.clock = offset
            member.share = replace(member.share, clock_ns=-offset.offset_ns)
            self._tell_of(member)

    def _tell_of(self, member: Member) -> None:
        worker, clock = member.worker, member.clock
        detail = {
            "process": member.process,
            "worker": worker.client_id,
            "host": worker.host,
            "shares_clock": worker.shares_clock,
            "clock_offset_ns": clock.offset_ns,
            "clock_uncertainty_ns": clock.uncertainty_ns,
        }
        self._emit(Event(self._now_ns(), "worker", detail))

    def _gather(self) -> bool:
        """Wait until all are there, and hold further changes back; tells whether they are."""
        for member in self._living():
            member.is_held = False
        self._tell_all({"do": "release"})
        self._change_wanted = False
        while not (self._finishing or self._has_settled()):
            self._wait_a_moment()
        if self._finishing:
            return False
        self._tell_all({"do": "hold"})
        self._wait(lambda: all(member.is_held for member in self._living()), _END_SECONDS)
        # A change may have been under way; it comes before the round then.
        return self._has_settled() and not self._change_wanted

    def _begin(self, member: Member, start_ns: int) -> None:
        command = {"do": "measure", "start_ns": start_ns + member.clock.offset_ns}
        member.is_measuring = True
        member.round += 1
        member.said.pop("measured", None)
        self._command(member.worker.client_id, command)

    def _end_load(self) -> None:
        """Wait for the end of the load, then for what is under way; close the ledgers."""
        self._wait(lambda: self._all_said("measured"), _END_SECONDS + self._patience())
        self._read_all(MARK_MEASURE_END)
        self._enter("collect")
        said = [it.said.pop("measured", {}) for it in self._measuring()]
        published = merged(iter([part["published"] for part in said if part]))
        self._tell_all({"do": "collect", "published": published})
        self._wait(lambda: self._all_said("collected"), self._plan.collect_seconds + _END_SECONDS)
        for member in self._members.values():
            member.said.pop("collected", None)
            member.is_measuring = False
        self.totals.settle_deliveries()

    def _patience(self) -> float:
        """Return how long after its end a load may still wait for its clients to be back."""
        return 60.0 if scenario_kind(self._plan.scenario).comes_back else 0.0

    def _close(self) -> None:
        self._enter("close")
        self._tell_all({"do": "close", "over_seconds": 0.0})
        self._wait(lambda: not any(self._living()), _CLOSE_SECONDS)

    def _end_record(self) -> None:
        interrupted = (*self._losses, "the run was interrupted")
        reasons = interrupted if self._interrupted else self.problems()
        self._emit(
            Footer(
                t_ns=self._now_ns(),
                valid=not reasons,
                reasons=tuple(dict.fromkeys(reasons)),
                failures=() if self._interrupted else tuple(self.failures()),
                warnings=warnings_about(self._plan, self.totals),
                interrupted=self._interrupted,
            )
        )
        self._writer.close()

    def _take_line(self, member: Member, detail: Mapping[str, Any]) -> None:
        line = decode_line(detail["text"])
        member.ordered = detail["ordered"]
        if isinstance(line, Event):
            if line.name == "population":
                member.open, member.pending = line.detail["open"], line.detail["pending"]
                member.order = line.detail["order"]
                return
            member.said[line.name] = line.detail
            line = replace(line, detail={**line.detail, "process": member.process})
        elif isinstance(line, Interval):
            # Each round numbers its broadcasts from 0.
            deliveries = tuple(
                replace(it, sequence=it.sequence + member.round * _ROUND) for it in line.deliveries
            )
            line = replace(line, process=member.process, deliveries=deliveries)
            member.open = line.open
        if line is not None:
            self._emit(line)

    def _lose(self, member: Member, how: str, why: str) -> None:
        member.is_lost = True
        detail = {"process": member.process, "connections": member.open, "why": why}
        self._emit(Event(self._now_ns(), "process_lost", detail))
        self._losses.append(
            f"swarm process {member.process} on {member.worker.host} {how} "
            f"({why or 'it said nothing'}); its {member.open:,} connections are lost by the "
            "generator, not by the server"
        )
        member.open = member.pending = 0
        if not any(self._living()) and not self._finishing:
            self._losses.append("no swarm process is left")
            self._give_up()

    def _share_anew(self) -> None:
        """Tell everyone its part of a rate that is of all connections together."""
        living = list(self._living())
        total = sum(member.open for member in living)
        for member in living:
            part = round(member.open / total, 4) if total else 1 / len(living)
            if part != member.part:
                member.part = part
                self._command(member.worker.client_id, {"do": "take part", "part": part})

    def _sample(self) -> None:
        """Read server and kernel once a second, and what the workers read of their swarms."""
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
            readings["swarm"] = _sum(member.reading for member in self._living())
        for source, values in readings.items():
            if values:
                # The record's own count is up to a second old.
                connections = {"connections": float(sum(it.open for it in self._living()))}
                self._emit(Sample(self._now_ns(), source, {**values, **connections}, mark))

    def _note_step(self) -> None:
        """Read memory where the number of connections has come to rest anew, for its slope."""
        at = sum(member.open for member in self._living())
        if self._has_settled() and at != self._step_at:
            self._step_at = at
            self._read_all(MARK_STEP)

    def _has_settled(self) -> bool:
        living = list(self._living())
        return (
            self._is_running()
            and all("ready" in it.said and it.is_settled for it in living)
            and any(it.open for it in living)
        )

    def _living(self) -> Iterator[Member]:
        return (it for it in self._members.values() if it.is_living)

    def _measuring(self) -> Iterator[Member]:
        return (it for it in self._living() if it.is_measuring)

    def _all_said(self, name: str) -> bool:
        return all(name in member.said for member in self._measuring())

    def _tell_all(self, command: Mapping[str, Any]) -> None:
        for member in self._living():
            self._command(member.worker.client_id, command)

    def _wait(self, holds: Callable[[], bool], seconds: float) -> None:
        end_ns = perf_counter_ns() + seconds * 1e9
        while not holds() and perf_counter_ns() < end_ns:
            self._wait_a_moment()

    def _wait_a_moment(self) -> None:
        """Wait until somebody says something, or a little while."""
        self._heard.wait(timeout=0.1)
        self._heard.clear()

    def _enter(self, phase: str, **detail: object) -> None:
        self._emit(Event(self._now_ns(), "phase", {"phase": phase, **detail}))

    def _emit(self, line: Line) -> None:
        if not self._is_cut:
            try:
                self._writer.write(line)
            except RecordCutError as error:
                # Nothing is written behind a line that is not whole, even if there is room again.
                self._is_cut = True
                logger.error("%s: %s", self._name, error)
                self._losses.append(str(error))
                self._give_up()
        self._tell(line)

    def _tell(self, line: Line) -> None:
        self.progress.add(line)
        self._observe(line)

    def _header(self, replay: tuple[str, ...]) -> Header:
        told = masked(self._plan)
        address = f"{split_url(told.url).hostname}:{port_of(told.url)}"
        target = Target(told.url, address, (), self._pids)
        return run_header(told, target, limits.read_limits(), replay)

    def _now_ns(self) -> int:
        return perf_counter_ns() - self._origin_ns


def _dump(share: ProcessPlan) -> dict[str, Any]:
    dumped: dict[str, Any] = SHARE.dump_python(share, mode="json")
    return dumped


def _sum(readings: Iterator[Mapping[str, float]]) -> dict[str, float]:
    total: dict[str, float] = {}
    for reading in readings:
        for name, value in reading.items():
            total[name] = total.get(name, 0.0) + value
    return total
