"""Connections come and go by stages, as many as are asked for at each moment."""

import asyncio
from collections.abc import Callable
from itertools import pairwise
from time import perf_counter_ns

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.http11 import Request

from loadtests.errors import UsageError
from loadtests.measure.load_window import LoadWindow
from loadtests.measure.recorder import Recorder
from loadtests.plan.plan import Endpoint, Plan, processes_of
from loadtests.plan.schedule import share as part_of
from loadtests.plan.stages import Stage, Stages, are_stages, parse_stages
from loadtests.scenarios.registry import make_scenario
from reports.outcome import ExitStatus
from reports.run_outcome import outcome_of
from reports.summary import Summary
from tests.loadtests.conftest import DEADLINE_SECONDS, LOSSY_COLLECT_SECONDS, Run

COUNTS = st.integers(0, 5_000)
STAGES = (
    st.lists(st.builds(Stage, COUNTS, COUNTS, st.integers(1, 100).map(float), st.booleans()))
    .map(lambda stages: Stages(tuple(stages)))
    .filter(lambda stages: stages.stages and stages.most)
)


@pytest.mark.parametrize(
    ("text", "stages"),
    [
        (
            "0..2k in 30s, 2k for 1m, 5k in 5s, 500 for 30s",
            [Stage(0, 2000, 30), Stage(2000, 2000, 60), Stage(2000, 5000, 5), Stage(500, 500, 30)],
        ),
        ("10 in 1s", [Stage(0, 10, 1)]),
        ("10 for 1s, 4..6 in 2s", [Stage(10, 10, 1), Stage(4, 6, 2)]),
        ("+50/s for 1m poisson, 0 in 20s", [Stage(0, 3000, 60, True), Stage(3000, 0, 20)]),
        ("5..5 for 1s, +2/s for 500ms", [Stage(5, 5, 1), Stage(5, 6, 0.5)]),
    ],
)
def test_stages_are_read_as_they_are_written(text: str, stages: list[Stage]) -> None:
    assert are_stages(text)
    assert parse_stages(text) == Stages(tuple(stages))


@given(STAGES)
def test_what_is_written_is_read_again(stages: Stages) -> None:
    again = parse_stages(str(stages))
    assert (again.seconds, again.most, again.openings) == (
        stages.seconds,
        stages.most,
        stages.openings,
    )


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("soon for 1s", "'soon' is not a count"),
        ("5 for ever", "'ever' is not"),
        ("5 for 0s", "has no duration"),
        ("-5 for 1s", "never|negative|not a count"),
        ("0 for 1s", "never has a connection"),
        ("5 for 1s,", "is not a stage; write stages like 0..2k in 30s"),
        ("+5 in", "is not a stage"),
    ],
)
def test_what_is_no_stage_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_stages(text)


@pytest.mark.parametrize("text", ["10k", "1", "100"])
def test_a_number_is_no_stages(text: str) -> None:
    assert not are_stages(text)


@given(STAGES, st.integers(1, 7))
def test_the_parts_of_all_processes_are_the_whole(stages: Stages, processes: int) -> None:
    parts = [stages.part(processes, number) for number in range(processes)]
    for number, stage in enumerate(stages.stages):
        assert sum(part.stages[number].begin for part in parts) == stage.begin
        assert sum(part.stages[number].end for part in parts) == stage.end
    assert sum(part.openings for part in parts) == stages.openings
    assert {part.seconds for part in parts} == {stages.seconds}


@given(
    st.builds(Stage, COUNTS, COUNTS, st.integers(1, 100).map(float), st.booleans()), st.integers()
)
def test_all_who_arrive_do_so_in_order_and_within_their_stage(stage: Stage, seed: int) -> None:
    arrivals = list(stage.arrivals(seed))
    assert len(arrivals) == max(0, stage.end - stage.begin)
    assert all(before <= after for before, after in pairwise(arrivals))
    assert all(0 <= arrival <= stage.seconds for arrival in arrivals)
    assert arrivals == list(stage.arrivals(seed))


class Seen:
    """How many clients a server had, each time that one came or went."""

    def __init__(self) -> None:
        self.now = self.handshakes = self.messages = 0
        self.counts: list[int] = []

    async def serve(self, connection: ServerConnection) -> None:
        self.handshakes += 1
        self._note(1)
        try:
            async for message in connection:
                self.messages += 1
                await connection.send(message)
        finally:
            self._note(-1)

    def _note(self, change: int) -> None:
        self.now += change
        self.counts.append(self.now)

    def peaks_and_lows(self) -> list[int]:
        """Return where it turned, from growing to falling or back."""
        counts = [0, *self.counts]
        turns = zip(counts, counts[1:], counts[2:], strict=False)
        return [at for before, at, after in turns if (at - before) * (after - at) < 0]


