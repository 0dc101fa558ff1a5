"""Servers that are not ours are told the truth about: each by every scenario."""

import shutil
import sys
from pathlib import Path

import pytest

from tests.loadtests.conftest import LOSSY_COLLECT_SECONDS, Run
from tests.servers.launch import launch

NODE_FOLDER = Path(__file__).parents[1] / "servers" / "node_ws"


def node_command() -> list[str]:
    node = shutil.which("node")
    if node is None or not (NODE_FOLDER / "node_modules" / "ws").exists():
        pytest.skip("Node's ws is not installed: npm ci --prefix tests/servers/node_ws")
    return [node, str(NODE_FOLDER / "server.mjs"), "0"]


def command(name: str) -> list[str]:
    """Give the command of a server, a port of its own choice included."""
    return {
        "websockets": lambda: [sys.executable, "-m", "tests.servers.plain_websockets", "0"],
        "picows": lambda: [sys.executable, "-m", "benchmarks.picows_echo", "0"],
        "node": node_command,
        "target_app": lambda: [sys.executable, "-m", "target_app", "--port", "0"],
    }[name]()


everyone = pytest.mark.parametrize("name", ["websockets", "picows", "node", "target_app"])
broadcasters = pytest.mark.parametrize("name", ["websockets", "node", "target_app"])


@everyone
async def test_idle_connections_are_held_and_the_server_is_watched(run: Run, name: str) -> None:
    with launch(command(name)) as server:
        summary = await run(server.url("/ws"), "hold", connections=40, steps=4)
    assert summary.valid
    assert summary.errors == {}
    assert summary.close_codes == {1000: 40}
    assert summary.figures["connections.open"] == 40
    # Found by the port it listens on.
    assert summary.header.target.pids == (server.pid,)
    assert summary.figures["server.memory_bytes"] > 1e6
    assert "server.memory_per_connection_bytes" in summary.figures
    assert summary.figures["server.cpu_ratio"] >= 0


@everyone
async def test_every_echo_comes_back_once_and_in_order(run: Run, name: str) -> None:
    with launch(command(name)) as server:
        summary = await run(server.url("/echo"), connections=20, rate=200.0, binary=name == "node")
    assert summary.valid
    assert summary.figures["latency.count"] == summary.figures["integrity.expected"] == 200
    for fault in ("lost", "duplicated", "reordered", "corrupted"):
        assert summary.figures[f"integrity.{fault}"] == 0
    # How fast it is, is the machine's affair.
    assert 0 < summary.figures["latency.p50_seconds"] < 60
    # Latency counts from when a message was due, service time from when it was sent.
    assert summary.figures["service_time.mean_seconds"] <= summary.figures["latency.mean_seconds"]


@broadcasters
async def test_every_broadcast_reaches_every_receiver(run: Run, name: str) -> None:
    with launch(command(name)) as server:
        summary = await run(server.url("/ws"), "broadcast", connections=30, rate=20.0, processes=2)
    assert summary.valid
    assert summary.figures["delivery.messages"] == 20
    assert summary.figures["integrity.expected"] == 600
    assert summary.figures["integrity.lost"] == 0
    first, median, last = (
        summary.figures[f"delivery.{which}_seconds"] for which in ("first", "median", "last")
    )
    assert 0 < first <= median <= last


async def test_a_server_that_does_not_broadcast_is_told_to_lose_everything(run: Run) -> None:
    with launch(command("picows")) as server:
        summary = await run(
            server.url("/ws"),
            "broadcast",
            connections=5,
            rate=10.0,
            collect_seconds=LOSSY_COLLECT_SECONDS,
        )
    # It echoes to the publisher alone: four of five receivers get nothing.
    assert summary.figures["integrity.lost"] == 40
