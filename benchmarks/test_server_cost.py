"""What the reference server costs, side by side with what else could do the same work.

A broadcast is compared with a plain loop of ``socket.send`` and with Node's ``ws``, in CPU time of
the server's process for one broadcast to everybody, run after run in turn on the same machine;
the median of the ratios is judged. Absolute figures are judged by the best of their rounds. With
``SWARMGATE_QUICK`` set the loads are small and no figure is judged.
"""

import asyncio
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.conftest import Measure, note
from loadtests.plan import Plan
from loadtests.run import execute
from loadtests.target import TargetSource, running
from reports.record import Event, Line

ROUNDS = 3
NODE_SERVER = Path("tests/servers/node_ws/server.mjs")
PAYLOAD_BYTES = 100

TIMES_THE_SEND_LOOP_AT_MOST = 1.6
TIMES_NODE_AT_MOST = 1.05
BYTES_PER_CONNECTION_AT_MOST = 20 * 1024
HANDSHAKES_PER_SECOND_AT_LEAST = 2_400
IDLE_CPU_AT_MOST = 0.03
ECHO_P99_DURING_BROADCASTS_AT_MOST_SECONDS = 0.02


def reference(*flags: str) -> TargetSource:
    """Start the reference server on one worker, silent about who comes and goes."""
    command = (sys.executable, "-m", "target_app", "--port", "{port}", "--announce-limit", "0")
    return TargetSource((*command, *flags))


SILENT = reference("--heartbeat-seconds", "0", "--ws-ping-interval", "0")
SEND_LOOP = TargetSource((sys.executable, "-m", "benchmarks.send_loop", "{port}"))
NODE = TargetSource(("node", str(NODE_SERVER), "{port}"))


def broadcast(**changes: Any) -> dict[str, Any]:  # noqa: ANN401 - the fields of Plan
    """Give the load of all broadcast runs."""
    load = {"url": "ws://127.0.0.1:{port}/ws", "scenario": "broadcast", "rate": 4.0}
    return load | {"payload_bytes": PAYLOAD_BYTES, "duration_seconds": 4.0} | changes


def cpu_per_broadcast(figures: Mapping[str, float], seconds: float) -> float:
    """Give the server's CPU seconds for one broadcast to everybody."""
    assert figures["integrity.lost"] == figures["integrity.duplicated"] == 0
    return figures["server.cpu_ratio"] * seconds / figures["delivery.messages"]


