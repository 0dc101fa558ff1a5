"""Clients that do not read, over real sockets: never muted, always bounded, always counted."""

from __future__ import annotations

import asyncio

import pytest

from tests.target_app.conftest import DEADLINE_SECONDS

LARGE = 5_000_000
"""Characters of a message that is larger than what may wait for one client."""


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
    stats = await server.stats()
    assert (stats["messages_sent"], stats["messages_dropped"]) == (6, 0)
    assert stats["slow_consumers_closed"] == 0


async def test_a_reader_that_large_messages_find_no_room_for_is_closed_with_1013(serve):
    server = await serve("--close-timeout-seconds", str(DEADLINE_SECONDS))
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
