"""What the swarm itself costs: the figures that show how little of a machine it needs.

The reference is a bare client on the same library against the same server in the same round
(``bare_client``): its CPU time has the same parts, Python's and the kernel's, so that a slow or
shared machine affects both alike. What is judged is the interval of the ratio over the rounds
(:mod:`benchmarks.cost.beside`); memory is the same on every machine and has its own bound.
docs/benchmarks.md says where the bounds come from. With ``SWARMGATE_QUICK`` set, the loads are
small, and only memory is judged.
"""

import asyncio
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cost.beside import Beside, Bound
from benchmarks.cost.conftest import ECHO_SERVER, Measure, judge, make_rounds, note_each
from loadtests.plan.target_source import TargetSource
from loadtests.run.target import running

ROUNDS = 6
BROADCASTS_PER_SECOND = 20.0

BYTES_PER_IDLE_CONNECTION = Bound(at_most=12 * 1024)
OPENING_BESIDE_BARE = Bound(at_most=1.8)
ROUND_TRIP_BESIDE_BARE = Bound(at_most=1.5)
DELIVERY_BESIDE_BARE = Bound(at_most=1.5)

BROADCAST_SERVER = TargetSource(
    (sys.executable, "-m", "benchmarks.calibration.known_server", "{port}")
)


def bare_client(
    source: TargetSource, connections: int, seconds: float, *per_second: float, processes: int = 1
) -> Mapping[str, float]:
    """Measure bare clients on their own server, with the connections shared among them."""
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "server.log"
        words = map(str, (connections // processes, seconds, *per_second))
        results = asyncio.run(_bare_clients(source, log, tuple(words), processes))
    received = sum(one["received"] for one in results)
    used = sum(one["cpu_seconds"] for one in results) / received
    opening = sum(one["opening_cpu_seconds"] for one in results) / connections
    return {
        "swarm.cpu_per_handshake_seconds": opening,
        "swarm.cpu_per_round_trip_seconds": used,
        "swarm.cpu_per_message_seconds": used,
    }


async def _bare_clients(
    source: TargetSource, log: Path, words: tuple[str, ...], processes: int
) -> list[Mapping[str, float]]:
    async with running(source, log) as server:
        command = (sys.executable, "-m", "benchmarks.cost.bare_client", str(server.port), *words)
        clients = [
            await asyncio.create_subprocess_exec(*command, stdout=asyncio.subprocess.PIPE)
            for _ in range(processes)
        ]
        outputs = await asyncio.gather(*(client.communicate() for client in clients))
    return [json.loads(output) for output, _ in outputs]


def test_holding_a_connection(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """The swarm holds an idle connection in at most 12 KiB."""
    # What a process takes once, some 4 MB when it begins to open, should weigh little.
    connections = 4_000 if is_quick else 8_000
    beside = Beside(
        ["swarm"],
        lambda _: measure(scenario="hold", connections=connections, duration=0.5),
    )
    make_rounds(benchmark, beside, ROUNDS)
    note_each(benchmark, "connections.opened_per_second", beside)
    memory = "swarm.memory_per_connection_bytes"
    judge(benchmark, beside.by_itself(memory, "swarm", BYTES_PER_IDLE_CONNECTION))


def test_opening_a_connection(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """At most 1.8 times what it costs the client library alone."""
    connections = 500 if is_quick else 4_000
    subjects: Mapping[str, Callable[[], Mapping[str, float]]] = {
        "swarm": lambda: measure(scenario="hold", connections=connections, duration=0.1),
        "bare client": lambda: bare_client(ECHO_SERVER, connections, 0.1),
    }
    beside = Beside(list(subjects), lambda name: subjects[name]())
    make_rounds(benchmark, beside, 1 if is_quick else ROUNDS)
    cpu = "swarm.cpu_per_handshake_seconds"
    note_each(benchmark, cpu, beside)
    if not is_quick:
        judge(benchmark, beside.compare(cpu, "swarm", "bare client", OPENING_BESIDE_BARE))


@pytest.mark.parametrize(("connections", "processes"), [(100, 1), (1_000, 1), (1_000, 2)])
def test_echo_round_trips_with_everything_recorded(
    benchmark: BenchmarkFixture,
    measure: Measure,
    is_quick: bool,
    connections: int,
    processes: int,
) -> None:
    """A closed model costs at most 1.5 times what the client library alone does.

    With two processes it is compared with two bare clients at once: how much three processes hinder
    each other depends on the machine, and a second process must cost no more than the first.
    """
    seconds = 0.5 if is_quick else 2.0

    def swarm() -> Mapping[str, float]:
        load = {"connections": connections, "processes": processes, "duration": seconds}
        figures = measure(scenario="echo", **load)
        assert figures["integrity.lost"] == 0
        return figures

    subjects: Mapping[str, Callable[[], Mapping[str, float]]] = {
        "swarm": swarm,
        "bare client": lambda: bare_client(ECHO_SERVER, connections, seconds, processes=processes),
    }
    beside = Beside(list(subjects), lambda name: subjects[name]())
    make_rounds(benchmark, beside, 1 if is_quick else ROUNDS)
    cpu = "swarm.cpu_per_round_trip_seconds"
    note_each(benchmark, cpu, beside)
    if not is_quick:
        judge(benchmark, beside.compare(cpu, "swarm", "bare client", ROUND_TRIP_BESIDE_BARE))


def test_receiving_a_broadcast_with_the_ledger(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """At most 1.5 times what the library alone takes, with ledger and histogram."""
    connections = 100 if is_quick else 1_000
    seconds = 0.5 if is_quick else 3.0

    def swarm() -> Mapping[str, float]:
        figures = measure(
            BROADCAST_SERVER,
            path="/ws",
            scenario="broadcast",
            payload=64,
            connections=connections,
            rate=BROADCASTS_PER_SECOND,
            duration=seconds,
        )
        assert figures["integrity.lost"] == 0
        return figures

    subjects: Mapping[str, Callable[[], Mapping[str, float]]] = {
        "swarm": swarm,
        "bare client": lambda: bare_client(
            BROADCAST_SERVER, connections, seconds, BROADCASTS_PER_SECOND
        ),
    }
    beside = Beside(list(subjects), lambda name: subjects[name]())
    make_rounds(benchmark, beside, 1 if is_quick else ROUNDS)
    cpu = "swarm.cpu_per_message_seconds"
    note_each(benchmark, cpu, beside)
    if not is_quick:
        judge(benchmark, beside.compare(cpu, "swarm", "bare client", DELIVERY_BESIDE_BARE))
