"""What the swarm itself costs: the figures that say how little machine it needs.

Each is measured against the picows echo server on the same machine, in fresh processes, four
times; the best of the four is judged, because whatever else runs on a machine can only slow it.
Bounds are what was reached with some room, so that getting worse is noticed; where the aim is
higher, it is told beside the figure.
With ``SWARMGATE_QUICK`` set the loads are small and no figure is judged.
"""

import asyncio
import json
import statistics
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import ECHO_SERVER, Measure, note
from loadtests.target import TargetSource, running

ROUNDS = 4

OPENED_PER_SECOND_AT_LEAST = 4_000
BYTES_PER_IDLE_CONNECTION_AT_MOST = 12 * 1024
ROUND_TRIPS_PER_SECOND_AT_LEAST = 100_000
TIMES_BARE_AT_MOST = 1.30
TWO_TIMES_ONE_AT_LEAST = 1.8
SECONDS_PER_DELIVERY_AT_MOST = 10e-6

BROADCAST_SERVER = TargetSource((sys.executable, "-m", "benchmarks.known_server", "{port}"))


def measured_rounds(
    benchmark: BenchmarkFixture,
    measure: Measure,
    **load: Any,  # noqa: ANN401 - the keywords of a run
) -> list[Mapping[str, float]]:
    """Make the same run several times; the benchmark's own time is that of a whole run."""
    rounds: list[Mapping[str, float]] = []
    benchmark.pedantic(lambda: rounds.append(measure(**load)), rounds=ROUNDS)  # type: ignore[no-untyped-call]
    return rounds


def test_opening_and_holding_connections(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """One swarm process opens 4,000 connections a second and holds each in 12 KiB."""
    connections = 500 if is_quick else 8_000
    rounds = measured_rounds(
        benchmark, measure, scenario="hold", connections=connections, duration=0.5
    )
    opened = [figures["connections.opened_per_second"] for figures in rounds]
    memory = [figures["swarm.memory_per_connection_bytes"] for figures in rounds]
    note(benchmark, "connections.opened_per_second", opened, "at least 4,000")
    note(benchmark, "swarm.memory_per_connection_bytes", memory, "at most 12 KiB")
    assert is_quick or max(opened) >= OPENED_PER_SECOND_AT_LEAST
    assert is_quick or min(memory) <= BYTES_PER_IDLE_CONNECTION_AT_MOST


def bare_client(connections: int, seconds: float) -> float:
    """Measure a bare client against a server of its own; gives CPU seconds a round trip."""
    with tempfile.TemporaryDirectory() as folder:
        done = asyncio.run(_bare_client(connections, seconds, Path(folder)))
    return float(done["cpu_seconds"] / done["round_trips"])


async def _bare_client(connections: int, seconds: float, folder: Path) -> dict[str, float]:
    async with running(ECHO_SERVER, folder / "server.log") as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.bare_client"),
            *(str(server.port), str(connections), str(seconds)),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    found: dict[str, float] = json.loads(output)
    return found


@pytest.mark.parametrize(("connections", "seconds_at_most"), [(100, 9e-6), (1_000, 10e-6)])
def test_echo_round_trips_with_everything_recorded(
    benchmark: BenchmarkFixture,
    measure: Measure,
    is_quick: bool,
    connections: int,
    seconds_at_most: float,
) -> None:
    """A closed model costs little more than the client library alone, in the same session."""
    seconds = 0.5 if is_quick else 2.0
    bare: list[float] = []
    swarm: list[float] = []
    rates: list[float] = []

    def round_() -> None:
        bare.append(bare_client(connections, seconds))
        figures = measure(scenario="echo", connections=connections, duration=seconds)
        assert figures["integrity.lost"] == 0
        swarm.append(figures["swarm.cpu_per_round_trip_seconds"])
        rates.append(figures["messages.received_per_second"])

    benchmark.pedantic(round_, rounds=ROUNDS)  # type: ignore[no-untyped-call]
    ratios = [ours / theirs for ours, theirs in zip(swarm, bare, strict=True)]
    note(benchmark, "messages.received_per_second", rates, "at least 100,000")
    note(benchmark, "bare.cpu_per_round_trip_seconds", bare, "the client library alone")
    note(
        benchmark,
        "swarm.cpu_per_round_trip_seconds",
        swarm,
        f"at most {seconds_at_most * 1e6:g} µs; aim: 7.5 at 100 connections, 9 at 1,000",
    )
    note(benchmark, "swarm.times_bare", ratios, f"at most {TIMES_BARE_AT_MOST}, aim: 1.10")
    assert is_quick or statistics.median(ratios) <= TIMES_BARE_AT_MOST
    assert is_quick or min(swarm) <= seconds_at_most
    assert is_quick or max(rates) >= ROUND_TRIPS_PER_SECOND_AT_LEAST


def test_two_processes_do_nearly_twice_as_much_with_a_core_each(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """Told from what a round trip costs in each: two cores cannot hold two of them and a server."""
    load = {"scenario": "echo", "connections": 1_000, "duration": 0.5 if is_quick else 2.0}
    one: list[float] = []
    two: list[float] = []

    def round_() -> None:
        one.append(measure(**load)["swarm.cpu_per_round_trip_seconds"])
        two.append(measure(**load, processes=2)["swarm.cpu_per_round_trip_seconds"])

    benchmark.pedantic(round_, rounds=ROUNDS)  # type: ignore[no-untyped-call]
    gains = [2 * alone / both for alone, both in zip(one, two, strict=True)]
    note(benchmark, "swarm.two_processes_times_one", gains, "at least 1.8")
    assert is_quick or statistics.median(gains) >= TWO_TIMES_ONE_AT_LEAST


def test_receiving_a_broadcast_with_the_ledger(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """What a delivered message costs the swarm, its ledger and its histogram included."""
    rounds = measured_rounds(
        benchmark,
        measure,
        source=BROADCAST_SERVER,
        path="/ws",
        scenario="broadcast",
        payload=64,
        connections=100 if is_quick else 1_000,
        rate=20.0,
        duration=0.5 if is_quick else 3.0,
    )
    cpu = [figures["swarm.cpu_per_message_seconds"] for figures in rounds]
    note(benchmark, "swarm.cpu_per_message_seconds", cpu, "at most 10 µs, aim: 4")
    assert all(figures["integrity.lost"] == 0 for figures in rounds)
    assert is_quick or min(cpu) <= SECONDS_PER_DELIVERY_AT_MOST
