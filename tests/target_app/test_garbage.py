"""What has ended is freed at once, and the garbage collector leaves what stays alone."""

from __future__ import annotations

import contextlib
import gc
import weakref

import pytest
from fastapi import WebSocket
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus
from websockets.server import ServerProtocol

from target_app.connections.adoption import Handshake
from target_app.connections.connection import Connection
from target_app.lifecycle.garbage import what_stays_put_aside
from tests.target_app.conftest import until
from tests.target_app.in_process import served

OF_A_CONNECTION = (
    *(HttpToolsProtocol, WebSocketsSansIOProtocol, ServerProtocol, WebSocket, Handshake),
    Connection,
)


class Circle:
    """An object that only the garbage collector can free."""

    def __init__(self):
        self.itself = self


@contextlib.contextmanager
def no_garbage_collector():
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()


@pytest.mark.parametrize(
    "path", ["/ws", "/ws/5", "/ws/py_client", "/ws/pupil", "/echo", "/plain", "/pushes"]
)
@pytest.mark.parametrize("goes", ["closes", "vanishes"])
async def test_an_ended_connection_leaves_nothing_to_the_garbage_collector(path, goes):
    async with served() as port:
        with no_garbage_collector():
            client = await connect(f"ws://127.0.0.1:{port}{path}", proxy=None)
            await client.send("hello")
            if goes == "closes":
                await client.close()
            else:
                client.transport.abort()
            await until(nothing_is_left)


async def test_a_refused_handshake_leaves_nothing_to_the_garbage_collector():
    async with served() as port:
        with no_garbage_collector():
            with pytest.raises(InvalidStatus):
                await connect(f"ws://127.0.0.1:{port}/nowhere", proxy=None)
            await until(nothing_is_left)


async def nothing_is_left():
    return not any(isinstance(left, OF_A_CONNECTION) for left in gc.get_objects())


def test_what_was_put_aside_is_gone_through_once_there_is_twice_as_much():
    with what_stays_put_aside():
        circle = Circle()
        gc.collect()
        freed = weakref.ref(circle)
        del circle
        gc.collect()
        assert freed() is not None
        much = [[] for _ in range(3 * gc.get_freeze_count())]
        gc.collect()
        while freed() is not None:
            much += [[] for _ in range(1_000_000)]
            gc.collect()
        assert gc.get_freeze_count() > len(much)


def test_what_is_freed_without_the_garbage_collector_is_freed_as_ever():
    class Straight:
        pass

    with what_stays_put_aside():
        straight = Straight()
        gc.collect()
        freed = weakref.ref(straight)
        del straight
        assert freed() is None


def test_at_the_end_everything_is_the_garbage_collectors_again():
    before = gc.callbacks[:]
    with what_stays_put_aside():
        circle = Circle()
        gc.collect()
        freed = weakref.ref(circle)
        del circle
    assert gc.callbacks == before
    assert gc.get_freeze_count() == 0
    gc.collect()
    assert freed() is None
