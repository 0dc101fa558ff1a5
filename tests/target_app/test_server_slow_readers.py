"""Clients that do not read, over real sockets: never muted, always bounded, always counted."""

from __future__ import annotations

import asyncio
import signal

import psutil
import pytest
from websockets.frames import Frame, Opcode

from target_app.protocol import SHUTTING_DOWN
from tests.target_app.conftest import DEADLINE_SECONDS, until

LARGE = 5_000_000
"""Characters of a message that is larger than what may wait for one client."""

APP = "target_app.app:app"
FLOOD = 2**26
PAYLOAD = b"x" * 125
"""Of a ping, at most so long (RFC 6455 §5.5)."""


async def say(sender, *texts):
    """Broadcast ``texts`` and hear each of them, as one of those who are in the room."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        for text in texts:
            await sender.send(text)
            assert await sender.recv() == text


def large(*letters):
    return [letter * LARGE for letter in letters]


@pytest.mark.parametrize("policy", ["disconnect", "drop-oldest", "drop-newest"])
async def test_a_message_larger_than_the_queue_waits_for_its_client_all_the_same(serve, policy):
    server = await serve(
        "--slow-consumer-policy", policy, "--slow-consumer-seconds", str(DEADLINE_SECONDS)
    )
    stalled = await server.connect_raw()
    sender = await server.connect(max_size=None)
    await say(sender, *large("a", "b"))
    assert [text[0] for text in await stalled.texts(2)] == ["a", "b"]
    await say(sender, "still there?")
    assert await stalled.texts(1) == ["still there?"]
    await server.until_stats(messages_sent=6, messages_dropped=0, slow_consumers_closed=0)


async def serve_by(serve, path, **settings):
    """Start a server that reaches below ASGI, or one that has plain ASGI alone."""
    environment = {f"TARGET_{name.upper()}": str(value) for name, value in settings.items()}
    if path == "wire":
        return await serve(**environment)
    return await serve("--ws", "wsproto", module="uvicorn", app=APP, **environment)


paths = pytest.mark.parametrize("path", ["wire", "plain ASGI"])


@paths
async def test_a_reader_that_large_messages_find_no_room_for_is_closed_with_1013(serve, path):
    server = await serve_by(
        serve,
        path,
        slow_consumer_seconds=DEADLINE_SECONDS,
        close_timeout_seconds=DEADLINE_SECONDS,
    )
    stalled = await server.connect_raw()
    sender = await server.connect(max_size=None)
    await say(sender, *large("a", "b", "c", "d"))
    await server.until_stats(slow_consumers_closed=1)
    assert await stalled.close_code() == 1013
    await say(sender, "5")
    stats = await server.until_stats(open={"/ws": 1}, closed_by_code={"1013": 1}, lagging=0)
    pushed = 2 * 4 + 1
    counted = [stats[f"messages_{what}"] for what in ("sent", "dropped", "lost")]
    assert counted == [pushed - 3, 0, 3]


@paths
async def test_who_sends_too_fast_is_sent_what_waits_for_it_before_it_is_closed(serve, path):
    patient = {"slow_consumer_seconds": 1000, "close_timeout_seconds": 1000}
    server = await serve_by(serve, path, messages_per_second=0.001, **patient)
    stalled = await server.connect_raw()
    texts = [f"{n:>65536}" for n in range(60)]
    for text in texts:
        assert (await server.http.post("/broadcast", json={"message": text})).status_code == 200
    await server.until_stats(lagging=1)
    await stalled.say("the one that it may")
    await server.until_stats(broadcasts=61)
    await stalled.say("one more")
    await server.until_stats(rate_limited=1)
    assert await stalled.texts(61) == [*texts, "the one that it may"]
    assert await stalled.close_code() == 1008


@paths
async def test_a_drain_sends_what_waits_for_a_client_that_is_behind_before_it_closes(serve, path):
    server = await serve_by(
        serve,
        path,
        slow_consumer_seconds=DEADLINE_SECONDS,
        close_timeout_seconds=DEADLINE_SECONDS,
        drain_timeout_seconds=0.05,
    )
    stalled = await server.connect_raw()
    sender = await server.connect(max_size=None)
    await say(sender, *large("a", "b"))
    await server.until_stats(lagging=1)
    server.send_signal(signal.SIGTERM)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await sender.wait_closed()
    *waited, announced = await stalled.texts(3)
    assert [text[0] for text in waited] == ["a", "b"]
    assert announced == SHUTTING_DOWN
    assert await stalled.close_code() == 1001


@paths
async def test_a_reader_that_resets_while_it_is_behind_is_forgotten_and_what_waited_is_lost(
    serve, path
):
    server = await serve_by(serve, path, slow_consumer_seconds=DEADLINE_SECONDS)
    stalled = await server.connect_raw()
    sender = await server.connect(max_size=None)
    await say(sender, *large("a", "b"))
    await server.until_stats(lagging=1)
    stalled.reset()
    stats = await server.until_stats(open={"/ws": 1}, lagging=0, messages_lost=1)
    assert (stats["messages_sent"], stats["slow_consumers_closed"]) == (3, 0)
    await say(sender, "3")


async def flood(client, frame, until_blocked_seconds=1.0):
    """Send copies of ``frame`` until the server has not taken any for so long, or 64 MB were sent.

    Return how many bytes it took, and what is left of the frame that it took the beginning of.
    """
    many = memoryview(frame * (65536 // len(frame)))
    loop = asyncio.get_running_loop()
    sent, taken_at = 0, loop.time()
    while sent < FLOOD and loop.time() < taken_at + until_blocked_seconds:
        try:
            sent += client.socket.send(many[sent % len(many) :])
            taken_at = loop.time()
            await asyncio.sleep(0)
        except BlockingIOError:
            await asyncio.sleep(0.005)
    return sent, frame[sent % len(frame) :]


def masked(opcode, data):
    return Frame(opcode, data).serialize(mask=True)


async def test_pongs_for_a_client_that_does_not_read_are_bounded_and_others_are_served(serve):
    server = await serve()
    process = psutil.Process(server.process.pid)
    other = await server.connect("/echo")
    await other.send("before")
    assert await other.recv() == "before"
    before = process.memory_info().rss
    flooding = await server.connect_raw("/echo")
    pings = asyncio.create_task(flood(flooding, masked(Opcode.PING, PAYLOAD)))
    while not pings.done():
        await say(other, "meanwhile")
    # What the kernel's buffers hold is not the server's. A server that answers each ping keeps
    # nearly as many bytes as it was sent.
    assert process.memory_info().rss - before < 8_000_000
    assert pings.result()[0] < FLOOD, "the server reads on from a client that does not read"


async def test_the_last_ping_is_answered_once_its_client_reads_again(serve):
    server = await serve()
    flooding = await server.connect_raw("/echo")
    _, rest = await flood(flooding, masked(Opcode.PING, PAYLOAD), until_blocked_seconds=0.2)
    ending = rest + masked(Opcode.PING, b"last") + masked(Opcode.TEXT, b"hello")
    sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(flooding.socket, ending))
    heard = []
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not {b"last", b"hello"} <= set(heard[-2:]):
            await flooding.read()
            heard += [bytes(event.data) for event in flooding.protocol.events_received()]
    await sending
    assert set(heard[:-2]) == {PAYLOAD}


async def test_an_echo_that_nobody_reads_is_read_from_no_more(serve):
    server = await serve()
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    stalled = await server.connect_raw("/echo")
    taken, _ = await flood(stalled, masked(Opcode.TEXT, b"x" * 60_000))
    assert taken < FLOOD
    assert process.memory_info().rss - before < 8_000_000
    assert (await server.stats())["open"]["/echo"] == 1


# Many frames in one piece


async def test_many_frames_at_once_are_handled_in_their_order_and_none_is_lost(serve):
    server = await serve()
    client = await server.connect_raw("/echo", receive_buffer_bytes=2**20)
    frames = [
        masked(Opcode.TEXT, b"%d" % n) + masked(Opcode.PING, b"%d" % n) * (n % 3)
        for n in range(5000)
    ]
    sending = asyncio.create_task(
        asyncio.get_running_loop().sock_sendall(client.socket, b"".join(frames))
    )
    assert await client.texts(5000) == [str(n) for n in range(5000)]
    await sending
    client.protocol.send_close(1000)
    await client.flush()
    assert await client.close_code() == 1000


async def test_what_was_read_of_a_client_is_heard_although_it_is_gone(serve_endpoints):
    server = await serve_endpoints()
    client = await server.connect_raw("/held")
    texts = [str(n) for n in range(40)]
    frames = b"".join(masked(Opcode.TEXT, text.encode()) for text in texts)
    await asyncio.get_running_loop().sock_sendall(client.socket, frames)

    async def heard(count):
        return len(await server.get("/heard")) >= count

    await until(lambda: heard(1))
    # Which the server finds when it answers, with nearly all of them still to be parsed.
    client.reset()
    await server.get("/go")
    await until(lambda: heard(40))
    assert await server.get("/heard") == texts
    await server.until_stats(open={})
    assert not [line for line in server.lines if "Traceback" in line]


async def test_a_client_that_has_begun_a_frame_before_it_is_served_is_heard_as_well(
    serve_endpoints,
):
    server = await serve_endpoints()
    client = await server.connect_raw("/late", receive_buffer_bytes=2**20)
    texts = [f"{n:>300}" for n in range(40)]
    frames = b"".join(masked(Opcode.TEXT, text.encode()) for text in texts)
    loop = asyncio.get_running_loop()
    await loop.sock_sendall(client.socket, frames[:100])
    await server.get("/go")
    await loop.sock_sendall(client.socket, frames[100:])
    assert await client.texts(40) == [f"{text} heard" for text in texts]


@pytest.mark.parametrize("path", ["/turns", "/plain/turns"])
@pytest.mark.parametrize("opcode", [Opcode.PING, Opcode.TEXT])
async def test_others_have_their_turn_between_the_frames_of_one_read(serve_endpoints, opcode, path):
    server = await serve_endpoints()
    client = await server.connect_raw(path, receive_buffer_bytes=2**20)
    many = 2000
    frames = (
        masked(Opcode.TEXT, b"first") + masked(opcode, b"x") * many + masked(Opcode.TEXT, b"last")
    )
    await asyncio.get_running_loop().sock_sendall(client.socket, frames)
    texts = await client.texts(2 if opcode is Opcode.PING else many + 2)
    before, after = (int(text.split()[1]) for text in (texts[0], texts[-1]))
    # Each turn brings a few frames; one read alone would bring all of them.
    assert after - before >= many / 10
