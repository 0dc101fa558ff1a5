"""Builders: a real server in its own process, and clients that talk to it over real sockets."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import os
import re
import signal
import socket
import struct
import sys
from pathlib import Path

import httpx
import psutil
import pytest
from websockets.asyncio.client import connect
from websockets.client import ClientProtocol
from websockets.exceptions import InvalidStatus
from websockets.frames import Opcode
from websockets.uri import parse_uri

from tests.servers.redis_server import REDIS, RedisServer

ROOT = Path(__file__).parents[2]
DEADLINE_SECONDS = 120.0
"""Long past what a slow machine needs; only a failing test ever waits for it."""


async def until(condition):
    """Return the first true result of the awaited ``condition()``; give up at the deadline."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not (result := await condition()):  # noqa: ASYNC110 - the state is another process's
            await asyncio.sleep(0.005)
        return result


async def until_answers_come(redis, servers=1):
    """Wait until so many servers listen for answers on Redis, which they begin to as they start."""

    async def listening():
        return redis.subscribers("llm_responses") == servers

    await until(listening)


class Server:
    """A server process, the address it listens on and what it has said on standard error."""

    def __init__(self, process):
        self.process = process
        self.lines = []
        self.port = 0
        self._clients = contextlib.AsyncExitStack()

    async def start(self):
        if self.process.stderr is None:
            self.port = await until(self._listens)
        while not self.port:
            line = (await self.process.stderr.readline()).decode()
            assert line, f"the server did not start: {self.lines}"
            self.lines.append(line)
            if found := re.search(r"(?:listening|running) on http://[^ ]*:(\d+)", line):
                self.port = int(found[1])
        # Standard error has to be read on, or the server would block once the pipe is full.
        self._reading = asyncio.create_task(self._read_on())
        self.http = await self._clients.enter_async_context(
            httpx.AsyncClient(
                base_url=f"http://127.0.0.1:{self.port}",
                timeout=DEADLINE_SECONDS,
                trust_env=False,
                # The server ends an idle one after some seconds, which on a busy machine may be
                # the moment in which it is used again.
                limits=httpx.Limits(max_keepalive_connections=0),
            )
        )
        return self

    async def _listens(self):
        # What a server that nobody reads cannot tell.
        listeners = [
            connection.laddr.port
            for connection in psutil.Process(self.process.pid).net_connections("tcp")
            if connection.status == psutil.CONN_LISTEN
        ]
        return listeners[0] if listeners else None

    async def _read_on(self):
        if self.process.stderr is not None:
            async for line in self.process.stderr:
                self.lines.append(line.decode())

    async def stop(self):
        await self._clients.aclose()
        await kill_group(self.process)
        await self._reading
        # For whoever reads why a test failed.
        print(f"--- server on port {self.port}:", *self.lines, sep="\n", end="")

    def url(self, path="/ws"):
        return f"ws://127.0.0.1:{self.port}{path}"

    async def connect(self, path="/ws", **options):
        client = await connect(self.url(path), proxy=None, open_timeout=DEADLINE_SECONDS, **options)
        # Not closed with a handshake: the server may be gone by then.
        self._clients.callback(client.transport.abort)
        return client

    async def connect_raw(self, path="/ws", receive_buffer_bytes=4096, segment_bytes=None):
        """Return a client that reads only when it is told to.

        For small segments the server's kernel keeps a small send buffer, too: ten of loopback's own
        are 640 kB.
        """
        client = RawClient(self, path, receive_buffer_bytes)
        if segment_bytes is not None:
            client.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, segment_bytes)
        return await client.handshake()

    async def get(self, path):
        return (await self.http.get(path)).json()

    async def stats(self):
        return await self.get("/stats")

    async def until_stats(self, **wanted):
        async def told():
            stats = await self.stats()
            seen = {name: stats[name] for name in wanted}
            if "open" in seen:  # endpoints that nobody uses need not be named
                seen["open"] = {path: count for path, count in seen["open"].items() if count}
            return stats if seen == wanted else None

        return await until(told)

    async def until_reached(self, count, **body):
        """Post until so many are reached: a worker that takes a second to answer is not counted."""

        async def reached():
            told = (await self.http.post("/broadcast", json=body)).json()["reached"]
            assert told <= count
            return told == count

        await until(reached)

    async def says(self, words):
        """Wait until a line of the log has ``words``."""

        async def said():
            return any(words in line for line in self.lines)

        await until(said)

    async def event(self, client):
        """Return the next message, which is JSON."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            return json.loads(await client.recv())

    async def refused(self, path="/ws", **options):
        """Return the status that a handshake is refused with."""
        with pytest.raises(InvalidStatus) as refusal:
            await self.connect(path, **options)
        return refusal.value.response.status_code

    def send_signal(self, signum):
        self.process.send_signal(signum)

    async def drain(self, signum=signal.SIGTERM):
        """Ask the server to stop, and wait until it says that it drains."""
        self.send_signal(signum)
        await self.until_stats(draining=True)

    async def last_words(self):
        """Wait until everything has been read that it and its processes have written."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            await asyncio.shield(self._reading)

    async def exit_status(self):
        async with asyncio.timeout(DEADLINE_SECONDS):
            return await self.process.wait()


