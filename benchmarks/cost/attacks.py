"""One hostile client of the reference server.

``python -m benchmarks.cost.attacks NAME PORT SECONDS``. A separate process on bare sockets, with
frames made beforehand and a bounded rate, so that :mod:`benchmarks.cost.test_hostile_cost` measures
what an attack costs the server and not what the attacker takes from the machine. It prints
``attacking`` once the first step of the attack is done, and about once a second how many steps it
has made, and in what time.
"""

import asyncio
import base64
import contextlib
import itertools
import json
import os
import struct
import sys
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final

HOST: Final = "127.0.0.1"
JOINS: Final = 20_000
JOINS_AT_A_TIME: Final = 100
HALF_OPEN_AT_MOST: Final = 500
SLOW_READERS: Final = 20
ASKING_SESSIONS: Final = 50
PIPELINED: Final = 20_000


@dataclass(frozen=True, slots=True)
class Attack:
    """Steps that are made ``per_second``; what they share is made once, for a port."""

    steps: "Callable[[int], Awaitable[Step]]"
    per_second: float


Step = Callable[[], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Client:
    """A connection to the server; with ``reads``, what the server sends is read and discarded."""

    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    @classmethod
    async def open(cls, port: int, path: str | None = None, *, reads: bool = True) -> "Client":
        """Connect, and complete the WebSocket handshake if there is a ``path``."""
        # Such a small limit leaves unread data to the kernel, and then to the server.
        client = cls(*await asyncio.open_connection(HOST, port, limit=2**16 if reads else 1024))
        if path is not None:
            await client.send(handshake(path))
            await client.reader.readuntil(b"\r\n\r\n")
        return client

    async def send(self, data: bytes) -> None:
        """Send ``data``, unless the server has ended the connection."""
        with contextlib.suppress(OSError):
            self.writer.write(data)
            await self.writer.drain()

    async def read_on(self) -> None:
        """Read until the server ends the connection."""
        with contextlib.suppress(OSError):
            while await self.reader.read(2**16):
                pass

    def cut(self) -> None:
        """End the connection now."""
        self.writer.transport.abort()


def handshake(path: str) -> bytes:
    """Return a WebSocket handshake (RFC 6455 §4.1)."""
    key = base64.b64encode(os.urandom(16)).decode()
    return (
        f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
    ).encode()


def request(path: str) -> bytes:
    """Return an HTTP request without a body."""
    return f"GET {path} HTTP/1.1\r\nHost: {HOST}\r\n\r\n".encode()


def frame(opcode: int, payload: bytes) -> bytes:
    """Return a whole message as one frame, masked with zeros (RFC 6455 §5.2)."""
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 2**16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + bytes(4) + payload


def text(**message: Any) -> bytes:  # noqa: ANN401 - whatever JSON can hold
    """Return a JSON message as a frame."""
    return frame(1, json.dumps(message).encode())


def close() -> bytes:
    """Return a close frame with code 1000."""
    return frame(8, struct.pack("!H", 1000))


async def joins(port: int) -> Step:
    """Join 20,000 rooms on one connection, a hundred at a time, close it, and begin again."""
    some = [
        b"".join(
            text(event="join", client_id="", data={"data": {"room": str(first + n)}})
            for n in range(JOINS_AT_A_TIME)
        )
        for first in range(0, JOINS, JOINS_AT_A_TIME)
    ]
    parts = itertools.cycle([*some, close()])
    client: Client | None = None
    reading: asyncio.Task[None] | None = None

    async def step() -> None:
        nonlocal client, reading
        if client is None:
            client = await Client.open(port, "/ws/py_client")
            reading = asyncio.create_task(client.read_on())
        part = next(parts)
        await client.send(part)
        if part == close():
            client = None

    return step


def large(payload: bytes, path: str) -> Callable[[int], Awaitable[Step]]:
    """Return an attack that sends ``payload``, each time on another path if ``path`` has {n}."""

    async def attack(port: int) -> Step:
        numbers = itertools.count()
        message = frame(1, payload)

        async def step() -> None:
            client = await Client.open(port, path.format(n=next(numbers)))
            await client.send(message + close())
            await client.read_on()
            client.cut()

        return step

    return attack


async def pings(port: int) -> Step:
    """Send 125-byte pings on one connection, a hundred at a time, and never read the pongs."""
    client = await Client.open(port, "/echo", reads=False)
    some = frame(9, bytes(125)) * 100

    async def step() -> None:
        nonlocal client
        if client.writer.is_closing():
            client = await Client.open(port, "/echo", reads=False)
        # Once the server stops reading, there is no more to do to it.
        if client.writer.transport.get_write_buffer_size() < 2**20:
            client.writer.write(some)

    return step


async def small_messages(port: int) -> Step:
    """Send messages of one character, none of which is an event, 500 at a time."""
    client = await Client.open(port, "/ws/py_client")
    reading = asyncio.create_task(client.read_on())
    some = frame(1, b"x") * 500

    async def step() -> None:
        assert not reading.done(), "the server has closed the connection"
        await client.send(some)

    return step


async def pipelined(port: int) -> Step:
    """Send 20,000 requests on one connection, read nothing, and connect again when it is cut."""
    some = request("/stats") * PIPELINED
    client = await Client.open(port, reads=False)

    async def step() -> None:
        nonlocal client
        if client.writer.is_closing():
            client = await Client.open(port, reads=False)
        # Once the server stops reading, there is no more to do to it.
        if not client.writer.transport.get_write_buffer_size():
            client.writer.write(some)

    return step


async def no_utf8(port: int) -> Step:
    """Connect and send a text message that is not UTF-8, again and again."""

    async def step() -> None:
        client = await Client.open(port, "/echo")
        await client.send(frame(1, b"\xff\xfe"))
        await client.read_on()
        client.cut()

    return step


async def refused(port: int) -> Step:
    """Request an endpoint that does not exist, again and again."""

    async def step() -> None:
        client = await Client.open(port, "/nowhere")
        client.cut()

    return step


async def slow_readers(port: int) -> Step:
    """Send 256 KiB to a room in which 20 clients never read; replace those that are closed."""
    path = "/ws?room=slow"
    readers = [await Client.open(port, path, reads=False) for _ in range(SLOW_READERS)]
    sender = await Client.open(port, path)
    reading = asyncio.create_task(sender.read_on())
    message = frame(1, bytes(2**18))

    async def step() -> None:
        assert not reading.done(), "the server has closed the sender"
        for n, reader in enumerate(readers):
            if reader.writer.is_closing():
                readers[n] = await Client.open(port, path, reads=False)
        await sender.send(message)

    return step


async def questions(port: int) -> Step:
    """Ask a question of 1 kB in each of 50 sessions, again and again, and read the answers."""
    sessions = [await Client.open(port, f"/ws/asking-{n}") for n in range(ASKING_SESSIONS)]
    reading = [asyncio.create_task(session.read_on()) for session in sessions]
    question = text(type="STUDENT_INTERRUPTION", payload={"questionText": "x" * 1000})

    async def step() -> None:
        assert not any(task.done() for task in reading), "the server has closed a session"
        for session in sessions:
            await session.send(question)

    return step


async def half_open(port: int) -> Step:
    """Begin handshakes that never end; keep the last 500 of them open."""
    held: list[Client] = []

    async def step() -> None:
        client = await Client.open(port)
        await client.send(handshake("/ws")[:-2])
        held.append(client)
        if len(held) > HALF_OPEN_AT_MOST:
            held.pop(0).cut()

    return step


INVALID: Final = json.dumps({f"{n:06}": 0 for n in range(325_000)}, separators=(",", ":")).encode()
"""An event of 3.9 MB in which every key is a problem."""
PROGRESS: Final = json.dumps({"type": "READING_PROGRESS", "payload": {"x": "y" * 4_500_000}})

ATTACKS: Final = {
    "joins": Attack(joins, 40),
    "invalid": Attack(large(INVALID, "/ws/py_client"), 2),
    "progress": Attack(large(PROGRESS.encode(), "/ws/hostile-{n}"), 2),
    "questions": Attack(questions, 4),
    "pings": Attack(pings, 20),
    "pipelined": Attack(pipelined, 4),
    "small": Attack(small_messages, 10),
    "no-utf8": Attack(no_utf8, 50),
    "refused": Attack(refused, 100),
    "slow-readers": Attack(slow_readers, 4),
    "half-open": Attack(half_open, 50),
}
"""Each with its steps a second, few enough that the attacker itself takes little CPU time."""


async def attack(name: str, port: int, seconds: float) -> None:
    """Attack for ``seconds``; a step that took too long is not made up for."""
    interval = 1 / ATTACKS[name].per_second
    step = await ATTACKS[name].steps(port)
    loop = asyncio.get_running_loop()
    start = due = loop.time()
    made = 0
    while loop.time() < start + seconds:
        await step()
        if made == 0:
            print("attacking", flush=True)
        made += 1
        due = max(due + interval, loop.time())
        await asyncio.sleep(due - loop.time())
        if made % round(ATTACKS[name].per_second) == 0:
            print(f"{made} {loop.time() - start}", flush=True)


if __name__ == "__main__":
    # A real attacker is on another machine and takes nothing from the cores. Here it takes what is
    # left; it prints how many steps it made, so that the benchmark can see that it was not starved.
    os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
    asyncio.run(attack(sys.argv[1], int(sys.argv[2]), float(sys.argv[3])))
