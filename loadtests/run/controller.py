"""Lead a load through its phases: which commands to send, and what to wait for; no I/O.

A load is a flow of actions. Its leader, a fleet with asyncio or Locust's master with gevent,
carries out the actions in order, sends the result of each back into the flow, and reports to the
:class:`Controller` what it hears in the meantime. There are three kinds of load:

- a fixed load: open in steps, each followed by settle; measure; drain, if the target is to be
  stopped; collect (:meth:`Controller.fixed`);
- a live load, in which connections come and go until it is ended (:meth:`Controller.live`);
- a live load of rounds, each with the same connections throughout and with a ledger that is closed
  before the next begins (:meth:`Controller.rounds`).

Each is followed by :meth:`Controller.close`.
"""

from collections.abc import Callable, Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any, Final

from loadtests.plan.plan import Plan
from loadtests.run.commands import (
    Close,
    Collect,
    Command,
    End,
    ExpectEnd,
    Measure,
    Open,
    Return,
    SeeOff,
    Serve,
    Settle,
    TakePart,
)
from loadtests.run.roster import Member, Roster
from loadtests.scenarios.registry import scenario_kind
from loadtests.scenarios.scenario import Published
from reports.summary import (
    MARK_MEASURE_BEGIN,
    MARK_MEASURE_END,
    MARK_START,
    MARK_STEP,
)

# How long a load whose clients return may still wait for them after its end.
_RETURN_SECONDS: Final = 60.0


@dataclass(frozen=True, slots=True)
class Send:
    """Send a command to one swarm process."""

    member: Member
    command: Command


@dataclass(frozen=True, slots=True)
class Hold:
    """Hold back changes to a swarm process's number of connections, or stop doing so."""

    member: Member
    is_held: bool


@dataclass(frozen=True, slots=True)
class Enter:
    """Begin a phase."""

    phase: str
    detail: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Read:
    """Take a reading of everything that is watched."""

    mark: str


@dataclass(frozen=True, slots=True)
class Wait:
    """Wait until a condition holds, but no longer than ``seconds``, if given."""

    holds: Callable[[], bool]
    seconds: float | None = None


@dataclass(frozen=True, slots=True)
class Moment:
    """Wait until anything is reported, or for a moment."""


@dataclass(frozen=True, slots=True)
class Synchronise:
    """Adopt what is known by now about the clock of a swarm process."""

    member: Member


@dataclass(frozen=True, slots=True)
class CloseLedger:
    """Close the ledger: none of the measured load's messages will arrive any more."""


@dataclass(frozen=True, slots=True)
class Signal:
    """Ask the target to stop; the result is when, in nanoseconds of the leader's clock.

    Attributes:
        connected: how many connections are open.
    """

    connected: int


@dataclass(frozen=True, slots=True)
class Depart:
    """Wait for the target to end; the result is whether to start it again."""


@dataclass(frozen=True, slots=True)
class Restart:
    """Start the target again; the result is when it was back, in nanoseconds."""


Action = (
    Send
    | Hold
    | Enter
    | Read
    | Wait
    | Moment
    | Synchronise
    | CloseLedger
    | Signal
    | Depart
    | Restart
)
Flow = Generator[Action, Any, None]


@dataclass(frozen=True, slots=True)
class Patience:
    """How long to wait for swarm processes, and how early to notify them.

    Attributes:
        lead_ns: how long before a load they are notified, so that all begin it at one moment.
        end_seconds: how long ending a load may take, beyond the waits that occur anyway.
        close_seconds: how long closing all connections may take.
    """

    lead_ns: int
    end_seconds: float
    close_seconds: float = 20.0


