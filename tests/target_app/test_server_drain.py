"""The drain: real signals to real processes."""

from __future__ import annotations

import json
import signal

import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus

SHUTTING_DOWN = "Server is shutting down, please disconnect."
BOTH_SIGNALS = pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
PATIENT = ("--drain-timeout-seconds", "1000", "--drain-announce-seconds", "1000")


async def how_it_was_closed(client):
    with pytest.raises(ConnectionClosed) as closed:
        await client.recv()
    return closed.value


@BOTH_SIGNALS
async def test_a_drain_is_announced_and_ends_with_0_as_the_last_client_leaves(serve, signum):
    server = await serve(*PATIENT)
    first, last = await server.connect(), await server.connect()
    server.send_signal(signum)
    assert await first.recv() == SHUTTING_DOWN
    assert await last.recv() == SHUTTING_DOWN
    await first.close()
    stats = await server.until_stats(open={"/ws": 1})
    assert stats["draining"]
    await last.close()
    assert await server.exit_status() == 0


@BOTH_SIGNALS
async def test_a_server_without_clients_exits_with_0_at_once(serve, signum):
    server = await serve(*PATIENT)
    server.send_signal(signum)
    assert await server.exit_status() == 0


async def test_the_announcement_is_repeated(serve):
    server = await serve("--drain-announce-seconds", "0.02")
    client = await server.connect()
    server.send_signal(signal.SIGTERM)
    assert [await client.recv() for _ in range(4)] == [SHUTTING_DOWN] * 4
    await client.close()
    assert await server.exit_status() == 0


async def test_clients_still_talk_to_each_other_during_a_drain(serve):
    server = await serve(*PATIENT)
    one, two, echo = await server.connect(), await server.connect(), await server.connect("/echo")
    await server.drain()
    assert [await one.recv(), await two.recv()] == [SHUTTING_DOWN] * 2
    await one.send("goodbye")
    assert [await one.recv(), await two.recv()] == ["goodbye"] * 2
    await echo.send("goodbye")
    assert await echo.recv() == "goodbye"


async def test_no_heartbeat_says_that_the_server_runs_while_it_drains(serve):
    server = await serve("--heartbeat-seconds", "0.01", "--drain-announce-seconds", "0.05")
    client = await server.connect()
    await server.drain()
    while await client.recv() != SHUTTING_DOWN:
        pass
    assert [await client.recv() for _ in range(3)] == [SHUTTING_DOWN] * 3


async def test_the_timeout_closes_whoever_remains_with_1001_in_a_closing_handshake(serve):
    server = await serve("--drain-timeout-seconds", "0.2", *PATIENT[2:])
    clients = [await server.connect(), await server.connect(), await server.connect("/echo")]
    server.send_signal(signal.SIGTERM)
    for client in clients[:2]:
        assert await client.recv() == SHUTTING_DOWN
    for client in clients:
        closed = await how_it_was_closed(client)
        assert closed.rcvd.code == 1001
        assert closed.rcvd.reason == "server is shutting down"
        assert closed.sent.code == 1001
        assert closed.rcvd_then_sent
    assert await server.exit_status() == 0


async def test_an_echo_client_is_waited_for_and_not_announced_to(serve):
    server = await serve(*PATIENT)
    echo = await server.connect("/echo")
    await server.drain()
    await echo.send("mine")
    assert await echo.recv() == "mine"
    await echo.close()
    assert await server.exit_status() == 0


async def test_a_client_that_does_not_read_cannot_hold_up_the_exit(serve):
    server = await serve("--drain-timeout-seconds", "0.2", TARGET_CLOSE_TIMEOUT_SECONDS="0.1")
    stalled = await server.connect_raw()
    sender = await server.connect()
    for _ in range(100):
        await sender.send("x" * 65536)
        await sender.recv()
    server.send_signal(signal.SIGTERM)
    assert await server.exit_status() == 0
    assert stalled.protocol.close_rcvd is None


async def test_a_new_handshake_is_refused_with_503_during_a_drain(serve):
    server = await serve(*PATIENT)
    await server.connect()
    await server.drain()
    for path in ("/ws", "/echo"):
        with pytest.raises(InvalidStatus) as refusal:
            await server.connect(path)
        assert refusal.value.response.status_code == 503
        assert json.loads(refusal.value.response.body) == {"detail": "The server is shutting down."}
    await server.until_stats(accepted=1, refused={"draining": 2})


async def test_healthz_says_draining_during_a_drain(serve):
    server = await serve(*PATIENT)
    await server.connect()
    await server.drain()
    response = await server.http.get("/healthz")
    assert (response.status_code, response.json()) == (200, {"status": "draining"})


async def test_a_second_sigint_closes_whoever_remains_with_1012_and_exits_with_130(serve):
    server = await serve(*PATIENT)
    client = await server.connect()
    server.send_signal(signal.SIGINT)
    assert await client.recv() == SHUTTING_DOWN
    server.send_signal(signal.SIGINT)
    assert (await how_it_was_closed(client)).rcvd.code == 1012
    assert await server.exit_status() == 130


async def test_one_sigquit_closes_everyone_with_1012_at_once_and_exits_with_130(serve):
    server = await serve(*PATIENT)
    client = await server.connect()
    server.send_signal(signal.SIGQUIT)
    await client.wait_closed()
    assert client.close_code == 1012
    assert await server.exit_status() == 130


async def test_one_sigint_beside_sigterms_does_not_force_the_end(serve):
    server = await serve(*PATIENT)
    client = await server.connect()
    await server.drain(signal.SIGTERM)
    server.send_signal(signal.SIGTERM)
    server.send_signal(signal.SIGINT)
    assert await client.recv() == SHUTTING_DOWN
    await client.close()
    assert await server.exit_status() == 0


async def test_a_stock_uvicorn_drains_likewise_and_then_dies_of_the_signal(serve):
    server = await serve(
        "target_app.app:app", module="uvicorn", TARGET_DRAIN_ANNOUNCE_SECONDS="1000"
    )
    client = await server.connect()
    server.send_signal(signal.SIGTERM)
    assert await client.recv() == SHUTTING_DOWN
    with pytest.raises(InvalidStatus):
        await server.connect()
    await client.close()
    assert await server.exit_status() == -signal.SIGTERM


async def test_nothing_that_was_queued_is_lost_before_the_close_frame(serve):
    server = await serve(
        *("--drain-timeout-seconds", "0", "--close-timeout-seconds", "1000"),
        *("--drain-announce-seconds", "1000", "--slow-consumer-seconds", "1000"),
    )
    lagging = await server.connect_raw()
    sender = await server.connect()
    texts = []
    # As many as the kernel holds, and some that have to wait.
    while len(texts) < 60 or not (await server.stats())["lagging"]:
        texts.append(f"{len(texts):>65536}")
        await sender.send(texts[-1])
        assert await sender.recv() == texts[-1]
    server.send_signal(signal.SIGTERM)
    assert (await how_it_was_closed_after(sender, SHUTTING_DOWN)).rcvd.code == 1001
    assert await lagging.texts(len(texts) + 1) == [*texts, SHUTTING_DOWN]
    assert await lagging.close_code() == 1001
    assert await server.exit_status() == 0


async def how_it_was_closed_after(client, last):
    assert await client.recv() == last
    return await how_it_was_closed(client)