class RawClient:
    """A client on a bare socket with a receive buffer as small as the kernel allows."""

    def __init__(self, server, path, receive_buffer_bytes):
        self.protocol = ClientProtocol(parse_uri(server.url(path)), max_size=None)
        self.socket = socket.socket()
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        self.socket.setblocking(False)
        self.address = ("127.0.0.1", server.port)
        server._clients.callback(self.socket.close)

    async def handshake(self):
        loop = asyncio.get_running_loop()
        await loop.sock_connect(self.socket, self.address)
        self.protocol.send_request(self.protocol.connect())
        await self.flush()
        while not self.protocol.events_received():
            await self.read()
        return self

    async def flush(self):
        for data in self.protocol.data_to_send():
            if data:
                await asyncio.get_running_loop().sock_sendall(self.socket, data)

    async def read(self):
        data = await asyncio.get_running_loop().sock_recv(self.socket, 65536)
        assert data, "the server has closed the TCP connection"
        self.protocol.receive_data(data)

    async def say(self, *texts):
        """Send text messages."""
        for text in texts:
            self.protocol.send_text(text.encode())
        await self.flush()

    def came(self):
        """Return the text messages that were read since the last time."""
        events = self.protocol.events_received()
        return [bytes(e.data).decode() for e in events if e.opcode is Opcode.TEXT]

    async def texts(self, count):
        """Read on until so many text messages have come; return them."""
        texts = self.came()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(texts) < count:
                await self.read()
                texts += self.came()
        await self.flush()
        return texts

    async def close_code(self, *, answer=True):
        """Read on until the server's close frame; return its code."""
        async with asyncio.timeout(DEADLINE_SECONDS):
            while self.protocol.close_rcvd is None:
                await self.read()
        if answer:
            await self.flush()
        return self.protocol.close_rcvd.code

    def reset(self):
        """Vanish: close with RST, without a closing handshake."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()


async def spawn(*arguments, stderr=asyncio.subprocess.PIPE, **environment):
    """Start a Python process in an environment without settings of the developer's own."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("TARGET_")}
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *arguments,
        cwd=ROOT,
        env=inherited | environment,
        stdout=asyncio.subprocess.DEVNULL,
        stderr=stderr,
        # A group of its own, so that its workers can be ended with it.
        start_new_session=True,
    )


async def kill_group(process):
    """End at once what :func:`spawn` has started, and whatever that has started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    await process.wait()


async def spawn_unread(*arguments, **environment):
    """Start a Python process the reader of whose standard error has gone."""
    reader, stderr = os.pipe()
    os.close(reader)
    try:
        return await spawn(*arguments, stderr=stderr, **environment)
    finally:
        os.close(stderr)


@pytest.fixture
def redis(tmp_path):
    """A real Redis on an ephemeral port."""
    if REDIS is None:
        pytest.skip("redis-server is not installed")
    server = RedisServer(tmp_path).start()
    yield server
    server.kill()


@pytest.fixture
async def serve():
    """Start servers, ``await serve("--flag", "value", TARGET_NAME="value")``, and end them."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(*flags, module="target_app", app=None, port=0, is_read=True, **environment):
            quiet = {"TARGET_HEARTBEAT_SECONDS": "0", "TARGET_ANNOUNCE_LIMIT": "0"}
            # A client that reads when its test gets to that would be cut on a busy machine.
            quiet["TARGET_WS_PING_INTERVAL"] = "1000"
            application = [app] if app else []
            process = await (spawn if is_read else spawn_unread)(
                *("-m", module, *application, *flags, "--port", str(port)), **(quiet | environment)
            )
            server = Server(process)
            stack.push_async_callback(server.stop)
            return await server.start()

        yield start


@pytest.fixture
def serve_endpoints(serve):
    """Start the endpoints of :mod:`tests.target_app.endpoints` under stock uvicorn."""
    return functools.partial(serve, module="uvicorn", app="tests.target_app.endpoints:app")


@pytest.fixture
def run_to_end():
    """Run ``python -m target_app`` with flags; return its exit status and standard error."""

    async def run(*flags, **environment):
        process = await spawn("-m", "target_app", *flags, **environment)
        async with asyncio.timeout(DEADLINE_SECONDS):
            _, stderr = await process.communicate()
        return process.returncode, stderr.decode()

    return run
