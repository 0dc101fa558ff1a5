"""What a client of a session says, and what it waits for."""

from __future__ import annotations

import asyncio
import contextlib
import json

from websockets.exceptions import ConnectionClosed

from tests.target_app.conftest import DEADLINE_SECONDS


def said(kind, **payload):
    return json.dumps({"type": kind, "payload": payload})


def question(text):
    return said("STUDENT_INTERRUPTION", questionText=text)


async def closed(client):
    """Read on until the connection ends; return its close code."""
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                await client.recv()
    return client.close_code


async def event_of(server, client, kind):
    """Return the next event of a kind.

    An answer may come between: one that was asked for on the connection before, and under Redis one
    that has arrived there already.
    """
    while (event := await server.event(client))["type"] != kind:
        assert event["type"] == "INTERRUPTION_ANSWER", event
    return event
