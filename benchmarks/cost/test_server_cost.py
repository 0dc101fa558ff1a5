"""What the reference server costs, side by side with others that could do the same work.

No figure is judged by itself, because a machine that is half as fast gives half the figure: each is
compared with that of a reference in the same round, in turn, and the interval of the ratio over the
rounds is judged (:mod:`benchmarks.cost.beside`). The references are a loop of sockets that does
nothing else (``send_loop``, ``frame_loop``), an ASGI application that does nothing else
(``bare_asgi``) and Node's ``ws``. Where possible, CPU time is compared, because a rate also depends
on the generator. docs/benchmarks.md says where the bounds come from. With ``SWARMGATE_QUICK`` set,
the loads are small, and only memory and counts are judged.
"""

import asyncio
import shutil
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cost.beside import Beside, Bound
from benchmarks.cost.conftest import UVICORN, Measure, judge, make_rounds, note_each
from benchmarks.runs.making import ANY_MACHINE
from loadtests.plan.bounds import Bounds
from loadtests.plan.plan import Plan
from loadtests.plan.target_source import TargetSource
from loadtests.run.run import execute
from loadtests.run.target import running
from reports.record import Event, Line
from swarmgate import RunInvalidError

ROUNDS = 6
NODE_SERVER = Path("tests/servers/node_ws/server.mjs")
PAYLOAD_BYTES = 100
BROADCASTS_PER_SECOND = 2.0
"""To 10,000 clients; few enough that a swarm process keeps up on half a core."""
HEARTBEAT_SECONDS = 10
PING_SECONDS = 20
ECHO_BOUNDS = Bounds(lateness_p99_seconds=0.02)
"""A late sender affects all servers alike: it neither hides a difference nor shows a false one."""

BROADCAST_CPU_BESIDE_THE_SEND_LOOP = Bound(at_most=1.6)
BROADCAST_CPU_BESIDE_NODE = Bound(at_most=1.15)
HANDSHAKE_CPU_BESIDE_BARE_ASGI = Bound(at_most=1.6)
MEMORY_BESIDE_BARE_ASGI = Bound(at_most=0.5)
MEMORY_BESIDE_NODE = Bound(at_most=1.0)
IDLE_CPU_BESIDE_THE_FRAME_LOOP = Bound(at_most=1.9)
ECHO_P99_BESIDE_THE_SEND_LOOP = Bound(at_most=0.3)
NO_BOUND = Bound()


def module(name: str, *flags: str) -> TargetSource:
    """Return what starts a server that is a Python module."""
    return TargetSource((sys.executable, "-m", name, *flags))


def reference(*flags: str) -> TargetSource:
    """Return what starts the reference server on one worker, silent about who comes and goes."""
    return module("target_app", "--port", "{port}", "--announce-limit", "0", *flags)


SILENT = reference("--heartbeat-seconds", "0", "--ws-ping-interval", "0")
BEATING = reference(
    *("--heartbeat-seconds", str(HEARTBEAT_SECONDS), "--ws-ping-interval", str(PING_SECONDS))
)
SEND_LOOP = module("benchmarks.cost.send_loop", "{port}")
FRAME_LOOP = module(
    "benchmarks.cost.frame_loop", "{port}", str(HEARTBEAT_SECONDS), str(PING_SECONDS)
)
BARE_ASGI = module("uvicorn", "benchmarks.cost.bare_asgi:app", "--lifespan", "off", *UVICORN)
NODE = TargetSource(("node", str(NODE_SERVER), "{port}"))


def with_node(servers: Mapping[str, TargetSource]) -> Mapping[str, TargetSource]:
    """Add Node's ``ws`` where it is installed."""
    if shutil.which("node") and (NODE_SERVER.parent / "node_modules").exists():
        return {**servers, "node": NODE}
    return servers


