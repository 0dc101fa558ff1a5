"""The controller leads any load to its end, in whatever order things happen and go wrong."""

import heapq
import re
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from loadtests.plan.plan import Endpoint, Plan, ProcessPlan, processes_of
from loadtests.plan.stages import parse_stages
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
    command_as_data,
    command_of_data,
    decode_command,
    encode_command,
)
from loadtests.run.controller import (
    Action,
    Controller,
    Depart,
    Enter,
    Flow,
    Hold,
    Moment,
    Patience,
    Restart,
    Send,
    Signal,
    Wait,
)
from loadtests.run.roster import Member

PATIENCE = Patience(lead_ns=50_000_000, end_seconds=5.0)
# As the fleet ends whoever says nothing.
SILENT_SECONDS = 60.0
MOST_SECONDS = 1e5
ANSWERS = {
    Open: "opened",
    Settle: "settled",
    Serve: "serving",
    ExpectEnd: "expecting",
    SeeOff: "drained",
    Return: "returned",
    Collect: "collected",
}


@dataclass(frozen=True)
class Script:
    """What goes wrong, and when.

    Attributes:
        delays: in seconds, after which processes say something, in turn.
        losses: at which second which process is lost.
        mute: a process and the command that it never answers.
        end: when the load is to end.
        changes: when the number of connections is to change.
    """

    delays: tuple[float, ...] = (0.1,)
    losses: tuple[tuple[float, int], ...] = ()
    mute: tuple[int, type[Command]] | None = None
    end: float | None = None
    changes: tuple[float, ...] = ()


