"""What one hostile client can make the server do: little, and nothing to the others."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import re
import select
import signal
import socket
from collections import Counter
from pathlib import Path

import psutil
import pytest

from target_app.connections.bounded import PARTS_AT_ONCE, PIECE_BYTES, BoundedHttp
from tests.target_app.conftest import DEADLINE_SECONDS, until
from tests.target_app.in_process import served
from tests.target_app.malformed import any_frame, any_handshake, frame, request
from tests.target_app.session_messages import question

PATHS = ("/ws", "/ws?room=fuzz", "/ws/1", "/ws/py_client", "/ws/fuzz", "/echo")
MB = 2**20
WHEN_TOLD = "tests.target_app.responders:when_told"
HOW_MANY_BEFORE = "tests.target_app.responders:how_many_before"
LONG_ENOUGH = "2"
"""Seconds for a request that does come to its end, on a busy machine too."""


def event(name, **data):
    return json.dumps({"event": name, "client_id": "", "data": {"data": data}})


class Raw:
    """A TCP connection to the server, with no idea of what is right."""

    def __init__(self, reader, writer):
        self.reader, self.writer = reader, writer

    async def send(self, data):
        # Sent to the end or refused: the server may have closed it by now.
        with contextlib.suppress(ConnectionError):
            self.writer.write(data)
            await self.writer.drain()

    async def until(self, wanted):
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.reader.readuntil(wanted)

    async def end(self):
        """Return what comes until the server closes."""
        with contextlib.suppress(ConnectionError):
            async with asyncio.timeout(DEADLINE_SECONDS):
                return await self.reader.read()
        return b""


@pytest.fixture
async def raw():
    """Open connections, ``await raw(server)``, that are cut in the end."""
    opened = []

    async def connect(server):
        streams = await asyncio.open_connection("127.0.0.1", server.port)
        opened.append(streams[1])
        return Raw(*streams)

    yield connect
    for writer in opened:
        writer.transport.abort()


def peak_memory(pid):
    """Return the most bytes that a process had in memory so far (proc(5): VmHWM)."""
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.search(r"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE)[1]) * 1024


async def program(server):
    client = await server.connect("/ws/py_client")
    assert (await server.event(client))["event"] == "connect"
    return client


# Rooms and events


async def test_a_client_is_in_so_many_rooms_and_no_more(serve):
    server = await serve("--rooms-per-client", "3")
    client = await program(server)
    for room in ("a", "b", "c", "c"):
        await client.send(event("join", room=room))
        assert (await server.event(client))["event"] == "joined"
    await client.send(event("join", room="d"))
    told = (await server.event(client))["data"]["data"]["message"]
    assert told == "in 3 rooms already, which is the limit; leave one first"
    await client.send(event("leave", room="a"))
    assert (await server.event(client))["event"] == "left"
    await client.send(event("join", room="d"))
    assert (await server.event(client))["event"] == "joined"
    assert (await server.stats())["rooms"] == dict.fromkeys(
        ["events.everyone:", "events:b", "events:c", "events:d"], 1
    )


async def test_of_many_rooms_the_largest_are_told_by_name(serve):
    server = await serve("--rooms-per-client", "200")
    one, two = await program(server), await program(server)
    for client, rooms in ((one, 150), (two, 20)):
        for room in range(rooms):
            await client.send(event("join", room=str(room)))
            assert (await server.event(client))["event"] == "joined"
    rooms = (await server.stats())["rooms"]
    assert len(rooms) == 100
    assert sum(members == 2 for members in rooms.values()) == 1 + 20


async def test_an_invalid_event_of_any_size_gets_a_short_answer(serve):
    server = await serve()
    client = await program(server)
    session = await server.connect("/ws/reader")
    many_keys = json.dumps({f"key{n}": 0 for n in range(4_000)})
    assert len(many_keys) < 2**16, "so that it is parsed"
    too_many_keys = json.dumps({f"{n:09}": n for n in range(200_000)})
    for wrong in (many_keys, too_many_keys):
        await client.send(wrong)
        answer = await client.recv()
        assert json.loads(answer)["event"] == "error"
        assert len(answer) < 1_000
        await session.send(wrong)
        answer = await session.recv()
        assert json.loads(answer)["type"] == "ERROR"
        assert len(answer) < 1_000
    await client.send(event("broadcast"))
    assert (await server.event(client))["event"] == "broadcast"


async def test_how_large_an_event_may_be_is_a_setting(serve):
    server = await serve("--event-bytes", "300")
    client = await program(server)
    fits = event("broadcast", text="")
    fits = event("broadcast", text="x" * (300 - len(fits)))
    await client.send(fits)
    assert (await server.event(client))["event"] == "broadcast"
    await client.send(fits + " ")
    errors = (await server.event(client))["data"]["data"]["errors"]
    assert errors == [{"at": "", "problem": "301 bytes; at most 300 are taken"}]


@pytest.mark.parametrize(
    "sent",
    [
        event("broadcast", text="?").replace('"?"', '"\\ud800"'),
        event("broadcast", text="?").replace('"?"', "NaN"),
        event("broadcast", text="?").replace('"?"', "9" * 5_000),
        event("broadcast", text="?").replace('"?"', "[" * 5_000),
        event("broadcast").encode().replace(b"broadcast", b"\xff"),
        "",
        b"",
    ],
)
async def test_what_no_json_reader_could_read_is_not_passed_on(serve, sent):
    server = await serve()
    sender, other = await program(server), await program(server)
    await sender.send(sent)
    assert (await server.event(sender))["data"]["data"]["message"] == "not a valid event"
    await sender.send(event("broadcast", text="still here"))
    for client in (sender, other):
        assert (await server.event(client))["data"]["data"] == {"text": "still here"}


# Questions


@pytest.mark.parametrize(
    ("flag", "bound", "filler"),
    [
        ("--max-questions", "5", ""),
        ("--questions-bytes", "200000", "x" * 35_000),
        # Where one character needs four bytes in memory, each takes four.
        ("--questions-bytes", "450000", "x" * 20_000 + "\U0001f600"),
    ],
    ids=["number", "bytes", "wide"],
)
async def test_however_many_sessions_ask_so_many_questions_wait(
    serve, tmp_path, flag, bound, filler
):
    now = tmp_path / "now"
    server = await serve("--responder", WHEN_TOLD, flag, bound)
    text = f"{now}\n{filler}"
    asked = []
    for n in range(8):
        client = await server.connect(f"/ws/s{n}")
        await client.send(question(text))
        told = await server.event(client)
        asked.append(told["type"])
        await client.close()
    assert asked == ["INTERRUPTION_ACKNOWLEDGED"] * 5 + ["ERROR"] * 3
    assert "waiting already" in told["payload"]["message"]
    assert (await server.stats())["answers_waiting"] == 5
    now.touch()
    await server.until_stats(answers_waiting=0)
    client = await server.connect("/ws/late")
    await client.send(question(text))
    assert (await server.event(client))["type"] == "INTERRUPTION_ACKNOWLEDGED"
    assert (await server.event(client))["type"] == "INTERRUPTION_ANSWER"


async def test_who_asks_much_does_not_hold_up_who_asks_once(serve, tmp_path):
    now = tmp_path / "now"
    server = await serve("--responder", HOW_MANY_BEFORE, "--answers-at-once", "1")
    much, once = await server.connect("/ws/much"), await server.connect("/ws/once")
    for client in [much] * 8 + [once]:
        await client.send(question(str(now)))
        assert (await server.event(client))["type"] == "INTERRUPTION_ACKNOWLEDGED"
    # While this is asked for, the task that the last question has become takes its place.
    await server.until_stats(answers_waiting=9)
    now.touch()
    # One was being answered already, and one came before.
    assert (await server.event(once))["payload"]["answerText"] == "2"


# HTTP and handshakes


@pytest.mark.parametrize("chunked", [False, True])
async def test_a_body_that_is_too_large_is_answered_with_413(serve, chunked):
    server = await serve("--body-bytes", "1000")
    body = json.dumps({"message": "x" * 2_000}).encode()

    async def in_parts():
        for at in range(0, len(body), 100):
            yield body[at : at + 100]

    answer = await server.http.post(
        "/broadcast",
        content=in_parts() if chunked else body,
        headers={"Content-Type": "application/json"},
    )
    assert answer.status_code == 413
    assert (await server.http.post("/broadcast", json={"message": "x" * 500})).status_code == 200


@pytest.mark.parametrize("start", [b"GET /", b"GET / HTTP/1.1\r\nX: ", b"\r\n"])
async def test_headers_without_an_end_are_refused(serve, raw, start):
    server = await serve()
    client = await raw(server)
    filler = b"\r\n" if start == b"\r\n" else b"x"
    await client.send(start)
    sending = asyncio.create_task(client.send(filler * (64 * MB // len(filler))))
    answer = await client.end()
    # What it says may be lost to the reset that what was not read causes.
    assert not answer or answer.startswith(b"HTTP/1.1 400 ")
    await sending
    assert (await server.get("/healthz"))["status"] == "ok"


async def test_large_headers_with_an_end_are_served(serve):
    server = await serve()
    client = await server.connect("/echo", additional_headers={"X": "y" * 8_000})
    await client.send("hello")
    assert await client.recv() == "hello"


@pytest.mark.parametrize(
    "half",
    [
        b"",
        b"\r\n",
        request("/ws")[:60],
        request("/ws")[:-2],
        b"POST /broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 30\r\n\r\n{",
    ],
)
async def test_half_a_request_is_waited_for_so_long(serve, raw, half):
    server = await serve("--handshake-seconds", "0.2")
    client = await raw(server)
    await client.send(half)
    assert await client.end() == b""


async def test_half_a_request_after_a_whole_one_is_waited_for_so_long(serve, raw):
    server = await serve("--handshake-seconds", LONG_ENOUGH)
    client = await raw(server)
    await client.send(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
    assert (await client.until(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
    await client.send(b"GET /hea")
    assert b"HTTP" not in await client.end()


async def test_a_websocket_outlives_the_time_of_its_handshake(serve, raw):
    server = await serve("--handshake-seconds", LONG_ENOUGH)
    client = await server.connect("/echo")
    half = await raw(server)
    assert await half.end() == b""  # opened later, cut by now
    await client.send("still here")
    assert await client.recv() == "still here"


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"X: y\r\n" * 130, b"431"),
        (b"Cookie: " + b"x" * 8_300 + b"\r\n", b"431"),
        (b"Content-Length: 5\r\n", b"400"),
        (b"Transfer-Encoding: chunked\r\n", b"400"),
    ],
)
async def test_a_handshake_that_cannot_be_read_is_answered_and_ended(serve, raw, headers, status):
    server = await serve("--log-level", "info")
    client = await raw(server)
    await client.send(request("/echo").removesuffix(b"\r\n") + headers + b"\r\n")
    assert (await client.end()).startswith(b"HTTP/1.1 " + status + b" ")
    await server.says(f"is refused with {status.decode()}: ")
    server.send_signal(signal.SIGTERM)
    assert await server.exit_status() == 0
    await server.last_words()
    assert not [line for line in server.lines if "Traceback" in line]


async def test_a_path_too_long_for_a_handshake_is_answered_and_ended(serve, raw):
    client = await raw(await serve())
    await client.send(request("/ws?room=" + 8_300 * "x"))
    assert (await client.end()).startswith(b"HTTP/1.1 414 ")


# Requests that do not wait for the response to the one before


LAST = b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"


def get(path):
    return f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()


async def unread(server, requests):
    """Send as much of ``requests`` as the server takes, on a socket from which nothing is read."""
    client = socket.socket()
    server._clients.callback(client.close)
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    await asyncio.get_running_loop().sock_connect(client, ("127.0.0.1", server.port))
    sending = asyncio.create_task(asyncio.get_running_loop().sock_sendall(client, requests))
    server._clients.callback(sending.cancel)
    return client, sending


async def test_many_requests_in_a_row_that_nobody_reads_the_answers_to_take_no_memory(serve):
    server = await serve()
    healthy = await server.connect("/echo")
    process = psutil.Process(server.process.pid)
    before = process.memory_info().rss
    for _ in range(5):
        await unread(server, get("/stats") * 20_000)
    for _ in range(50):
        await healthy.send("hello")
        assert await healthy.recv() == "hello"
    # A request that waits takes some 5 kB: there would be 8,000 and more of each client.
    assert process.memory_info().rss - before < 40 * MB


async def test_every_request_of_many_in_a_row_is_answered_in_turn(serve, raw):
    server = await serve()
    listener = await server.connect("/ws")
    client = await raw(server)
    wanted, requests = [], b""
    for n in range(300):
        body = json.dumps({"message": str(n).ljust(n * 20)}).encode()
        head = f"Host: x\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        requests += b"POST /broadcast HTTP/1.1\r\n" + head.encode() + body
        requests += get("/nowhere") * (n % 3) + get("/healthz") * (n % 5)
        wanted += [b"200"] + [b"404"] * (n % 3) + [b"200"] * (n % 5)
    sending = asyncio.create_task(client.send(requests + LAST))
    answers = await client.end()
    await sending
    assert re.findall(rb"HTTP/1.1 (\d+)", answers) == [*wanted, b"200"]
    for n in range(300):
        assert (await listener.recv()).strip() == str(n)


async def test_who_reads_no_response_is_cut_after_the_time_for_a_request(serve):
    server = await serve("--handshake-seconds", "0.2")
    client, _ = await unread(server, get("/stats") * 20_000)
    poll = select.poll()
    poll.register(client, 0)

    async def cut():
        return poll.poll(0)  # nothing but an error, or the end, which are always told

    await until(cut)


async def test_who_reads_slowly_but_reads_on_gets_every_response(serve):
    server = await serve("--handshake-seconds", LONG_ENOUGH)
    client, sending = await unread(server, get("/stats") * 1_000 + LAST)
    loop = asyncio.get_running_loop()
    answers = b""
    slow_until = loop.time() + 3 * float(LONG_ENOUGH)
    async with asyncio.timeout(DEADLINE_SECONDS):
        while some := await loop.sock_recv(client, 2_000 if loop.time() < slow_until else MB):
            answers += some
            if loop.time() < slow_until:
                await asyncio.sleep(0.05)  # it is what makes it slow
    await sending
    assert answers.count(b"HTTP/1.1 200 ") == 1_001


async def test_a_handshake_behind_a_request_that_is_not_answered_is_refused(serve, raw):
    server = await serve()
    client = await raw(server)
    await client.send(get("/stats") + request("/echo"))
    answer = await client.end()
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b" 101 " not in answer


async def test_a_body_of_tiny_chunks_holds_up_nobody(monkeypatch):
    """Parts are counted, not time: how many turns others get of a busy machine is its affair."""
    loop = asyncio.get_running_loop()
    turn, parts = 0, Counter()
    on_body = BoundedHttp.on_body

    def next_turn():
        nonlocal turn
        turn += 1
        if not writer.is_closing():
            loop.call_soon(next_turn)

    def count(self, body):
        parts[turn] += 1
        on_body(self, body)

    monkeypatch.setattr(BoundedHttp, "on_body", count)
    head = b"POST /broadcast HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    body = json.dumps({"message": "x" * 200_000}).encode()
    chunks = b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n"
    async with served() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        loop.call_soon(next_turn)
        writer.write(head + b"Transfer-Encoding: chunked\r\n\r\n" + chunks)
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 200 ")
        writer.close()
    assert parts.total() == len(body)
    assert max(parts.values()) < PARTS_AT_ONCE + PIECE_BYTES // len(b"1\r\nx\r\n")


# Fragments


async def test_fragments_without_end_take_no_memory(serve, raw):
    server = await serve("--ws-ping-interval", "0")
    client = await raw(server)
    await client.send(request("/echo"))
    await client.until(b"\r\n\r\n")
    await client.send(frame(1, b"x", fin=False))
    some = frame(0, b"", fin=False) * 100_000 + frame(9, b"are you there?")
    memory = []
    for _ in range(12):
        await client.send(some)
        await client.until(b"are you there?")
        memory.append(psutil.Process(server.process.pid).memory_info().rss)
    # Kept apart, each is 8 bytes or more.
    assert memory[-1] - memory[1] < 4 * MB, [size // MB for size in memory]


@pytest.mark.parametrize("opcode", [1, 2])
async def test_a_message_of_many_fragments_is_what_was_sent(serve, raw, opcode):
    server = await serve()
    client = await raw(server)
    await client.send(request("/echo"))
    await client.until(b"\r\n\r\n")
    sent = bytes(random.Random(1).choices(b"abc", k=5_000))
    fragments = [frame(opcode if n == 0 else 0, sent[n : n + 1], fin=False) for n in range(5_000)]
    await client.send(b"".join(fragments) + frame(0, b"end"))
    echoed = bytes([0x80 | opcode, 126]) + len(sent + b"end").to_bytes(2, "big") + sent + b"end"
    assert await client.until(b"end") == echoed


@pytest.mark.parametrize(
    "framed",
    [lambda sent: frame(1, sent), lambda sent: frame(1, sent[:9], fin=False) + frame(0, sent[9:])],
    ids=["one frame", "two"],
)
async def test_nothing_is_kept_of_a_message_that_its_endpoint_does_not_take(serve, raw, framed):
    server = await serve("--ws-max-size", str(256 * MB))
    client = await raw(server)
    await client.send(request("/ws/py_client"))
    await client.until(b"connection request granted")
    before = peak_memory(server.process.pid)
    await client.send(framed(bytes(100 * MB)) + frame(1, b"{}"))
    assert b"%d bytes; at most 65536 are taken" % (100 * MB) in await client.until(b"are taken")
    assert b"not a valid event" in await client.until(b"Field required")
    assert peak_memory(server.process.pid) - before < 20 * MB


# Anything at all


class Healthy:
    """Two clients that chat, and check that nothing is missing."""

    def __init__(self, server):
        self._server = server
        self._said = 0

    async def come(self):
        self._clients = [await self._server.connect("/ws?room=healthy") for _ in range(2)]
        return self

    async def chat(self):
        self._said += 1
        await self._clients[self._said % 2].send(str(self._said))
        async with asyncio.timeout(DEADLINE_SECONDS):
            for client in self._clients:
                assert await client.recv() == str(self._said)

    async def leave(self):
        for client in self._clients:
            await client.close()


async def fuzz_frames(server, raw, chance, path):
    client = await raw(server)
    await client.send(request(path))
    answer = await client.until(b"\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 101 ")
    await client.send(b"".join(any_frame(chance) for _ in range(30)))
    await leave(client, chance)


async def fuzz_handshake(server, raw, chance):
    client = await raw(server)
    await client.send(any_handshake(chance, PATHS))
    await leave(client, chance)


async def leave(client, chance):
    how = chance.random()
    if how < 0.5:
        await client.send(frame(8, b"\x03\xe8"))
        client.writer.close()
    elif how < 0.8:
        client.writer.transport.abort()
    else:  # with RST, since there is something to read
        client.writer.close()


async def fuzz(server, raw, seed, healthy):
    for batch in range(10):
        chance = random.Random(f"{seed} {batch}")
        async with asyncio.TaskGroup() as group:
            for path in PATHS * 4:
                group.create_task(fuzz_frames(server, raw, random.Random(chance.random()), path))
            for _ in range(80):
                group.create_task(fuzz_handshake(server, raw, random.Random(chance.random())))
            group.create_task(healthy.chat())
        await healthy.chat()


@pytest.mark.parametrize("seed", [1, 2])
async def test_thousands_of_wrong_frames_and_handshakes_change_nothing(serve, raw, seed):
    server = await serve()
    healthy = await Healthy(server).come()

    async def alone():
        sizes = await server.stats()
        return sum(sizes["open"].values()) == 2

    memory = []
    for n in range(3):
        await fuzz(server, raw, f"{seed} {n}", healthy)
        await until(alone)
        memory.append(psutil.Process(server.process.pid).memory_info().rss)
    await healthy.leave()
    stats = await server.until_stats(open={}, lagging=0)
    assert stats["rooms"] == {}
    assert server.process.returncode is None
    # The first round fills caches and pools.
    assert max(memory[1:]) - memory[0] < 30 * MB, [size // MB for size in memory]
