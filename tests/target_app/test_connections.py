"""The lifetime of a connection, over ASGI callables alone."""

from __future__ import annotations

import asyncio
import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_app.connections.connection import Connection, Endpoint
from target_app.connections.names import ClientId
from target_app.connections.registry import READ_IN_A_ROW, ConnectionManager
from target_app.counters import Counters
from target_app.message import NOT_KEPT
from target_app.settings import Settings


async def nothing(*_):
    pass


async def test_whoever_sends_without_a_pause_leaves_others_their_turns():
    messages = 20 * READ_IN_A_ROW
    turns, handled = 0, 0

    async def others():
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async def received(_connection, _data):
        nonlocal handled
        handled += 1

    events = iter(
        [
            *({"type": "websocket.receive", "text": "?"} for _ in range(messages)),
            {"type": "websocket.disconnect", "code": 1000},
        ]
    )

    async def receive():
        return next(events)

    manager = ConnectionManager(Counters(), Settings())
    manager.begin_handshake()
    running = asyncio.create_task(others())
    await manager.serve(Connection(Endpoint("/", received=received), nothing), receive)
    running.cancel()
    assert handled == messages
    assert turns >= messages // READ_IN_A_ROW - 1


WHOLE = {"type": "websocket.receive", "text": "ééé"}
NOT_KEPT_WHOLE = {"type": "websocket.receive", "text": "", NOT_KEPT: 6}


@pytest.mark.parametrize(
    ("message", "most", "told"),
    [
        (WHOLE, None, "ééé"),
        (WHOLE, 6, "ééé"),
        (WHOLE, 5, 6),
        (WHOLE, 5, 1009),
        (NOT_KEPT_WHOLE, 5, 6),
        (NOT_KEPT_WHOLE, 5, 1009),
    ],
)
async def test_an_endpoint_gets_what_it_takes_or_the_size_of_the_rest(message, most, told):
    got = []

    async def note(_connection, what):
        got.append(what)

    async def send(message):
        got.append(message["code"])

    too_large = None if told == 1009 else note
    endpoint = Endpoint("/", received=note, max_message_bytes=most, too_large=too_large)
    ended = {"type": "websocket.disconnect", "code": 1000}
    events = itertools.chain([message], itertools.repeat(ended))

    async def receive():
        return next(events)

    manager = ConnectionManager(Counters(), Settings())
    manager.begin_handshake()
    await manager.serve(Connection(endpoint, send), receive)
    assert got == [told]


class Line:
    """A connection of somebody called ``name`` that is open until it is told to end."""

    def __init__(self, manager, name):
        self.connection = Connection(ENDPOINT, nothing, id=ClientId("test", name))
        self._incoming = asyncio.Queue()
        manager.begin_handshake()
        self._task = asyncio.create_task(manager.serve(self.connection, self._incoming.get))

    async def end(self):
        self._incoming.put_nowait({"type": "websocket.disconnect", "code": 1000})
        await self._task


ENDPOINT = Endpoint("/")


@given(st.lists(st.tuples(st.sampled_from(["come", "go"]), st.sampled_from("ab"))))
def test_a_name_has_the_connections_that_are_open_in_the_order_they_came(moves):
    async def play():
        manager = ConnectionManager(Counters(), Settings())
        lines = {"a": [], "b": []}
        for number, (move, name) in enumerate(moves):
            if move == "come":
                lines[name].append(Line(manager, name))
                await asyncio.sleep(0)
            elif lines[name]:
                await lines[name].pop(number % len(lines[name])).end()
            for who, there in lines.items():
                assert manager.of_client(ClientId("test", who)) == tuple(
                    line.connection for line in there
                )
        for line in lines["a"] + lines["b"]:
            await line.end()
        assert not any(manager.of_client(ClientId("test", who)) for who in "ab")
        assert manager.places_taken == 0

    asyncio.run(play())
