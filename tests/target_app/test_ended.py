"""What each ASGI server raises when a connection has ended, and what is not that."""

from __future__ import annotations

import asyncio
import contextlib

import anyio
import pytest
import uvicorn
from websockets.asyncio.client import connect

from target_app.connections.connection import Connection, Endpoint
from target_app.connections.ended import has_ended
from tests.target_app.conftest import DEADLINE_SECONDS, until

NOTHING = Endpoint("/ws", None, None, None)
TEXT = {"type": "websocket.send", "text": "hello"}
CLOSE = {"type": "websocket.close", "code": 1000}


class Accepting:
    """An ASGI application that accepts, and shows the connection to the test."""

    def __init__(self):
        self.accepted = asyncio.Event()
        self.left = asyncio.Event()
        self.may_return = asyncio.Event()

    async def __call__(self, scope, receive, send):
        if scope["type"] != "websocket":
            return
        await receive()
        await send({"type": "websocket.accept"})
        self.connection = Connection(NOTHING, send)
        self.accepted.set()
        while (await receive())["type"] != "websocket.disconnect":
            pass
        self.left.set()
        await self.may_return.wait()


@contextlib.asynccontextmanager
async def under_uvicorn(protocol):
    app = Accepting()
    config = uvicorn.Config(app, port=0, ws=protocol, lifespan="off", log_config=None)
    server = uvicorn.Server(config)
    server.install_signal_handlers = lambda: None
    serving = asyncio.create_task(server._serve())

    async def port():
        assert not serving.done(), serving
        return server.started and server.servers[0].sockets[0].getsockname()[1]

    try:
        async with connect(f"ws://127.0.0.1:{await until(port)}/", proxy=None) as client:
            await app.accepted.wait()
            yield app, client
            app.may_return.set()
    finally:
        app.may_return.set()
        server.should_exit = True
        await serving


async def raised_by(connection, message):
    """Send until it raises; return what."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        while True:
            try:
                await connection.send(message)
            except Exception as error:  # noqa: BLE001 - which one is the question
                return error
            await asyncio.sleep(0)


pytestmark = [  # uvicorn's own
    pytest.mark.filterwarnings("ignore::DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::uvicorn.config.UvicornDeprecationWarning"),
]
protocols = pytest.mark.parametrize("protocol", ["websockets-sansio", "wsproto", "websockets"])


@protocols
async def test_a_send_after_the_client_has_left_is_an_end(protocol):
    async with under_uvicorn(protocol) as (app, client):
        client.transport.abort()
        await app.left.wait()
        assert has_ended(await raised_by(app.connection, TEXT), app.connection)


@protocols
async def test_a_send_after_the_server_has_closed_is_an_end(protocol):
    async with under_uvicorn(protocol) as (app, _):
        await app.connection.send(CLOSE)  # not by Connection.close: by somebody else
        error = await raised_by(app.connection, TEXT)
        assert isinstance(error, RuntimeError)
        assert has_ended(error, app.connection)


@protocols
async def test_a_runtime_error_of_an_open_connection_is_a_fault(protocol):
    async with under_uvicorn(protocol) as (app, _):
        error = await raised_by(app.connection, {"type": "websocket.nonsense"})
        assert isinstance(error, RuntimeError)
        assert not has_ended(error, app.connection)
        assert not has_ended(ValueError("expected in this test"), app.connection)


async def test_the_end_of_starlettes_test_client_is_an_end():
    # Its send is that of a memory stream, of which either end may be closed first.
    for closed in (0, 1):
        ends = anyio.create_memory_object_stream(10)
        connection = Connection(NOTHING, ends[0].send)
        await connection.send(TEXT)
        ends[closed].close()
        assert has_ended(await raised_by(connection, TEXT), connection)
        for end in ends:
            end.close()


async def test_after_our_own_close_frame_any_servers_runtime_error_is_an_end():
    async def send(_message):
        pass

    connection = Connection(NOTHING, send)
    assert not has_ended(RuntimeError("after close"), connection)
    await connection.close(1000, "", within_seconds=1.0)
    assert has_ended(RuntimeError("after close"), connection)
