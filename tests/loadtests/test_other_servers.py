"""The truth is reported of servers that are not ours: of each, by every scenario."""

import shutil
import sys
from pathlib import Path

import pytest
import trustme

from loadtests.plan.connect_options import Client, ConnectOptions
from tests.loadtests.conftest import LOSSY_COLLECT_SECONDS, Run
from tests.servers.launch import launch

NODE_FOLDER = Path(__file__).parents[1] / "servers" / "node_ws"


def node_command() -> list[str]:
    node = shutil.which("node")
    if node is None or not (NODE_FOLDER / "node_modules" / "ws").exists():
        pytest.skip("Node's ws is not installed: npm ci --prefix tests/servers/node_ws")
    return [node, str(NODE_FOLDER / "server.mjs"), "0"]


def command(name: str) -> list[str]:
    """Return the command of a server, a port of its own choice included."""
    return {
        "websockets": lambda: [sys.executable, "-m", "tests.servers.plain_websockets", "0"],
        "picows": lambda: [sys.executable, "-m", "benchmarks.cost.picows_echo", "0"],
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
    first, half, last = (
        summary.figures[f"delivery.{which}_seconds"] for which in ("first", "half", "last")
    )
    assert 0 < first <= half <= last


@pytest.mark.parametrize("name", ["websockets", "node"])
@pytest.mark.parametrize("path", ["/echo", "/ws"])
async def test_every_message_is_counted_as_the_server_counts_it(
    run: Run, name: str, path: str
) -> None:
    scenario = "broadcast" if path == "/ws" else "echo"
    with launch(command(name)) as server:
        summary = await run(server.url(path), scenario, connections=12, rate=50.0, processes=2)
        done = server.stop()
    assert done is not None
    assert summary.figures["connections.opened"] == done["handshakes"] == 12
    assert summary.figures["messages.sent"] == done["received"] == 50
    assert summary.figures["messages.received"] == done["sent"]
    assert summary.figures["integrity.expected"] == done["sent"]
    assert summary.figures["integrity.lost"] == 0


async def test_deflate_and_a_subprotocol_are_asked_for_by_flags(run: Run) -> None:
    with launch([*command("websockets"), "--subprotocol", "chat.v2"]) as server:
        summary = await run(
            server.url("/ws"),
            "broadcast",
            rate=20.0,
            payload_bytes=5_000,
            options=ConnectOptions(deflate=True, subprotocols=("chat.v1", "chat.v2")),
        )
        refused = await run(server.url("/ws"), "hold", connections=2, name="refused")
        done = server.stop()
    assert done is not None
    assert done["compressed"] == 10
    assert done["handshakes"] == 10
    ((negotiated, count),) = summary.negotiated.items()
    assert negotiated.startswith("permessage-deflate;")
    assert (negotiated.rpartition(", ")[2], count) == ("subprotocol chat.v2", 10)
    assert done["sent"] == summary.figures["integrity.expected"] == 200
    assert summary.figures["integrity.lost"] == summary.figures["errors"] == 0
    assert refused.errors == {"upgrade:http-400": 2}


LOGIN = """
import ssl

import httpx
from loadtests.clients.setup import Client, Handshake


async def setup() -> httpx.AsyncClient:
    trusted = ssl.create_default_context(cafile={trusted!r})
    return httpx.AsyncClient(base_url="https://127.0.0.1:{port}", verify=trusted)


async def handshake(client: Client) -> Handshake:
    answer = await client.shared.get("/ticket")
    return Handshake(cookies={{"ticket": answer.text}})
"""


@pytest.mark.parametrize("client", [Client.PICOWS, Client.WEBSOCKETS])
async def test_a_chat_over_tls_with_a_ticket_is_measured(
    run: Run, tmp_path: Path, client: Client
) -> None:
    authority = trustme.CA()
    certificate, trusted, login = (tmp_path / name for name in ("server.pem", "ca.pem", "login.py"))
    authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(certificate)
    authority.cert_pem.write_to_path(trusted)
    with launch("tests.servers.aiohttp_chat", "0", str(certificate)) as server:
        login.write_text(LOGIN.format(trusted=str(trusted), port=server.port))
        url = server.url("/ws").replace("ws:", "wss:")
        options = ConnectOptions(ca=str(trusted), client=client)
        summary = await run(
            url,
            "broadcast",
            rate=20.0,
            processes=2,
            options=options,
            setup=str(login),
            parameters={"wrap": '{"say": "{}"}'},
        )
        without = await run(url, "hold", connections=2, options=options, name="without")
        done = server.stop()
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    assert done is not None
    assert done["handshakes"] == done["tickets"] == summary.figures["connections.opened"] == 10
    assert done["said"] == summary.figures["messages.sent"] == 20
    assert done["deliveries"] == summary.figures["integrity.expected"] == 200
    assert summary.figures["integrity.lost"] == 0
    assert {"tls.count", "setup.count"} <= set(summary.figures)
    assert without.errors == {"upgrade:http-403": done["refused"]} == {"upgrade:http-403": 2}


async def test_a_server_that_does_not_broadcast_is_reported_to_lose_everything(run: Run) -> None:
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
