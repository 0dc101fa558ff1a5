"""A server one of whose tasks fails, for a test, as soon as a client is connected."""

import asyncio

from target_app.app import create_app

app = create_app()


async def later():
    while not len(app.services.connections):  # noqa: ASYNC110 - nobody tells of a first client
        await asyncio.sleep(0.005)
    raise LookupError("expected in this test")


async def at_once():
    raise LookupError("expected in this test")


app.services.keepalive.run = later
