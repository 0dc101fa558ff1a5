"""What the swarm itself costs: the figures that say how little machine it needs.

Each is measured against the picows echo server on the same machine, in fresh processes, four
times; the best of the four is judged, because whatever else runs on a machine can only slow it.
With ``SWARMGATE_QUICK`` set the loads are small and no figure is judged.
"""

from collections.abc import Mapping
from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Measure, note

ROUNDS = 4

OPENED_PER_SECOND_AT_LEAST = 4_000
BYTES_PER_IDLE_CONNECTION_AT_MOST = 16 * 1024
SECONDS_PER_ROUND_TRIP_AT_MOST = 10e-6
ROUND_TRIPS_PER_SECOND_AT_LEAST = 100_000


def measured_rounds(
    benchmark: BenchmarkFixture,
    measure: Measure,
    **load: Any,  # noqa: ANN401 - the fields of Plan
) -> list[Mapping[str, float]]:
    """Make the same run several times; the benchmark's own time is that of a whole run."""
    rounds: list[Mapping[str, float]] = []
    benchmark.pedantic(lambda: rounds.append(measure(**load)), rounds=ROUNDS)  # type: ignore[no-untyped-call]
    return rounds


def test_opening_and_holding_connections(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """One swarm process opens 4,000 connections a second and holds each in 16 KiB."""
    connections = 500 if is_quick else 8_000
    rounds = measured_rounds(
        benchmark, measure, scenario="hold", connections=connections, duration_seconds=0.5
    )
    opened = [figures["connections.opened_per_second"] for figures in rounds]
    memory = [figures["swarm.memory_per_connection_bytes"] for figures in rounds]
    note(benchmark, "connections.opened_per_second", opened, "at least 4,000")
    note(benchmark, "swarm.memory_per_connection_bytes", memory, "at most 16 KiB")
    assert is_quick or max(opened) >= OPENED_PER_SECOND_AT_LEAST
    assert is_quick or min(memory) <= BYTES_PER_IDLE_CONNECTION_AT_MOST


def test_echo_round_trips_with_everything_recorded(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """A closed model on 1,000 connections: 100,000 round trips a second at 10 µs of CPU each."""
    rounds = measured_rounds(
        benchmark,
        measure,
        scenario="echo",
        connections=100 if is_quick else 1_000,
        duration_seconds=0.5 if is_quick else 2.0,
    )
    rate = [figures["messages.received_per_second"] for figures in rounds]
    cpu = [figures["swarm.cpu_per_round_trip_seconds"] for figures in rounds]
    note(benchmark, "messages.received_per_second", rate, "at least 100,000")
    note(benchmark, "swarm.cpu_per_round_trip_seconds", cpu, "at most 10 µs")
    assert all(figures["integrity.lost"] == 0 for figures in rounds)
    assert is_quick or max(rate) >= ROUND_TRIPS_PER_SECOND_AT_LEAST
    assert is_quick or min(cpu) <= SECONDS_PER_ROUND_TRIP_AT_MOST