@pytest.mark.parametrize("processes", [1, 2])
@pytest.mark.parametrize("load", [{"scenario": "hold"}, {"scenario": "echo", "rate": 100.0}])
async def test_a_server_sees_as_many_as_were_asked_for(
    run: Run, load: dict[str, object], processes: int
) -> None:
    seen = Seen()
    population = parse_stages("8 in 0.5s, 8 for 0.5s, 2..2 for 0.5s, 6 in 0.5s poisson, 6 for 1s")
    async with serve(seen.serve, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        summary = await run(
            f"ws://127.0.0.1:{port}/",
            connections=population.most,
            population=population,
            live=True,
            duration_seconds=population.seconds,
            processes=processes,
            **load,
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            while seen.now:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
    assert summary.valid, summary.reasons
    assert outcome_of(summary).status is ExitStatus.HELD
    figures = summary.figures
    assert figures["connections.opened"] == figures["connections.requested"] == 12
    assert seen.handshakes == population.openings == 12
    assert seen.peaks_and_lows() == [8, 2, 6]
    assert figures["arrival.count"] == 12
    assert figures["arrival.p50_seconds"] > 0
    assert figures["connections.open"] == 6
    assert summary.close_codes == {1000: 12}
    if "rate" in load:
        assert figures["messages.sent"] == seen.messages == figures["integrity.expected"] > 0
        assert figures["integrity.lost"] == 0


class Hall:
    """Sends everything to everyone who is here, but for what ``loses`` says of a delivery.

    Attributes:
        delivered, lost: how many deliveries were made, and how many were held back.
    """

    def __init__(self, loses: Callable[[int, int], bool] = lambda _message, _guest: False) -> None:
        self._loses = loses
        self._here: dict[ServerConnection, int] = {}
        self._came = self._messages = 0
        self.delivered = self.lost = 0

    async def serve(self, connection: ServerConnection) -> None:
        self._here[connection] = self._came
        self._came += 1
        try:
            async for message in connection:
                self._messages += 1
                self._deliver(message)
        finally:
            del self._here[connection]

    def _deliver(self, message: str | bytes) -> None:
        reached = [it for it, guest in self._here.items() if not self._loses(self._messages, guest)]
        broadcast(reached, message)
        self.delivered += len(reached)
        self.lost += len(self._here) - len(reached)


ALL_COME_AND_GO = "10 in 0.5s, 10 for 0.5s, 4..4 for 0.5s, 8 in 0.5s poisson, 8 for 1s"


async def _in_a_hall(
    run: Run, hall: Hall, scenario: str, processes: int = 1, **changes: float
) -> Summary:
    population = parse_stages(ALL_COME_AND_GO)
    async with serve(hall.serve, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        summary = await run(
            f"ws://127.0.0.1:{port}/",
            scenario,
            connections=population.most,
            population=population,
            live=True,
            duration_seconds=population.seconds,
            processes=processes,
            rate=40.0,
            parameters={"publishers": 2} if scenario == "chat" else {},
            **changes,
        )
    assert summary.valid, summary.reasons
    assert summary.figures["connections.opened"] == population.openings == 14
    return summary


# What is lost never comes, and would be waited for.
LOSSY = {"collect_seconds": LOSSY_COLLECT_SECONDS}

both = pytest.mark.parametrize("scenario", ["broadcast", "chat"])


@given(STAGES, st.integers(1, 5), st.floats(-1, 600))
def test_the_numbers_of_all_processes_at_a_moment_are_the_wholes(
    stages: Stages, processes: int, seconds: float
) -> None:
    parts = [stages.part(processes, number).at(seconds) for number in range(processes)]
    # Each is rounded by itself in the middle of a stage.
    assert abs(sum(parts) - stages.at(seconds)) <= processes
    assert 0 <= stages.at(seconds) <= stages.most
    assert stages.at(stages.seconds + 1) == stages.stages[-1].end


# Never where a stage ends, for those are of whole seconds.
MOMENTS = st.integers(0, 600).map(lambda whole: whole + 0.5)


@given(STAGES, st.integers(1, 5), MOMENTS, st.none() | st.integers(1, 6000))
def test_a_rate_of_all_is_shared_by_those_that_are_there(
    stages: Stages, processes: int, seconds: float, active: int | None
) -> None:
    """Where some processes have nobody yet, the others send what is theirs."""
    active = None if active is None else min(active, stages.most)
    plan = Plan(
        *("ws://127.0.0.1:9/", max(stages.most, processes), "echo", {"active": active}),
        population=stages,
        processes=processes,
        rate=40.0,
        live=True,
    )
    begin_ns = perf_counter_ns() - round(seconds * 1e9)
    load = LoadWindow(begin_ns, begin_ns + round(stages.seconds * 1e9))
    rates = []
    for share in processes_of(plan, Endpoint("127.0.0.1", 9), (), 0):
        echo = make_scenario(share, Recorder(0, 0, 1))
        senders = active or plan.connections
        here = part_of(senders, processes, share.process)
        rates.append(echo._rate_by_stages(load, here, senders))
    # Each number is rounded by itself in the middle of a stage, and the clock goes on meanwhile.
    there = min(stages.at(seconds), active or stages.most)
    slack = 40.0 * (2 * processes + 1) / max(1, there)
    assert sum(rates) == pytest.approx(40.0 if there else 0.0, abs=slack)


@pytest.mark.parametrize("processes", [1, 2])
@both
async def test_whoever_is_here_is_to_hear_what_is_published_meanwhile(
    run: Run, scenario: str, processes: int
) -> None:
    hall = Hall()
    summary = await _in_a_hall(run, hall, scenario, processes)
    assert outcome_of(summary).status is ExitStatus.HELD, outcome_of(summary).line
    figures = summary.figures
    assert figures["delivered.count"] == figures["integrity.expected"] > 0
    assert figures["messages.received"] == figures["delivered.count"]
    # What was under way to one who was going may have come too late for it.
    assert figures["delivered.count"] <= hall.delivered
    # Had everybody been there all the time, or nobody but the four who stay, it would be another.
    assert 4 * figures["messages.sent"] < figures["integrity.expected"]
    assert figures["integrity.expected"] < 10 * figures["messages.sent"]


@both
async def test_what_a_server_keeps_back_is_lost_whoever_comes_and_goes(
    run: Run, scenario: str
) -> None:
    hall = Hall(loses=lambda message, guest: (message + guest) % 9 == 0)
    summary = await _in_a_hall(run, hall, scenario, **LOSSY)
    figures = summary.figures
    assert outcome_of(summary).status is ExitStatus.FAILED
    assert figures["integrity.expected"] == figures["delivered.count"] + figures["integrity.lost"]
    assert 0 < figures["integrity.lost"] <= hall.lost


@both
async def test_a_newcomer_that_hears_nothing_has_lost_it_all(run: Run, scenario: str) -> None:
    """Of what was sent from when the newcomer itself knows that it is there."""
    hall = Hall(loses=lambda _message, guest: guest >= 10)
    summary = await _in_a_hall(run, hall, scenario, **LOSSY)
    figures = summary.figures
    assert 0 < figures["integrity.lost"] <= hall.lost
    assert figures["delivered.count"] == figures["integrity.expected"] - figures["integrity.lost"]


@pytest.mark.parametrize("scenario", ["churn", "drain", "heartbeat", "slow-consumer", "storm"])
async def test_a_scenario_that_needs_all_from_the_start_refuses_stages(
    run: Run, scenario: str
) -> None:
    population = parse_stages("5 for 100s")
    with pytest.raises(UsageError, match=f"{scenario} needs all its connections from the start; "):
        await run(
            *("ws://127.0.0.1:9/", scenario),
            connections=5,
            population=population,
            live=True,
            duration_seconds=population.seconds,
        )


async def test_a_publisher_that_hears_nothing_is_for_connections_that_stay(run: Run) -> None:
    with pytest.raises(UsageError, match="publisher_receives needs connections that stay the same"):
        await run(
            *("ws://127.0.0.1:9/", "broadcast"),
            connections=5,
            population=parse_stages("5 for 1s"),
            live=True,
            parameters={"publisher_receives": False},
        )


@pytest.mark.parametrize("changes", [{"steps": 4}, {"ramp_seconds": 1.0}])
async def test_stages_say_all_there_is_to_say_of_opening(
    run: Run, changes: dict[str, object]
) -> None:
    population = parse_stages("5 for 1s")
    with pytest.raises(UsageError, match="stages set when connections open"):
        await run(
            "ws://127.0.0.1:9/",
            "hold",
            connections=5,
            population=population,
            live=True,
            **changes,
        )


async def test_connections_that_are_late_are_the_servers_where_the_generator_has_room(
    run: Run,
) -> None:
    """On a server that lets in four and keeps the others waiting."""
    opened, over = 0, asyncio.Event()

    async def admit(_connection: ServerConnection, _request: Request) -> None:
        nonlocal opened
        opened += 1
        if opened > 4:
            await over.wait()

    population = parse_stages("10 in 0.2s, 10 for 2s")
    async with serve(
        Seen().serve, "127.0.0.1", 0, process_request=admit, open_timeout=None
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        summary = await run(
            f"ws://127.0.0.1:{port}/",
            "hold",
            connections=10,
            population=population,
            live=True,
            duration_seconds=population.seconds,
        )
        over.set()
    assert summary.valid, summary.reasons
    assert outcome_of(summary).status is ExitStatus.FAILED
    assert summary.figures["connections.overdue"] == 6
    assert summary.failures[0].startswith(
        "6 of 10 connections were not open a second after they were due; 4 were opened, "
    )