@dataclass
class World:
    """Processes that answer after a while, by a clock that goes on only when it is waited for."""

    plan: Plan
    script: Script
    now_ns: int = 0
    due: list[tuple[int, int, Callable[[], None]]] = field(default_factory=list)
    log: list[Any] = field(default_factory=list)
    turns: Any = field(default_factory=count)
    published: list[str] = field(default_factory=list)
    awaited: list[set[int]] = field(default_factory=list)
    measured: Counter[int] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.controller = Controller(self.plan, lambda: self.now_ns, PATIENCE)
        for share in processes_of(self.plan, Endpoint("127.0.0.1", 1), (), 0):
            number = share.process
            member = Member(number, f"swarm process {number}", share, clock_ns=number * 10**9)
            member.open = 1
            self.controller.roster.add(member)
            self.say(member, "ready")
        for seconds, number in self.script.losses:
            if number < self.plan.processes:
                self.at(seconds, lambda number=number: self.lose(number))
        if self.script.end is not None:
            self.at(self.script.end, lambda: setattr(self.controller, "is_ending", True))
        for seconds in self.script.changes:
            self.at(seconds, lambda: setattr(self.controller, "is_changing", True))

    @property
    def members(self) -> dict[int, Member]:
        return self.controller.roster.members

    def at(self, seconds: float, do: Callable[[], None]) -> None:
        heapq.heappush(self.due, (round(seconds * 1e9), next(self.turns), do))

    def later(self, do: Callable[[], None], seconds: float = 0.0) -> None:
        delay = self.script.delays[next(self.turns) % len(self.script.delays)]
        self.at(self.now_ns / 1e9 + seconds + delay, do)

    def say(self, member: Member, name: str, seconds: float = 0.0, **detail: Any) -> None:
        self.later(lambda: self.hear(member, name, detail), seconds)

    def hear(self, member: Member, name: str, detail: dict[str, Any]) -> None:
        if member.is_living:
            if name == "measured":
                self.published += detail["published"]["sent"]
            member.receive(name, detail)

    def lose(self, number: int) -> None:
        member = self.members[number]
        if member.is_living:
            how = "ended"
            left = self.controller.lose(member, how=how, why="it was so", connections=member.open)
            if not left:
                self.controller.is_ending = True

    def take(self, member: Member, command: Command) -> None:
        """Answer a command as a swarm process does, in time."""
        if self.script.mute == (member.process, type(command)):
            self.at(self.now_ns / 1e9 + SILENT_SECONDS, lambda: self.lose(member.process))
            return
        self.measured[member.process] += isinstance(command, Measure)
        sent = {"sent": [f"{member.process}.{self.measured[member.process]}"]}
        match command:
            case Measure():
                length = min(self.plan.duration_seconds, MOST_SECONDS)
                self.say(member, "measured", length, published=sent)
            case End() if member.is_measuring and "measured" not in member.reports:
                self.say(member, "measured", published=sent)
            case Serve(share, _):
                self.say(member, "serving", seed=share.plan.seed)
            case Close():
                self.later(lambda: setattr(member, "has_ended", True))
            case SeeOff():
                self.say(member, "drained", published=sent)
            case _ if type(command) in ANSWERS:
                self.say(member, ANSWERS[type(command)], open=1)

    def wait(self, holds: Callable[[], bool], seconds: float | None) -> None:
        end_ns = round((MOST_SECONDS if seconds is None else seconds) * 1e9) + self.now_ns
        while not holds():
            if not self.due or self.due[0][0] > end_ns:
                assert seconds is not None, f"waited for ever after {self.log[-3:]}"
                self.now_ns = end_ns
                return
            at_ns, _, do = heapq.heappop(self.due)
            self.now_ns = max(self.now_ns, at_ns)
            do()

    def carry(self, flow: Flow) -> None:
        result: Any = None
        while True:
            try:
                action = flow.send(result)
            except StopIteration:
                return
            self.log.append(action)
            result = self.do(action)

    def do(self, action: Action) -> int | bool | None:
        if isinstance(action, Signal | Restart | Depart):
            return True if isinstance(action, Depart) else self.now_ns
        match action:
            case Send(member, command):
                assert member.is_living, f"{command} was sent to one that has ended"
                self.take(member, command)
            case Hold(member, is_held):
                self.later(lambda member=member, is_held=is_held: self.hold(member, is_held))
            case Wait(holds, seconds):
                self.wait(holds, seconds)
            case Moment():
                self.wait(lambda: False, 0.1)
            case Enter("measure"):
                living = self.controller.roster.living()
                rounds = [it.reports.get("serving", {}) for it in living]
                self.awaited.append({it.get("seed", 0) for it in rounds})
        return None

    def hold(self, member: Member, is_held: bool) -> None:
        member.is_held = is_held

    def lead(self, kind: str, **options: Any) -> None:
        """Lead a load to its end."""
        controller = self.controller
        flows = {
            "fixed": lambda: controller.fixed(lambda: True, **options),
            "live": lambda: controller.live(lambda: True),
            "rounds": lambda: controller.rounds(lambda: True),
        }
        self.carry(flows[kind]())
        self.carry(controller.close(0.0))

    def phases(self) -> str:
        return " ".join(it.phase for it in self.log if isinstance(it, Enter))

    def commands(self, kind: type[Command]) -> list[tuple[int, Any]]:
        return [
            (it.member.process, it.command)
            for it in self.log
            if isinstance(it, Send) and isinstance(it.command, kind)
        ]


def plan(kind: str, processes: int = 2, **changes: Any) -> Plan:
    lasting = {"live": True, "duration_seconds": 1e9} if kind == "live" else {}
    in_rounds = {"live": True, "rounds": True} if kind == "rounds" else {}
    values = {
        "url": "ws://127.0.0.1:1/",
        "connections": 10 * processes,
        "scenario": "broadcast",
        "parameters": {},
        "processes": processes,
        "duration_seconds": 3.0,
    }
    return Plan(**(values | lasting | in_rounds | changes))


SECONDS = st.floats(0, 90)
SCRIPTS = st.builds(
    Script,
    delays=st.lists(st.floats(0, 2), min_size=1, max_size=8).map(tuple),
    losses=st.lists(st.tuples(SECONDS, st.integers(0, 3)), max_size=3).map(tuple),
    mute=st.none()
    | st.tuples(st.integers(0, 3), st.sampled_from([Open, Settle, Measure, Collect, Serve, Close])),
    end=SECONDS,
    changes=st.lists(SECONDS, max_size=3).map(tuple),
)
GRAMMAR = {
    "fixed": r"(open settle )*((open )?|measure (drain (return )?)?(collect )?)close",
    "live": r"measure collect close",
    "rounds": r"(measure collect open )*close",
}


