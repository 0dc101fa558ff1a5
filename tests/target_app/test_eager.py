"""Running a coroutine up to its first wait."""

from __future__ import annotations

import asyncio

import pytest

from target_app.connections.eager import advance


async def test_a_coroutine_that_does_not_wait_is_done_at_once():
    done = []

    async def quick():
        done.append(True)

    assert advance(quick()) is None
    assert done == [True]


async def test_a_coroutine_that_waits_goes_on_in_another_task():
    door, told = asyncio.Event(), []

    async def slow():
        for n in range(3):
            await door.wait()
            await asyncio.sleep(0)
            told.append(n)

    async def finish(rest):
        await rest

    rest = advance(slow())
    task = asyncio.create_task(finish(rest))
    await asyncio.sleep(0)
    assert told == []
    door.set()
    await task
    assert told == [0, 1, 2]


async def test_what_a_coroutine_raises_is_raised_where_it_is_run():
    async def fails(*, waits):
        if waits:
            await asyncio.sleep(0)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        advance(fails(waits=False))
    rest = advance(fails(waits=True))
    with pytest.raises(ConnectionResetError):
        await rest


async def test_cancelling_what_is_left_cancels_the_coroutine():
    ended = []

    async def waits():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    rest = advance(waits())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await rest
    assert ended == [True]
