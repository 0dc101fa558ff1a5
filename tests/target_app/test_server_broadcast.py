"""``/ws`` and ``/echo``: who gets what, in which order, whatever the others do."""

from __future__ import annotations

import asyncio

import pytest
from websockets.exceptions import InvalidStatus


async def received(client, count):
    return [await client.recv() for _ in range(count)]


async def test_everyone_gets_what_one_sends_the_sender_included(serve):
    server = await serve()
    clients = [await server.connect() for _ in range(5)]
    await clients[2].send("hello, all")
    assert [await client.recv() for client in clients] == ["hello, all"] * 5


async def test_text_stays_text_and_binary_stays_binary_in_a_broadcast(serve):
    server = await serve()
    sender, other = await server.connect(), await server.connect()
    await sender.send("grün \N{SNOWMAN}")
    await sender.send(b"\x00\xff")
    await sender.send("")
    await sender.send(b"")
    assert await received(other, 4) == ["grün \N{SNOWMAN}", b"\x00\xff", "", b""]


async def test_an_echo_goes_to_its_sender_alone_in_the_type_it_came_in(serve):
    server = await serve()
    sender, other = await server.connect("/echo"), await server.connect("/echo")
    for message in ("text", b"\x00\xff", "", b""):
        await sender.send(message)
    await other.send("mine")
    assert await received(sender, 4) == ["text", b"\x00\xff", "", b""]
    assert await other.recv() == "mine"


async def test_a_broadcast_does_not_reach_an_echo_client(serve):
    server = await serve()
    echo, sender = await server.connect("/echo"), await server.connect()
    await sender.send("not for you")
    await sender.recv()
    await echo.send("mine")
    assert await echo.recv() == "mine"


async def test_messages_of_each_sender_arrive_in_order_and_in_one_order_everywhere(serve):
    server = await serve()
    senders = [await server.connect() for _ in range(3)]
    listeners = [await server.connect() for _ in range(10)]
    each = 50

    async def send_all(name, client):
        for n in range(each):
            await client.send(f"{name}:{n}")

    async with asyncio.TaskGroup() as group:
        reading = [group.create_task(received(c, 3 * each)) for c in (*senders, *listeners)]
        for name, client in zip("abc", senders, strict=True):
            group.create_task(send_all(name, client))
    first = reading[0].result()
    for name in "abc":
        assert [m for m in first if m.startswith(name)] == [f"{name}:{n}" for n in range(each)]
    assert all(task.result() == first for task in reading)


async def test_a_client_that_vanishes_amid_broadcasts_disturbs_nobody(serve):
    server = await serve()
    vanishing = [await server.connect_raw() for _ in range(20)]
    sender, other = await server.connect(), await server.connect()
    for n, client in enumerate(vanishing):
        await sender.send(str(n))
        client.reset()
    await sender.send("still here")
    expected = [*map(str, range(20)), "still here"]
    assert await received(sender, 21) == expected
    assert await received(other, 21) == expected
    stats = await server.until_stats(open={"/ws": 2})
    assert sum(stats["closed_by_code"].values()) == 20


async def flood(server, sender, other, *, until_closed):
    """Broadcast, others reading all of it, until so many slow clients have been closed."""
    text = "x" * 65536
    while (await server.stats())["slow_consumers_closed"] < until_closed:
        for _ in range(8):
            await sender.send(text)
            assert await sender.recv() == text
            assert await other.recv() == text


async def test_a_stalled_reader_is_told_1013_while_the_others_get_everything(serve):
    server = await serve("--slow-consumer-messages", "4", TARGET_CLOSE_TIMEOUT_SECONDS="1000")
    stalled = await server.connect_raw()
    sender, other = await server.connect(), await server.connect()
    await flood(server, sender, other, until_closed=1)
    assert await stalled.close_code() == 1013
    stats = await server.until_stats(open={"/ws": 2})
    assert stats["closed_by_code"] == {"1013": 1}


async def test_a_reader_that_never_reads_again_is_cut(serve):
    server = await serve("--slow-consumer-messages", "4", TARGET_CLOSE_TIMEOUT_SECONDS="0.05")
    await server.connect_raw()
    sender, other = await server.connect(), await server.connect()
    await flood(server, sender, other, until_closed=1)
    stats = await server.until_stats(open={"/ws": 2})
    assert stats["closed_by_code"] == {"1013": 1}


async def test_a_reader_that_stalls_for_too_long_is_closed_with_little_waiting_for_it(serve):
    # Those who read may stall for as long as a busy machine makes them.
    server = await serve("--slow-consumer-seconds", "2", TARGET_CLOSE_TIMEOUT_SECONDS="0.05")
    await server.connect_raw()
    sender, other = await server.connect(), await server.connect()
    await flood(server, sender, other, until_closed=1)
    await server.until_stats(open={"/ws": 2})


async def test_a_reader_that_lags_and_catches_up_misses_nothing(serve):
    server = await serve("--slow-consumer-bytes", "100000000", "--slow-consumer-seconds", "1000")
    lagging = await server.connect(max_queue=1)
    sender = await server.connect()
    texts = [f"{n:>65536}" for n in range(200)]
    for text in texts:
        await sender.send(text)
        assert await sender.recv() == text
    assert await received(lagging, 200) == texts
    stats = await server.until_stats(messages_sent=400)
    assert stats["slow_consumers_closed"] == 0


async def test_200_clients_get_a_burst_in_order(serve):
    server = await serve("--backlog", "256")
    clients = [await server.connect() for _ in range(200)]
    for n in range(5):
        await clients[0].send(str(n))
    for client in clients:
        assert await received(client, 5) == ["0", "1", "2", "3", "4"]


async def test_an_unknown_endpoint_is_answered_with_404(serve):
    server = await serve()
    with pytest.raises(InvalidStatus) as refusal:
        await server.connect("/nowhere")
    assert refusal.value.response.status_code == 404
    await server.until_stats(refused={"not_found": 1})


async def test_a_message_larger_than_the_limit_closes_only_its_sender_with_1009(serve):
    server = await serve("--ws-max-size", "1000")
    sender, other = await server.connect(), await server.connect()
    await sender.send("x" * 1001)
    await sender.wait_closed()
    assert sender.close_code == 1009
    await other.send("x" * 1000)
    assert await other.recv() == "x" * 1000


@pytest.mark.parametrize(("flag", "extensions"), [("--deflate", 1), ("--no-deflate", 0)])
async def test_deflate_is_negotiated_as_the_flag_says(serve, flag, extensions):
    server = await serve(flag)
    client = await server.connect()
    assert len(client.protocol.extensions) == extensions
    await client.send("compressed or not")
    assert await client.recv() == "compressed or not"
