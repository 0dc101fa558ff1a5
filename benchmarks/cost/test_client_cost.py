"""What each client library costs the swarm: CPU per round trip, memory per connection."""

from collections.abc import Mapping
from typing import Any

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cost.beside import Beside, Bound
from benchmarks.cost.conftest import Measure, judge, make_rounds, note_each

ROUNDS = 6

CPU_BESIDE_WEBSOCKETS = Bound(at_most=1.0)
NO_BOUND = Bound()

OPTIONS: Mapping[str, Mapping[str, Any]] = {
    "picows": {"client": "picows"},
    "websockets": {"client": "websockets"},
}


def test_both_clients(benchmark: BenchmarkFixture, measure: Measure, is_quick: bool) -> None:
    """The same load with each, in turn; picows is the default because it is the cheaper one.

    It is a closed model, so that neither includes the loop's own work between messages.
    """
    load = {
        "scenario": "echo",
        "connections": 100 if is_quick else 1_000,
        "duration": 0.5 if is_quick else 2.0,
    }

    def one(name: str) -> Mapping[str, float]:
        figures = measure(**load, **OPTIONS[name])
        assert figures["integrity.lost"] == 0
        return figures

    beside = Beside(list(OPTIONS), one)
    make_rounds(benchmark, beside, 1 if is_quick else ROUNDS)
    cpu = "swarm.cpu_per_round_trip_seconds"
    memory = "swarm.memory_per_connection_bytes"
    note_each(benchmark, cpu, beside)
    note_each(benchmark, memory, beside)
    if is_quick:
        return
    judge(
        benchmark,
        beside.compare(cpu, "picows", "websockets", CPU_BESIDE_WEBSOCKETS),
        beside.compare(memory, "picows", "websockets", NO_BOUND),
    )
