"""Who may come in and how much they may do; dead peers; slow readers; what Prometheus sees."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from prometheus_client.parser import text_string_to_metric_families
from websockets.exceptions import ConnectionClosed

from tests.target_app.conftest import DEADLINE_SECONDS, until


async def test_without_a_token_in_the_settings_everyone_may_come(serve):
    server = await serve()
    await server.connect(additional_headers={"Authorization": "Bearer whatever"})


async def test_a_handshake_needs_the_token_in_one_of_two_places(serve):
    server = await serve("--token", "s3cret", "--open-stats")
    for options in (
        {},
        {"additional_headers": {"Authorization": "Bearer wrong"}},
        {"additional_headers": {"Authorization": "Basic s3cret"}},
        {"additional_headers": {"Authorization": "Bearer"}},
    ):
        assert await server.refused(**options) == 401
    assert await server.refused("/ws?token=wrong") == 401
    await server.connect(additional_headers={"Authorization": "Bearer s3cret"})
    await server.connect(additional_headers={"Authorization": "bearer s3cret"})
    await server.connect("/ws/some-session?token=s3cret")
    await server.until_stats(refused={"token": 5})


async def test_a_post_needs_the_token_too(serve):
    server = await serve("--token", "s3cret")
    body = {"message": "hello"}
    assert (await server.http.post("/broadcast", json=body)).status_code == 401
    assert (await server.http.post("/broadcast?token=wrong", json=body)).status_code == 401
    bearer = {"Authorization": "Bearer s3cret"}
    assert (await server.http.post("/broadcast", json=body, headers=bearer)).status_code == 200


async def test_the_token_is_not_shown_by_a_wrong_setting(run_to_end):
    _, told = await run_to_end("--port", "no", "--token", "s3cret")
    assert "s3cret" not in told


async def test_browsers_may_come_from_the_allowed_origins_only(serve):
    server = await serve("--allowed-origins", "https://good.example, https://also.example")
    assert await server.refused(origin="https://evil.example") == 403
    assert await server.refused(origin="null") == 403
    await server.connect(origin="https://good.example")
    await server.connect(origin="https://also.example")
    await server.connect()  # no browser


async def test_one_connection_too_many_is_answered_with_503_until_another_leaves(serve):
    server = await serve("--max-connections", "2")
    clients = [await server.connect(), await server.connect("/echo")]
    assert await server.refused() == 503
    await clients[0].close()
    await server.until_stats(open={"/echo": 1})
    await server.connect()
    await server.until_stats(refused={"full": 1})
    assert (await server.get("/readyz")) == {"status": "ready"}


async def test_whoever_sends_too_fast_is_closed_with_1008(serve):
    server = await serve("--messages-per-second", "5")
    fast, slow = await server.connect(), await server.connect()
    loop = asyncio.get_running_loop()
    start = loop.time()
    with contextlib.suppress(ConnectionClosed):
        for n in range(50):
            await fast.send(str(n))
    await asyncio.wait_for(fast.wait_closed(), DEADLINE_SECONDS)
    earned = 5 * (loop.time() - start)
    assert (fast.close_code, fast.close_reason) == (1008, "more than 5 messages a second")
    await slow.send("still here")
    heard = []
    while (text := await slow.recv()) != "still here":
        heard.append(text)
    assert heard == [str(n) for n in range(len(heard))]
    assert 5 <= len(heard) <= 5 + earned
    assert (await server.stats())["rate_limited"] == 1


async def test_a_message_too_big_is_refused_under_stock_uvicorn_as_well(serve):
    server = await serve(module="uvicorn", app="target_app.app:app", TARGET_WS_MAX_SIZE="1000")
    client = await server.connect()
    await client.send("x" * 1000)
    assert len(await client.recv()) == 1000
    await client.send("x" * 1001)
    await asyncio.wait_for(client.wait_closed(), DEADLINE_SECONDS)
    assert client.close_code == 1009


async def test_settings_may_come_from_a_file(serve, run_to_end, tmp_path):
    file = tmp_path / "settings.env"
    file.write_text("TARGET_MAX_CONNECTIONS=1\nTARGET_TOKEN=from-file\n")
    server = await serve(TARGET_ENV_FILE=str(file))
    assert await server.refused() == 401
    await server.connect("/ws?token=from-file")
    assert await server.refused("/ws?token=from-file") == 503
    status, told = await run_to_end("--port", "0", TARGET_ENV_FILE="/no/such/file")
    assert (status, "TARGET_ENV_FILE '/no/such/file': no such file" in told) == (2, True)
    file.write_text("TARGET_HEARTBEATS=1\n")
    status, told = await run_to_end("--port", "0", TARGET_ENV_FILE=str(file))
    assert status == 2
    assert "TARGET_HEARTBEATS" in told


# Dead peers


@pytest.mark.parametrize("path", ["/ws", "/echo", "/ws/some-session"])
async def test_a_peer_that_answers_no_ping_is_removed_and_the_others_stay(serve, path):
    # The one that answers has far longer for it than a busy machine takes.
    server = await serve("--ws-ping-interval", "0.2", "--ws-ping-timeout", "3")
    await server.connect_raw(path)  # reads and answers nothing
    answering = await server.connect("/ws")
    stats = await server.until_stats(pings_unanswered=1, open={"/ws": 1})
    assert stats["closed_by_code"] == {"1011": 1}
    await answering.send("still here")
    assert await answering.recv() == "still here"


async def test_an_unanswered_ping_is_told_to_a_peer_that_comes_back(serve):
    server = await serve("--ws-ping-interval", "0.2", "--ws-ping-timeout", "0.2")
    silent = await server.connect_raw()
    await server.until_stats(pings_unanswered=1)
    assert await silent.close_code() == 1011


async def test_stock_uvicorn_finds_dead_peers_by_the_same_pings(serve):
    server = await serve(
        *("--ws-ping-interval", "1000"),
        module="uvicorn",
        app="target_app.app:app",
        TARGET_WS_PING_INTERVAL="0.2",
        TARGET_WS_PING_TIMEOUT="0.2",
    )
    await server.connect_raw()
    await server.until_stats(pings_unanswered=1, open={})


@pytest.mark.parametrize("path", ["/held", "/pauses"])
async def test_a_client_is_not_cut_while_its_endpoint_takes_its_time(serve_endpoints, path):
    server = await serve_endpoints(TARGET_WS_PING_INTERVAL="0.2", TARGET_WS_PING_TIMEOUT="3")
    client = await server.connect(path)
    for text in ("one", "two", "three"):
        await client.send(text)
    for silent in (1, 2):  # each is found only when a ping of the client's would have been too
        await server.connect_raw("/shout")
        await server.until_stats(pings_unanswered=silent, open={path: 1})
    assert (await server.get("/go"))["status"] == "ok"
    assert [await client.recv() for _ in range(3)] == ["heard", "heard", "heard"]


async def test_a_client_is_found_that_answers_no_ping_once_its_endpoint_has_taken_its_time(
    serve_endpoints,
):
    server = await serve_endpoints(TARGET_WS_PING_INTERVAL="0.2", TARGET_WS_PING_TIMEOUT="3")
    silent = await server.connect_raw("/pauses")
    await silent.say("one", "two")
    await server.connect_raw("/shout")
    await server.until_stats(pings_unanswered=1, open={"/pauses": 1})
    assert (await server.get("/go"))["status"] == "ok"
    await server.until_stats(pings_unanswered=2, open={})


async def test_a_client_that_reads_nothing_is_found_though_its_own_messages_wait(serve_endpoints):
    server = await serve_endpoints(TARGET_WS_PING_INTERVAL="0.2", TARGET_WS_PING_TIMEOUT="0.2")
    client = await server.connect_raw("/plain")
    saying = asyncio.create_task(client.say(*(200 * [2**18 * "x"])))
    try:
        await server.until_stats(pings_unanswered=1, open={}, closed_by_code={"1011": 1})
    finally:
        saying.cancel()
        await asyncio.gather(saying, return_exceptions=True)


# Slow readers


@pytest.mark.parametrize("policy", ["drop-oldest", "drop-newest"])
async def test_a_stalled_reader_is_kept_and_its_queue_bounded(serve, policy):
    bound = 4
    server = await serve(
        *("--slow-consumer-policy", policy, "--slow-consumer-messages", str(bound)),
        *("--slow-consumer-seconds", "0.01"),
    )
    stalled = await server.connect_raw()
    sender = await server.connect()
    sent = 0
    while (await server.stats())["messages_dropped"] < 20:
        await sender.send(f"{sent:>65536}")
        assert int(await sender.recv()) == sent
        sent += 1
    stats = await server.stats()
    assert (stats["slow_consumers_closed"], stats["open"]["/ws"]) == (0, 2)
    assert stats["lagging"] == 1
    expected = sent - stats["messages_dropped"]
    got = [int(text) for text in await stalled.texts(expected)]
    assert got == sorted(got)
    if policy == "drop-oldest":
        assert got[-bound:] == list(range(sent - bound, sent))
    else:
        assert got == list(range(expected))
    await server.until_stats(lagging=0)


async def test_the_memory_of_a_stalled_reader_is_bounded_by_bytes(serve):
    server = await serve(
        *("--slow-consumer-policy", "drop-oldest", "--slow-consumer-bytes", "300000"),
    )
    await server.connect_raw()
    sender = await server.connect()
    for n in range(200):  # 13 MB
        await sender.send(f"{n:>65536}")
        await sender.recv()
    stats = await server.stats()
    # What the two sockets and the transport hold is the kernel's and uvicorn's; 4 fit the bound.
    waiting = 200 - stats["messages_dropped"] - (stats["messages_sent"] - 200)
    assert waiting <= 5


# Prometheus


async def test_metrics_say_what_stats_say(serve):
    server = await serve("--max-connections", "2")
    client = await server.connect()
    await server.connect("/echo")
    await server.refused()
    await client.send("hello")
    await client.recv()
    await server.until_stats(refused={"full": 1})
    response = await server.http.get("/metrics")
    assert response.headers["content-type"].startswith("text/plain")
    samples = {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(response.text)
        for sample in family.samples
    }
    worker = ("worker", str(server.process.pid))
    assert samples["target_connections", ("endpoint", "/ws"), worker] == 1
    assert samples["target_connections", ("endpoint", "/echo"), worker] == 1
    assert samples["target_room_members", ("room", "chat:lobby"), worker] == 1
    assert samples["target_accepted_total", worker] == 2
    assert samples["target_handshakes_refused_total", ("reason", "full"), worker] == 1
    assert samples["target_messages_sent_total", worker] == 1
    assert samples["target_messages_dropped_total", worker] == 0
    assert samples["target_slow_consumers_closed_total", worker] == 0
    assert samples["target_draining", worker] == 0
    assert samples["target_bus_dropped_total", ("kind", "local"), worker] == 0


async def test_readyz_turns_red_during_a_drain_and_healthz_stays_green(serve):
    server = await serve("--drain-timeout-seconds", "1000")
    await server.connect()
    assert (await server.http.get("/readyz")).status_code == 200

    async def red():
        return (await server.http.get("/readyz")).status_code == 503

    await server.drain()
    await until(red)
    assert (await server.http.get("/healthz")).status_code == 200