@given(
    kind=st.sampled_from([*GRAMMAR]),
    processes=st.integers(1, 4),
    steps=st.integers(1, 3),
    script=SCRIPTS,
    drains=st.booleans(),
    never_ends=st.booleans(),
)
@settings(deadline=None, max_examples=400)
def test_whatever_happens_the_load_comes_to_its_end_in_order(
    kind: str, processes: int, steps: int, script: Script, *, drains: bool, never_ends: bool
) -> None:
    if kind == "fixed" and never_ends:
        script = replace(script, end=None)
    world = World(plan(kind, processes, steps=steps), script)
    world.lead(kind, **({"drain_seconds": 9.0} if drains and kind == "fixed" else {}))

    assert re.fullmatch(GRAMMAR[kind], world.phases()), world.phases()
    asked = [number for number, _ in world.commands(Close)]
    assert len(set(asked)) == len(asked), "all are asked to close once"
    lost = {number for number, it in world.members.items() if it.is_lost}
    assert {*asked} | lost == {*world.members}

    # All begin a load at one moment of the leader's clock, each by its own.
    starts = [(number, it.start_ns - number * 10**9) for number, it in world.commands(Measure)]
    if kind != "live":
        assert len({start_ns for _, start_ns in starts}) == world.phases().count("measure")
    assert {start_ns >= PATIENCE.lead_ns for _, start_ns in starts} <= {True}
    numbers = [(number, start_ns) for number, start_ns in starts]
    assert len(set(numbers)) == len(numbers)


@given(processes=st.integers(1, 4), script=SCRIPTS)
@settings(deadline=None, max_examples=200)
def test_what_is_collected_is_what_all_have_published(processes: int, script: Script) -> None:
    world = World(plan("fixed", processes), replace(script, end=None, mute=None))
    world.lead("fixed")
    for _, collect in world.commands(Collect):
        assert sorted(collect.published["sent"]) == sorted(world.published)


@given(script=SCRIPTS)
@settings(deadline=None, max_examples=200)
def test_nobody_is_measured_in_a_round_that_one_does_not_await(script: Script) -> None:
    world = World(plan("rounds", 3), replace(script, losses=()))
    world.lead("rounds")
    seeds = [{it.share.plan.seed for _, it in world.commands(Serve)}]
    assert all(len(awaited) == 1 and awaited <= seeds[0] for awaited in world.awaited)


@pytest.mark.parametrize("end", [0.0, 0.5, 1.5])
def test_a_load_that_is_ended_before_it_begins_is_not_begun(end: float) -> None:
    world = World(plan("fixed", settle_seconds=1.0), Script(delays=(0.5,), end=end))
    world.lead("fixed")
    assert not world.commands(Measure)
    assert not world.commands(Collect)
    assert world.commands(Close) == [(0, Close(0.0)), (1, Close(0.0))]


def test_a_load_that_is_ended_early_is_cut_and_its_ledger_closed() -> None:
    world = World(plan("fixed", duration_seconds=1000.0), Script(end=100.0))
    world.lead("fixed")
    assert [number for number, _ in world.commands(End)] == [0, 1]
    assert len(world.commands(Collect)) == 2
    assert world.now_ns < 120e9
    assert world.controller.losses == []


def test_users_of_several_kinds_that_come_and_go_by_stages_are_led_like_a_fixed_load() -> None:
    mixed = plan("fixed", scenario="hold+echo", live=True, population=parse_stages("5 for 3s"))
    world = World(mixed, Script())
    world.lead("fixed")
    assert world.phases() == "measure collect close"
    assert len(world.commands(Measure)) == len(world.commands(Collect)) == 2


def test_a_load_goes_on_without_a_process_that_is_lost_and_says_so() -> None:
    world = World(plan("fixed", 3, duration_seconds=50.0), Script(losses=((20.0, 1),)))
    world.lead("fixed")
    assert [number for number, _ in world.commands(Collect)] == [0, 2]
    assert world.controller.losses == [
        (
            "swarm process 1 ended (it was so); its 1 connections are lost by the generator, not "
            "by the server"
        )
    ]


