"""The queue that is bounded by bytes as well as by count, under every order of use."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_app.bounded_queue import BytesQueue

SIZES = st.integers(min_value=0, max_value=12)
STEPS = st.one_of(
    st.tuples(st.just("put"), SIZES),
    st.tuples(st.just("put_nowait"), SIZES),
    st.tuples(st.just("get"), st.just(0)),
    st.tuples(st.just("cancel_put"), st.integers(min_value=0, max_value=5)),
    st.tuples(st.just("cancel_get"), st.integers(min_value=0, max_value=5)),
    st.tuples(st.just("turn"), st.just(0)),
)


async def settled():
    """Let every task run for as long as it can."""
    for _ in range(20):
        await asyncio.sleep(0)


class Users:
    """Tasks that put into a queue and take from it, and what came of them."""

    def __init__(self, max_items, max_bytes):
        self.bounds = max_items, max_bytes
        self.queue = BytesQueue(max_items, max_bytes)
        self.putting = []
        self.asked = []  # what was asked to be put, in that order
        self.refused = set()
        self.gets = []
        self.got = []

    def put(self, size):
        self.putting.append(asyncio.ensure_future(self._put(size)))

    async def _put(self, size):
        number = len(self.asked)
        self.asked.append(number)
        try:
            await self.queue.put(number, size)
        except asyncio.CancelledError:
            self.refused.add(number)
            raise
        self.check()

    def put_nowait(self, size):
        number = len(self.asked)
        self.asked.append(number)
        try:
            self.queue.put_nowait(number, size)
        except asyncio.QueueFull:
            self.refused.add(number)

    def get(self, _):
        self.gets.append(asyncio.ensure_future(self._get()))

    async def _get(self):
        number = await self.queue.get()
        self.got.append(number)
        self.queue.task_done()
        self.check()

    def cancel_put(self, index):
        for task in [task for task in self.putting if not task.done()][index : index + 1]:
            task.cancel()

    def cancel_get(self, index):
        for task in [task for task in self.gets if not task.done()][index : index + 1]:
            task.cancel()

    def check(self):
        max_items, max_bytes = self.bounds
        assert len(self.queue) <= max_items
        assert self.queue.bytes <= max_bytes or len(self.queue) == 1
        assert self.queue.empty() == (len(self.queue) == 0)


@given(
    st.integers(min_value=1, max_value=4),
    st.integers(min_value=1, max_value=10),
    st.lists(STEPS, max_size=40),
)
def test_its_bounds_hold_its_order_is_kept_and_nobody_waits_without_a_reason(
    max_items, max_bytes, steps
):
    async def use():
        users = Users(max_items, max_bytes)
        for name, argument in steps:
            if name == "turn":
                await asyncio.sleep(0)
            else:
                getattr(users, name)(argument)
            users.check()
        await settled()
        if any(not task.done() for task in users.putting):
            assert not users.queue.empty(), "who puts waits although the queue is empty"
        if any(not task.done() for task in users.gets):
            assert users.queue.empty(), "who takes waits although something is there"
        for task in users.gets:
            task.cancel()
        while len(users.queue) or any(not task.done() for task in users.putting):
            users.get(0)
            await settled()
        assert users.got == [number for number in users.asked if number not in users.refused]
        assert users.queue.bytes == 0
        await users.queue.join()

    asyncio.run(use())


async def test_an_item_larger_than_the_bound_passes_alone():
    queue = BytesQueue(10, 100)
    queue.put_nowait("large", 1000)
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait("small", 1)
    assert await queue.get() == "large"
    queue.put_nowait("small", 1)
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait("large", 1000)


async def test_a_small_item_does_not_overtake_a_large_one_that_waits():
    queue = BytesQueue(10, 100)
    queue.put_nowait("first", 60)
    large = asyncio.create_task(queue.put("large", 60))
    await settled()
    with pytest.raises(asyncio.QueueFull):
        queue.put_nowait("small", 1)
    assert await queue.get() == "first"
    await large
    queue.put_nowait("small", 1)
    assert [queue.get_nowait(), queue.get_nowait()] == ["large", "small"]


async def test_joining_waits_for_what_was_taken_to_be_dealt_with():
    queue = BytesQueue(10, 100)
    queue.put_nowait("item", 1)
    joining = asyncio.create_task(queue.join())
    await queue.get()
    await settled()
    assert not joining.done()
    queue.task_done()
    await joining


@pytest.mark.parametrize("bounds", [(0, 1), (1, 0), (-1, 1)])
def test_a_queue_that_would_hold_nothing_is_refused(bounds):
    with pytest.raises(ValueError, match="holds nothing"):
        BytesQueue(*bounds)