def test_a_broadcast_beside_a_plain_send_loop_and_node(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """At most 1.6 times the CPU of the plain loop, at most 1.15 times that of Node."""
    servers = with_node({"swarmgate": SILENT, "send loop": SEND_LOOP})
    load = {
        "path": "/ws",
        "scenario": "broadcast",
        "rate": BROADCASTS_PER_SECOND,
        "payload": PAYLOAD_BYTES,
        "connections": 500 if is_quick else 10_000,
        "duration": 1.0 if is_quick else 6.0,
    }

    def one(name: str) -> Mapping[str, float]:
        figures = measure(servers[name], **load)
        # The same number of deliveries from each, so that CPU time can be given per delivery.
        assert figures["integrity.lost"] == figures["integrity.duplicated"] == 0, name
        return figures

    beside = Beside(list(servers), one)
    make_rounds(benchmark, beside, 1 if is_quick else ROUNDS)
    cpu = "server.cpu_per_message_seconds"
    note_each(benchmark, cpu, beside, "for one receiver")
    note_each(benchmark, "delivery.last_seconds", beside, "swarm included")
    if is_quick:
        return
    comparisons = [
        beside.compare(cpu, "swarmgate", "send loop", BROADCAST_CPU_BESIDE_THE_SEND_LOOP)
    ]
    if "node" in servers:
        comparisons.append(beside.compare(cpu, "swarmgate", "node", BROADCAST_CPU_BESIDE_NODE))
    judge(benchmark, *comparisons)
    if "node" not in servers:
        pytest.skip("compared with the send loop only: node or its ws is not installed")


def test_memory_of_a_connection(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """Half the memory of an ASGI application that does nothing, and no more than Node's."""
    servers = {"swarmgate": SILENT, "bare ASGI": BARE_ASGI}
    if not is_quick:
        servers = dict(with_node(servers))
    beside = opened_connections(benchmark, measure, servers, 1_500 if is_quick else 6_000, ROUNDS)
    memory = "server.memory_per_connection_bytes"
    note_each(benchmark, memory, beside)
    comparisons = [beside.compare(memory, "swarmgate", "bare ASGI", MEMORY_BESIDE_BARE_ASGI)]
    if "node" in servers:
        comparisons.append(beside.compare(memory, "swarmgate", "node", MEMORY_BESIDE_NODE))
    judge(benchmark, *comparisons)


def test_cpu_of_a_handshake(benchmark: BenchmarkFixture, measure: Measure, is_quick: bool) -> None:
    """At most 1.6 times the CPU of an ASGI application that does nothing; the others are shown."""
    servers = with_node({"swarmgate": SILENT, "bare ASGI": BARE_ASGI, "send loop": SEND_LOOP})
    beside = opened_connections(
        benchmark, measure, servers, 500 if is_quick else 4_000, 1 if is_quick else ROUNDS
    )
    cpu = "server.cpu_per_handshake_seconds"
    note_each(benchmark, cpu, beside)
    note_each(benchmark, "connections.opened_per_second", beside, "swarm included")
    if is_quick:
        return
    comparisons = [
        beside.compare(cpu, "swarmgate", "bare ASGI", HANDSHAKE_CPU_BESIDE_BARE_ASGI),
        beside.compare(cpu, "swarmgate", "send loop", NO_BOUND),
    ]
    if "node" in servers:
        comparisons += [
            beside.compare(cpu, "swarmgate", "node", NO_BOUND),
            beside.compare(cpu, "bare ASGI", "node", NO_BOUND),
        ]
    judge(benchmark, *comparisons)


def opened_connections(
    benchmark: BenchmarkFixture,
    measure: Measure,
    servers: Mapping[str, TargetSource],
    connections: int,
    rounds: int,
) -> Beside:
    """Open ``connections`` connections to each server, in four steps, for ``rounds`` rounds."""
    load = {"path": "/ws", "scenario": "hold", "steps": 4, "duration": 0.5}
    beside = Beside(
        list(servers), lambda name: measure(servers[name], connections=connections, **load)
    )
    make_rounds(benchmark, beside, rounds)
    return beside


def test_idle_connections_with_heartbeat_and_pings(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """10,000 idle connections: at most 1.9 times the CPU of a loop that sends as many frames."""
    servers = {"swarmgate": BEATING, "frame loop": FRAME_LOOP}
    load = {
        "path": "/ws",
        "scenario": "hold",
        "connections": 500 if is_quick else 10_000,
        "duration": 2.0 if is_quick else 10.0,
    }
    beside = Beside(list(servers), lambda name: measure(servers[name], **load))
    make_rounds(benchmark, beside, 1 if is_quick else ROUNDS)
    cpu = "server.cpu_ratio"
    note_each(benchmark, cpu, beside, "of a core")
    note_each(benchmark, "messages.unsolicited", beside, "heartbeats heard")
    if not is_quick:
        bound = IDLE_CPU_BESIDE_THE_FRAME_LOOP
        judge(benchmark, beside.compare(cpu, "swarmgate", "frame loop", bound))


def test_a_drain_of_10_000_clients_over_4_workers(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """All are notified, each gets its close code, the server exits with 0 and leaves nothing."""
    connections = 400 if is_quick else 10_000
    figures = benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: measure(
            reference("--workers", "4", "--drain-timeout-seconds", "5"),
            path="/ws",
            scenario="drain",
            connections=connections,
            duration=1.0,
            parameters={"leave": 0.9},
        )
    )
    last, exited = (figures[f"drain.{name}_seconds"] for name in ("told_last", "exit"))
    print(f"\nlast notified after {last:.3g} s, exit {exited:.3g} s after SIGTERM")
    # Not a matter of speed, so judged at any size.
    assert figures["drain.told"] == figures["drain.connected"] == connections
    assert figures["drain.closed_1000"] + figures["drain.closed_1001"] == connections
    assert (figures["drain.exit_status"], figures["drain.left_processes"]) == (0, 0)
    assert figures["drain.refused_status"] == 503


def test_others_are_served_during_broadcasts(
    benchmark: BenchmarkFixture, tmp_path: Path, is_quick: bool
) -> None:
    """Broadcasts to 10,000 delay the echoes of others at most 0.3 times as long as a loop does."""
    connections = 500 if is_quick else 10_000
    seconds = 1.0 if is_quick else 6.0
    bounds = ANY_MACHINE if is_quick else ECHO_BOUNDS
    servers = {"swarmgate": SILENT, "send loop": SEND_LOOP}
    number = 0

    def both(name: str) -> Mapping[str, float]:
        nonlocal number
        number += 1
        folder = tmp_path / str(number)
        folder.mkdir()
        return asyncio.run(
            echo_during_broadcasts(servers[name], folder, connections, seconds, bounds)
        )

    beside = Beside(list(servers), both)
    make_rounds(benchmark, beside, 1 if is_quick else ROUNDS)
    p99 = "latency.p99_seconds"
    note_each(benchmark, p99, beside, "echo during broadcasts")
    if not is_quick:
        bound = ECHO_P99_BESIDE_THE_SEND_LOOP
        judge(benchmark, beside.compare(p99, "swarmgate", "send loop", bound))


async def echo_during_broadcasts(
    source: TargetSource, folder: Path, connections: int, seconds: float, bounds: Bounds
) -> Mapping[str, float]:
    """Measure the echoes of 20 clients while broadcasts go to ``connections`` others.

    Raises:
        RunInvalidError: the echoes were sent too late to say how late they came back.
    """
    async with running(source, folder / "server.log") as server:
        found = TargetSource(pids=(server.pid,))
        address = f"ws://127.0.0.1:{server.port}"
        wide = Plan(
            url=f"{address}/ws",
            connections=connections,
            scenario="broadcast",
            parameters={},
            rate=BROADCASTS_PER_SECOND,
            payload_bytes=PAYLOAD_BYTES,
            duration_seconds=seconds + 2.0,
            bounds=ANY_MACHINE,
        )
        echo = Plan(
            url=f"{address}/echo",
            connections=20,
            scenario="echo",
            parameters={},
            rate=200.0,
            duration_seconds=seconds,
            bounds=bounds,
        )
        broadcasting = asyncio.Event()

        def watch(line: Line) -> None:
            if isinstance(line, Event) and line.detail.get("phase") == "measure":
                broadcasting.set()

        async with asyncio.TaskGroup() as runs:
            runs.create_task(execute(wide, found, folder / "wide.run.jsonl", watch))
            await broadcasting.wait()
            path = folder / "echo.run.jsonl"
            echoed = await execute(echo, found, path, lambda _line: None)
    if not echoed.valid:
        raise RunInvalidError("; ".join(echoed.reasons))
    assert echoed.errors == {}
    assert echoed.figures["integrity.lost"] == 0
    return echoed.figures
