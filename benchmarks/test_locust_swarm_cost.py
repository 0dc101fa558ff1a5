"""What Locust adds to the swarm: nothing to a message, little to an opening.

Locust runs in processes of its own, with a swarm process beside each worker, against the picows
echo server; ``swarmgate run`` takes turns with it on the same load. With ``SWARMGATE_QUICK`` set
the loads are small and no figure is judged.
"""

import statistics
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Measure, note
from loadtests.target import free_port
from reports.record import Record, read_record
from reports.summary import summarise

if TYPE_CHECKING:
    from collections.abc import Mapping

ROUNDS = 3
CONNECTIONS = 10_000
SPAWNED_PER_SECOND_AT_LEAST = 1_900
TIMES_RUN_AT_MOST = 1.15
TWO_TIMES_ONE_AT_LEAST = 1.8

_LOCUSTFILE = """
from loadtests.locust_users import SwarmUser

class Echoing(SwarmUser):
    scenario = "echo"
"""


def locust(folder: Path, *options: str, flags: str = "--payload 32B") -> Record:
    """Run Locust to its end against an echo server that is new each time; give its record."""
    folder.mkdir()
    locustfile = folder / "locustfile.py"
    locustfile.write_text(_LOCUSTFILE)
    port = str(free_port())
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.picows_echo", port], stderr=subprocess.DEVNULL
    )
    try:
        subprocess.run(
            [
                *(sys.executable, "-m", "locust", "-f", str(locustfile), "--headless"),
                *("--host", f"ws://127.0.0.1:{port}/echo", "--swarm-flags", flags),
                *("--swarm-record", str(folder), *options),
            ],
            check=True,
            capture_output=True,
            timeout=120,
        )
    finally:
        server.kill()
        server.wait()
    (path,) = folder.glob("*.run.jsonl")
    record = read_record(path)
    summary = summarise(record)
    assert summary.valid, summary.reasons
    assert summary.figures["errors"] == 0
    return record


def cpu_seconds_per_round_trip(record: Record) -> float:
    """Give what a round trip costs all swarm processes, once all connections are open.

    The load begins with the first user; what opening the others costs is not a round trip's.
    """
    measured = [line for line in record.intervals if line.phase == "measure"]
    last_ns = max(line.t_ns for line in measured if line.opened)
    later = [line for line in measured if line.t_ns - line.duration_ns >= last_ns]
    return sum(line.cpu_ns for line in later) / 1e9 / sum(line.received for line in later)


def test_one_worker_spawns_ten_thousand_connections(
    benchmark: BenchmarkFixture, tmp_path: Path, is_quick: bool
) -> None:
    """10,000 connections through one Locust worker, spawned at 2,000 a second, without an error."""
    users = 500 if is_quick else CONNECTIONS
    rounds: list[Mapping[str, float]] = []

    def round_() -> None:
        folder = tmp_path / str(len(rounds))
        options = ("-u", str(users), "-r", "2000", "-t", "5s" if is_quick else "10s")
        record = locust(folder, *options, flags="--payload 32B --think 'exp 5s'")
        rounds.append(summarise(record).figures)

    benchmark.pedantic(round_, rounds=1 if is_quick else ROUNDS)  # type: ignore[no-untyped-call]
    opened = [figures["connections.opened_per_second"] for figures in rounds]
    note(benchmark, "connections.opened_per_second", opened, "asked: 2,000")
    assert all(figures["connections.opened"] == users for figures in rounds)
    assert is_quick or max(opened) >= SPAWNED_PER_SECOND_AT_LEAST


def test_a_round_trip_costs_what_it_costs_without_locust(
    benchmark: BenchmarkFixture, measure: Measure, tmp_path: Path, is_quick: bool
) -> None:
    """At most 1.15 times the CPU of ``swarmgate run``; with two workers, 1.8 times as much done.

    The second is told from what a round trip costs in each, as two cores cannot hold two swarms
    and a server.
    """
    users = 100 if is_quick else 1_000
    seconds = 1.0 if is_quick else 3.0
    alone: list[float] = []
    one: list[float] = []
    two: list[float] = []

    def led(workers: int) -> float:
        folder = tmp_path / f"{workers}-{len(alone)}"
        options = ["-u", str(users), "-r", str(users), "-t", f"{seconds + 3:.0f}s"]
        if workers > 1:
            port = str(free_port())
            options += ["--processes", "2", "--master-bind-port", port, "--master-port", port]
        return cpu_seconds_per_round_trip(locust(folder, *options))

    def round_() -> None:
        load = {"scenario": "echo", "connections": users, "duration": seconds}
        one.append(led(1))
        alone.append(measure(**load)["swarm.cpu_per_round_trip_seconds"])
        two.append(led(2))

    benchmark.pedantic(round_, rounds=1 if is_quick else ROUNDS)  # type: ignore[no-untyped-call]
    ratios = [ours / theirs for ours, theirs in zip(one, alone, strict=True)]
    gains = [2 * single / both for single, both in zip(one, two, strict=True)]
    note(benchmark, "run.cpu_per_round_trip_seconds", alone, "swarmgate run")
    note(benchmark, "locust.cpu_per_round_trip_seconds", one, "one Locust worker")
    note(benchmark, "locust.times_run", ratios, f"at most {TIMES_RUN_AT_MOST}")
    note(benchmark, "locust.two_workers_times_one", gains, f"at least {TWO_TIMES_ONE_AT_LEAST}")
    assert is_quick or statistics.median(ratios) <= TIMES_RUN_AT_MOST
    assert is_quick or statistics.median(gains) >= TWO_TIMES_ONE_AT_LEAST
