"""The lifetime of a connection, over ASGI callables alone."""

from __future__ import annotations

import asyncio

from target_app.connections.connection import Connection, Endpoint
from target_app.connections.registry import READ_IN_A_ROW, ConnectionManager
from target_app.settings import Settings
from target_app.stats.counters import Counters


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
            {"type": "websocket.connect"},
            *({"type": "websocket.receive", "text": "?"} for _ in range(messages)),
            {"type": "websocket.disconnect", "code": 1000},
        ]
    )

    async def receive():
        return next(events)

    manager = ConnectionManager(Counters(), Settings())
    running = asyncio.create_task(others())
    await manager.serve(Connection(Endpoint("/", nothing, received, nothing), nothing), receive)
    running.cancel()
    assert handled == messages
    assert turns >= messages // READ_IN_A_ROW - 1
