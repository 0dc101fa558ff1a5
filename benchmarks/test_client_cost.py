"""What each client library costs the swarm, side by side: CPU a round trip, memory a connection."""

from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Measure, note

ROUNDS = 3


def test_both_clients(benchmark: BenchmarkFixture, measure: Measure, is_quick: bool) -> None:
    """The same load with each, in turn; picows is the default because it is the cheaper one."""
    options: dict[str, dict[str, Any]] = {
        "picows": {"client": "picows"},
        "websockets": {"client": "websockets"},
        "websockets, deflate": {"client": "websockets", "deflate": True},
    }
    cpu: dict[str, list[float]] = {name: [] for name in options}
    memory: dict[str, list[float]] = {name: [] for name in options}

    def round_() -> None:
        for name, held in options.items():
            figures = measure(
                scenario="echo",
                connections=100 if is_quick else 1_000,
                rate=500.0 if is_quick else 5_000.0,
                duration=0.5 if is_quick else 2.0,
                **held,
            )
            assert figures["integrity.lost"] == 0
            cpu[name].append(figures["swarm.cpu_per_round_trip_seconds"])
            memory[name].append(figures["swarm.memory_per_connection_bytes"])

    benchmark.pedantic(round_, rounds=ROUNDS)  # type: ignore[no-untyped-call]
    for name in options:
        note(benchmark, "swarm.cpu_per_round_trip_seconds", cpu[name], name)
        note(benchmark, "swarm.memory_per_connection_bytes", memory[name], name)
    assert is_quick or min(cpu["picows"]) < min(cpu["websockets"])