def test_a_load_ends_where_no_process_is_left() -> None:
    world = World(plan("fixed", duration_seconds=50.0), Script(losses=((20.0, 0), (21.0, 1))))
    world.lead("fixed")
    assert world.controller.losses[-1] == "no swarm process is left"
    assert world.commands(Close) == []
    assert world.now_ns < 40e9


def test_the_target_is_drained_and_comes_back_before_the_ledger_is_closed() -> None:
    world = World(plan("fixed"), Script())
    world.lead("fixed", drain_seconds=9.0)
    assert world.phases() == "open settle measure drain return collect close"
    assert [it.connected for it in world.log if isinstance(it, Signal)] == [2]
    # What was published after the signal is in what all await.
    assert sorted(world.commands(Collect)[0][1].published["sent"]) == ["0.1", "1.1"]


def test_a_rate_of_all_is_shared_anew_when_connections_come_and_go() -> None:
    world = World(plan("live", scenario="echo", rate=10.0), Script(end=10.0))
    world.members[0].open = 3
    world.at(
        5.0, lambda: world.members[0].receive("population", {"open": 0, "pending": 0, "order": 0})
    )
    world.lead("live")
    assert [(number, it.part) for number, it in world.commands(TakePart)] == [
        (0, 0.75), (1, 0.25), (0, 0.0), (1, 1.0),
    ]  # fmt: skip


def test_who_comes_late_is_begun_with_when_it_is_ready() -> None:
    world = World(plan("live"), Script(end=30.0))
    late = Member(7, "swarm process 7 on there", replace(world.members[0].share, process=7))
    world.at(9.0, lambda: world.controller.roster.add(late))
    world.at(12.0, lambda: late.receive("ready", {}))
    world.lead("live")
    starts = {number: it.start_ns for number, it in world.commands(Measure)}
    assert 12e9 <= starts[7] < 13e9


def test_all_give_a_round_the_same_number_also_who_came_late() -> None:
    """Its broadcasts go by it: what one process received belongs with what the others did."""
    world = World(plan("rounds"), Script(end=60.0))
    late = Member(7, "swarm process 7 on there", replace(world.members[0].share, process=7))
    late.open = 1
    world.at(20.0, lambda: world.controller.roster.add(late))
    world.at(21.0, lambda: late.receive("ready", {}))
    world.lead("rounds")
    by_seed: dict[int, set[int]] = {}
    for _, command in world.commands(Serve):
        by_seed.setdefault(command.share.plan.seed, set()).add(command.number)
    assert 7 in {number for number, _ in world.commands(Serve)}
    assert [*by_seed.values()] == [{number} for number in range(len(by_seed))]


COMMANDS = st.one_of(
    st.builds(Open, st.integers(0, 10**6)),
    st.builds(Settle, st.booleans()),
    st.builds(Measure, st.integers(0, 2**63)),
    st.builds(End),
    st.builds(ExpectEnd),
    st.builds(SeeOff, st.integers(0, 2**63)),
    st.builds(Return, st.integers(0, 2**63)),
    st.builds(Collect, st.dictionaries(st.text(), st.lists(st.integers()) | st.integers())),
    st.builds(Close, st.floats(0, 100)),
    st.builds(Add, st.integers(1, 10**6), st.floats(0, 10), st.integers(0, 10**6)),
    st.builds(Remove, st.integers(1, 10**6), st.integers(0, 10**6)),
    st.builds(TakePart, st.floats(0, 1)),
)


@given(COMMANDS)
def test_a_command_is_read_as_it_was_written(command: Command) -> None:
    assert decode_command(encode_command(command)) == command
    assert command_of_data(command_as_data(command)) == command


def test_a_share_is_read_as_it_was_written() -> None:
    share = ProcessPlan(plan("rounds", rate=5.0), 1, Endpoint("::1", 9), ("127.0.0.2",), 5)
    for command in (Prepare(share), Serve(share, 3)):
        by_line = decode_command(encode_command(command))
        by_data = command_of_data(command_as_data(command))
        assert isinstance(by_line, type(command))
        assert by_line == by_data
        # Kinds of users, of which a share has none, are not looked at.
        read = by_line.share
        assert replace(read, plan=replace(read.plan, users=())) == share