class Controller:
    """The controller of the swarm processes of one load.

    Attributes:
        roster: the swarm processes, and what they have reported.
        losses: what the generator lost, one sentence each.
        is_ending: whether the load must end now, or has ended early.
        is_changing: whether, in a load of rounds, the number of connections is about to change.
    """

    def __init__(self, plan: Plan, now_ns: Callable[[], int], patience: Patience) -> None:
        """Begin with no processes.

        Args:
            plan: the load.
            now_ns: the leader's clock.
            patience: how long to wait.
        """
        self.roster = Roster()
        self.losses: list[str] = []
        self.is_ending = False
        self.is_changing = False
        self._plan = plan
        self._now_ns = now_ns
        self._patience = patience
        self._seeds = count(plan.seed)
        self._open_at_step: int | None = None

    def lose(self, member: Member, *, how: str, why: str, connections: int) -> bool:
        """Continue without a process that ended in mid-run; return whether any is left.

        Args:
            member: the process.
            how: how it ended.
            why: its last words, if any.
            connections: how many it had open.
        """
        member.is_lost = True
        member.open = member.pending = 0
        self.losses.append(
            f"{member.name} {how} ({why or 'it printed nothing'}); its {connections:,} connections "
            "are lost by the generator, not by the server"
        )
        is_any_left = any(self.roster.living())
        if not (is_any_left or self.is_ending):
            self.losses.append("no swarm process is left")
        return is_any_left

    def fixed(self, has_opened: Callable[[], bool], drain_seconds: float | None = None) -> Flow:
        """Lead a load whose connections are opened first.

        Args:
            has_opened: whether any connection was ever opened; without one there is no load.
            drain_seconds: how long the target may take to stop, if it is asked to after the load.
        """
        yield self._until_all("ready")
        if self.is_ending:
            return
        yield Read(MARK_START)
        if self._plan.population is None:
            for stage in self._plan.stages():
                yield from self._open(stage)
            if self.is_ending or not has_opened():
                return
        yield Enter("measure", {"seconds": self._plan.duration_seconds})
        # Before the load, not during it, which it would disturb.
        yield Read(MARK_MEASURE_BEGIN)
        yield from self._begin(tuple(self.roster.living()))
        yield Wait(lambda: self.is_ending or self.roster.all_measuring_reported("measured"))
        yield from self._end_load(self._plan.collect_seconds + self._patience.end_seconds)
        published = self.roster.published("measured")
        if drain_seconds is not None and not self.is_ending:
            yield from self._drain(drain_seconds)
            if self.is_ending:
                return
            published = self.roster.published("drained")
        yield from self._begin_to_collect(published)
        yield Wait(lambda: self.is_ending or self.roster.all_measuring_reported("collected"))
        yield from self._collect()

    def live(self, is_complete: Callable[[], bool]) -> Flow:
        """Lead a load in which connections come and go, until it is ended.

        Args:
            is_complete: whether all connections wanted for now are there.
        """
        yield Enter("measure")
        yield Read(MARK_MEASURE_BEGIN)
        while not self.is_ending:
            for member in tuple(self.roster.living()):
                if not member.is_measuring and "ready" in member.reports:
                    yield from self._begin((member,))
            yield from self._share_anew()
            yield from self._read_step(is_complete)
            yield Moment()
        # More may still be ordered.
        yield from self._hold(is_held=True)
        yield from self._end_load(self._patience_with_clients())
        yield from self._begin_to_collect(self.roster.published("measured"))
        yield from self._collect()

    def rounds(self, is_complete: Callable[[], bool]) -> Flow:
        """Lead a load of rounds until it is ended; ``is_complete`` is as in :meth:`live`."""
        while not self.is_ending:
            yield from self._gather(is_complete)
            if not self._may_begin(is_complete):
                continue
            members = sorted(self.roster.living(), key=lambda member: not member.open)
            seed = next(self._seeds)
            yield from self._serve(members, seed)
            if not self._is_called_off() and all(_serves(it, seed) for it in members):
                yield from self._round(members, is_complete)

    def _round(self, members: Sequence[Member], is_complete: Callable[[], bool]) -> Flow:
        """Run the load on these members for its duration, and close its ledger."""
        yield Enter("measure", {"seconds": self._plan.duration_seconds})
        yield from self._read_step(is_complete)
        yield Read(MARK_MEASURE_BEGIN)
        yield from self._begin(members)
        yield Wait(
            lambda: self._is_called_off() or self.roster.all_measuring_reported("measured"),
            self._plan.duration_seconds + self._patience.end_seconds,
        )
        yield from self._end_load(self._patience_with_clients())
        yield from self._begin_to_collect(self.roster.published("measured"))
        yield from self._collect()
        yield Enter("open")

    def close(self, over_seconds: float) -> Flow:
        """Make every process close its connections over the given time, and end."""
        yield Enter("close")
        yield from self._send_to_all(Close(0.0 if self.is_ending else over_seconds))
        seconds = over_seconds + self._patience.close_seconds
        yield Wait(lambda: not any(self.roster.living()), seconds)

    def _open(self, stage: int) -> Flow:
        """Open connections until there are ``stage``, and let everything settle."""
        if self.is_ending:
            return
        yield Enter("open", {"connections": stage})
        total = self._plan.connections
        for member in self.roster.living():
            yield Send(member, Open(member.share.reached(stage, total)))
        yield self._until_all("opened")
        if self.is_ending:
            return
        self.roster.take("opened")
        yield Enter("settle")
        yield from self._send_to_all(Settle(is_last=stage == total))
        yield Wait(lambda: self.is_ending, self._plan.settle_seconds)
        yield self._until_all("settled")
        self.roster.take("settled")
        if not self.is_ending:
            yield Read(MARK_STEP)

    def _begin(self, members: Iterable[Member]) -> Flow:
        """Begin the load on these members, at the same moment."""
        start_ns = self._now_ns() + self._patience.lead_ns
        for member in members:
            member.is_measuring = True
            member.reports.pop("measured", None)
            yield Send(member, Measure(start_ns + member.clock_ns))

    def _end_load(self, seconds: float) -> Flow:
        """Wait for the end of the load; ask for it if it has not come by itself.

        Args:
            seconds: how long it may take to end once asked to.
        """
        if not self.roster.all_measuring_reported("measured"):
            yield from self._send_to_all(End())
        yield Wait(lambda: self.roster.all_measuring_reported("measured"), seconds)
        yield Read(MARK_MEASURE_END)

    def _patience_with_clients(self) -> float:
        """Return how long a live load may take to end, as clients may still be away."""
        comes_back = scenario_kind(self._plan.scenario).comes_back
        return self._patience.end_seconds + (_RETURN_SECONDS if comes_back else 0.0)

    def _begin_to_collect(self, published: Mapping[str, Published]) -> Flow:
        """Make all processes wait for what is under way, and close their ledgers."""
        yield Enter("collect")
        for member in self.roster.living():
            yield Send(member, Collect(published.get(member.share.user, {})))

    def _collect(self) -> Flow:
        """Wait until all ledgers are closed, but not forever."""
        seconds = self._plan.collect_seconds + self._patience.end_seconds
        yield Wait(lambda: self.roster.all_measuring_reported("collected"), seconds)
        self.roster.take("collected")
        for member in self.roster.members.values():
            member.is_measuring = False
        yield CloseLedger()

    def _drain(self, seconds: float) -> Flow:
        """Ask the target to stop, and make all processes observe how it does."""
        yield Enter("drain", {"seconds": seconds})
        yield from self._send_to_all(ExpectEnd())
        yield self._until_all("expecting")
        if self.is_ending:
            return
        connected = sum(detail["open"] for _, detail in self.roster.take("expecting"))
        signal_ns = yield Signal(connected)
        yield from self._send_to_all(SeeOff(signal_ns))
        yield self._until_all("drained")
        if self.is_ending or not (yield Depart()):
            return
        yield Enter("return")
        restarted_ns = yield Restart()
        yield from self._send_to_all(Return(restarted_ns))
        yield self._until_all("returned")

    def _gather(self, is_complete: Callable[[], bool]) -> Flow:
        """Wait until all connections are there, and hold back further changes."""
        yield from self._hold(is_held=False)
        self.is_changing = False
        while not (self.is_ending or self._has_settled(is_complete)):
            yield Moment()
        if self.is_ending:
            return
        yield from self._hold(is_held=True)
        seconds = self._patience.end_seconds
        yield Wait(lambda: all(it.is_held for it in self.roster.living()), seconds)

    def _may_begin(self, is_complete: Callable[[], bool]) -> bool:
        """Return whether a round may begin: a change that was under way comes first."""
        return self._has_settled(is_complete) and not self._is_called_off()

    def _serve(self, members: Sequence[Member], seed: int) -> Flow:
        """Make all members await the round's messages, before the first is published.

        No member is measured unless all await: what one did not await would count as lost.
        """
        plan = replace(
            self._plan,
            connections=max(1, sum(member.open for member in members)),
            processes=len(members),
            seed=seed,
        )
        for number, member in enumerate(members):
            yield Synchronise(member)
            share = replace(member.share, plan=plan, process=number)
            yield Send(member, Serve(share, seed - self._plan.seed))

        def waiting() -> list[Member]:
            return [it for it in members if it.is_living and not _serves(it, seed)]

        seconds = self._patience.end_seconds
        yield Wait(lambda: self._is_called_off() or not waiting(), seconds)
        if not self._is_called_off():
            self.losses += [
                f"{member.name} did not begin a round within {seconds:.0f} s"
                for member in waiting()
            ]

    def _is_called_off(self) -> bool:
        """Return whether a round must not begin, or must end early."""
        return self.is_ending or self.is_changing

    def _hold(self, *, is_held: bool) -> Flow:
        for member in self.roster.living():
            member.is_held = False
            yield Hold(member, is_held)

    def _share_anew(self) -> Flow:
        """Give all members their parts of the rate that all connections share."""
        living = tuple(self.roster.living())
        total = sum(member.open for member in living)
        for member in living:
            part = round(member.open / total, 4) if total else 1 / len(living)
            if part != member.part:
                member.part = part
                yield Send(member, TakePart(part))

    def _read_step(self, is_complete: Callable[[], bool]) -> Flow:
        """Read memory when the number of connections has settled at a new value, for its slope."""
        at = sum(member.open for member in self.roster.living())
        if self._has_settled(is_complete) and at != self._open_at_step:
            self._open_at_step = at
            yield Read(MARK_STEP)

    def _has_settled(self, is_complete: Callable[[], bool]) -> bool:
        living = tuple(self.roster.living())
        return (
            is_complete()
            and all("ready" in it.reports and it.is_settled for it in living)
            and any(it.open for it in living)
        )

    def _until_all(self, name: str) -> Wait:
        """Return a wait until every living process has reported ``name``, or the load must end."""
        return Wait(lambda: self.is_ending or self.roster.all_reported(name))

    def _send_to_all(self, command: Command) -> Flow:
        for member in self.roster.living():
            yield Send(member, command)


def _serves(member: Member, seed: int) -> bool:
    """Return whether a process runs and awaits the round with this seed."""
    return member.is_living and member.reports.get("serving", {}).get("seed") == seed