def test_a_broadcast_beside_a_plain_send_loop_and_node(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """At most 1.6 times the plain loop, at most 1.05 times Node."""
    seconds = 1.0 if is_quick else 4.0
    load = broadcast(connections=500 if is_quick else 10_000, duration_seconds=seconds)
    servers = {"swarmgate": SILENT, "send loop": SEND_LOOP}
    if shutil.which("node") and (NODE_SERVER.parent / "node_modules").exists():
        servers["node"] = NODE
    costs: dict[str, list[float]] = {name: [] for name in servers}
    last: dict[str, list[float]] = {name: [] for name in servers}

    def round_of_all() -> None:
        # Every second round backwards, so that a machine that drifts favours nobody.
        order = list(servers)
        if len(costs["swarmgate"]) % 2:
            order.reverse()
        for name in order:
            figures = measure(servers[name], **load)
            costs[name].append(cpu_per_broadcast(figures, seconds))
            last[name].append(figures["delivery.last_seconds"])

    benchmark.pedantic(round_of_all, rounds=1 if is_quick else ROUNDS)  # type: ignore[no-untyped-call]
    for name in servers:
        note(benchmark, f"{name}.cpu_per_broadcast_seconds", costs[name], "CPU of the server")
        note(benchmark, f"{name}.last_receiver_seconds", last[name], "wall time, swarm included")
    beside_loop = ratios(costs, "send loop")
    note(benchmark, "broadcast.times_the_send_loop_ratio", beside_loop, "at most 1.6")
    assert is_quick or statistics.median(beside_loop) <= TIMES_THE_SEND_LOOP_AT_MOST
    if "node" not in servers:
        pytest.skip("compared with the send loop only: node or its ws is not installed")
    beside_node = ratios(costs, "node")
    note(benchmark, "broadcast.times_node_ratio", beside_node, "at most 1.05")
    assert is_quick or statistics.median(beside_node) <= TIMES_NODE_AT_MOST


def ratios(costs: Mapping[str, Sequence[float]], other: str) -> list[float]:
    """Give, round by round, how many times the other's cost ours is."""
    return [ours / theirs for ours, theirs in zip(costs["swarmgate"], costs[other], strict=True)]


def test_connections_and_handshakes(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """One worker holds a connection in 20 KiB and completes 2,400 handshakes a second."""
    rounds: list[Mapping[str, float]] = []
    load = {
        "url": "ws://127.0.0.1:{port}/ws",
        "scenario": "hold",
        "connections": 1_000 if is_quick else 8_000,
        "steps": 4,
        "duration_seconds": 0.5,
    }
    benchmark.pedantic(lambda: rounds.append(measure(SILENT, **load)), rounds=ROUNDS)  # type: ignore[no-untyped-call]
    memory = [figures["server.memory_per_connection_bytes"] for figures in rounds]
    opened = [figures["connections.opened_per_second"] for figures in rounds]
    note(benchmark, "server.memory_per_connection_bytes", memory, "at most 20 KiB")
    note(benchmark, "connections.opened_per_second", opened, "at least 2,400")
    assert is_quick or min(memory) <= BYTES_PER_CONNECTION_AT_MOST
    assert is_quick or max(opened) >= HANDSHAKES_PER_SECOND_AT_LEAST


def test_idle_connections_with_heartbeat_and_pings(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """10,000 idle connections, a heartbeat every 10 s and a ping every 20: 3 % of a core."""
    rounds: list[Mapping[str, float]] = []
    load = {
        "url": "ws://127.0.0.1:{port}/ws",
        "scenario": "hold",
        "connections": 500 if is_quick else 10_000,
        "duration_seconds": 2.0 if is_quick else 10.0,
    }
    benchmark.pedantic(lambda: rounds.append(measure(reference(), **load)), rounds=2)  # type: ignore[no-untyped-call]
    cpu = [figures["server.cpu_ratio"] for figures in rounds]
    note(benchmark, "server.cpu_ratio", cpu, "at most 3 % of a core")
    assert is_quick or min(cpu) <= IDLE_CPU_AT_MOST


def test_a_drain_of_10_000_clients_over_4_workers(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """All are told, each is given its close code, the server exits with 0 and leaves nothing."""
    connections = 400 if is_quick else 10_000
    figures = benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: measure(
            reference("--workers", "4", "--drain-timeout-seconds", "5"),
            url="ws://127.0.0.1:{port}/ws",
            scenario="drain",
            connections=connections,
            duration_seconds=1.0,
            parameters={"leave": 0.9},
        )
    )
    note(benchmark, "drain.told_last_seconds", [figures["drain.told_last_seconds"]], "last told")
    note(benchmark, "drain.exit_seconds", [figures["drain.exit_seconds"]], "after SIGTERM")
    # Not a matter of speed, so judged at any size.
    assert figures["drain.told"] == figures["drain.connected"] == connections
    assert figures["drain.closed_1000"] + figures["drain.closed_1001"] == connections
    assert (figures["drain.exit_status"], figures["drain.left_processes"]) == (0, 0)
    assert figures["drain.refused_status"] == 503


def test_others_are_served_during_broadcasts(
    benchmark: BenchmarkFixture, tmp_path: Path, is_quick: bool
) -> None:
    """While 4 broadcasts a second go to 10,000, 99 % of the echoes of others take under 20 ms."""
    connections = 500 if is_quick else 10_000
    seconds = 1.0 if is_quick else 4.0
    p99: list[float] = []

    async def both() -> None:
        number = len(p99)
        async with running(SILENT.command, tmp_path / f"{number}.log") as server:
            source = TargetSource(pids=(server.pid,))
            address = f"ws://127.0.0.1:{server.port}"
            load = broadcast(connections=connections, duration_seconds=seconds + 2.0)
            wide = Plan(**(load | {"url": f"{address}/ws", "parameters": {}}))
            load = {"connections": 20, "scenario": "echo", "parameters": {}, "rate": 200.0}
            echo = Plan(url=f"{address}/echo", duration_seconds=seconds, **load)
            broadcasting = asyncio.Event()

            def watch(line: Line) -> None:
                if isinstance(line, Event) and line.detail.get("phase") == "measure":
                    broadcasting.set()

            async with asyncio.TaskGroup() as runs:
                path = tmp_path / f"{number}-wide.run.jsonl"
                runs.create_task(execute(wide, source, path, watch))
                await broadcasting.wait()
                path = tmp_path / f"{number}-echo.run.jsonl"
                echoed = await execute(echo, source, path, lambda _line: None)
        assert echoed.errors == {}
        p99.append(echoed.figures["latency.p99_seconds"])

    benchmark.pedantic(lambda: asyncio.run(both()), rounds=1 if is_quick else ROUNDS)  # type: ignore[no-untyped-call]
    note(benchmark, "latency.p99_seconds", p99, "at most 20 ms")
    assert is_quick or min(p99) <= ECHO_P99_DURING_BROADCASTS_AT_MOST_SECONDS
