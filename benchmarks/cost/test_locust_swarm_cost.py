"""What Locust adds to the swarm: nothing to a message, little to an opening.

Locust runs in its own processes, with a swarm process alongside each worker, against the picows
echo server; ``swarmgate run`` takes turns with it on the same load. With ``SWARMGATE_QUICK`` set,
the loads are small and no figure is judged.
"""

import itertools
import shlex
import subprocess
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cost.beside import Beside, Bound
from benchmarks.cost.conftest import Measure, judge, make_rounds, note_each
from benchmarks.runs.making import ANY_MACHINE
from loadtests.plan.bounds import changed
from loadtests.run.target import free_port
from reports.outcome import ExitStatus
from reports.record import Record, read_record
from reports.summary import summarise
from swarmgate import RunInvalidError

ROUNDS = 6
SPAWN_RATE = 2_000
THINK = "exp 5s"

OPENED_BESIDE_RUN = Bound(at_least=0.9)
ROUND_TRIP_BESIDE_RUN = Bound(at_most=1.15)

_LOCUSTFILE = """
from loadtests.locust.users import SwarmUser

class Echoing(SwarmUser):
    scenario = "echo"
"""


def locust(folder: Path, *options: str, think: str = "") -> Record:
    """Run Locust to its end against a fresh echo server each time; return its record.

    Raises:
        RunInvalidError: the generator or the machine could not keep up.
    """
    folder.mkdir()
    words = ["--payload", "32B", *(("--think", think) if think else ())]
    # As with the other runs: a message sent late does not change what is judged.
    words += [word for text in changed(ANY_MACHINE) for word in ("--bound", text)]
    locustfile = folder / "locustfile.py"
    locustfile.write_text(_LOCUSTFILE)
    port = str(free_port())
    server = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.cost.picows_echo", port], stderr=subprocess.DEVNULL
    )
    try:
        done = subprocess.run(
            [
                *(sys.executable, "-m", "locust", "-f", str(locustfile), "--headless"),
                *("--host", f"ws://127.0.0.1:{port}/echo", "--swarm-flags", shlex.join(words)),
                *("--swarm-record", str(folder), *options),
            ],
            check=False,
            capture_output=True,
            encoding="utf-8",
            timeout=300,
        )
        # The record of an invalid run says why.
        assert done.returncode in (ExitStatus.HELD, ExitStatus.INVALID), done.stderr
    finally:
        server.kill()
        server.wait()
    (path,) = folder.glob("*.run.jsonl")
    record = read_record(path)
    summary = summarise(record)
    if not summary.valid:
        raise RunInvalidError("; ".join(summary.reasons))
    assert summary.figures["errors"] == 0
    return record


def cpu_seconds_per_round_trip(record: Record) -> float:
    """Return what a round trip costs all swarm processes, once all connections are open.

    The load begins with the first user; the cost of opening the others is not that of a round trip.
    """
    measured = [line for line in record.intervals if line.phase == "measure"]
    last_ns = max(line.t_ns for line in measured if line.opened)
    later = [line for line in measured if line.t_ns - line.duration_ns >= last_ns]
    return sum(line.cpu_ns for line in later) / 1e9 / sum(line.received for line in later)


def test_one_worker_spawns_as_fast_as_a_run(
    benchmark: BenchmarkFixture, measure: Measure, tmp_path: Path, is_quick: bool
) -> None:
    """10,000 connections through one Locust worker, asked for 2,000 a second, without an error.

    As many as ``swarmgate run`` opens when asked for the same, whatever that is on the machine.
    """
    users = 500 if is_quick else 10_000
    folders = map(str, itertools.count())

    def led() -> Mapping[str, float]:
        options = ("-u", str(users), "-r", str(SPAWN_RATE), "-t", "5s" if is_quick else "10s")
        return summarise(locust(tmp_path / next(folders), *options, think=THINK)).figures

    def alone() -> Mapping[str, float]:
        load = {"connections": users, "ramp": users / SPAWN_RATE, "think": THINK, "duration": 1.0}
        return measure(scenario="echo", **load)

    subjects = {"Locust": led, "swarmgate run": alone}

    def one(name: str) -> Mapping[str, float]:
        figures = subjects[name]()
        assert figures["connections.opened"] == users
        return figures

    beside = Beside(list(subjects), one)
    make_rounds(benchmark, beside, 1 if is_quick else ROUNDS)
    opened = "connections.opened_per_second"
    note_each(benchmark, opened, beside)
    if not is_quick:
        judge(benchmark, beside.compare(opened, "Locust", "swarmgate run", OPENED_BESIDE_RUN))


@pytest.mark.parametrize("workers", [1, 2])
def test_a_round_trip_costs_what_it_costs_without_locust(
    benchmark: BenchmarkFixture, measure: Measure, tmp_path: Path, is_quick: bool, workers: int
) -> None:
    """At most 1.15 times the CPU of ``swarmgate run`` with as many processes.

    How much two processes and a server hinder each other on few cores depends on the machine, and
    affects both.
    """
    users = 100 if is_quick else 1_000
    seconds = 1.0 if is_quick else 3.0
    folders = map(str, itertools.count())
    cpu = "swarm.cpu_per_round_trip_seconds"

    def led() -> Mapping[str, float]:
        options = ["-u", str(users), "-r", str(users), "-t", f"{seconds + 3:.0f}s"]
        if workers > 1:
            port = str(free_port())
            options += ["--processes", str(workers)]
            options += ["--master-bind-port", port, "--master-port", port]
        return {cpu: cpu_seconds_per_round_trip(locust(tmp_path / next(folders), *options))}

    load = {"connections": users, "processes": workers, "duration": seconds}
    subjects: Mapping[str, Callable[[], Mapping[str, float]]] = {
        "Locust": led,
        "swarmgate run": lambda: measure(scenario="echo", **load),
    }
    beside = Beside(list(subjects), lambda name: subjects[name]())
    make_rounds(benchmark, beside, 1 if is_quick else ROUNDS)
    note_each(benchmark, cpu, beside)
    if not is_quick:
        judge(benchmark, beside.compare(cpu, "Locust", "swarmgate run", ROUND_TRIP_BESIDE_RUN))
