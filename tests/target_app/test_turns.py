"""Turns: how many at once, in which order, and what becomes of those who give up."""

from __future__ import annotations

import asyncio

import pytest

from target_app.sessions.turns import Turns


class Work:
    """Pieces of work that are begun in turns, and end when they are told to."""

    def __init__(self, at_once):
        self.turns = Turns(at_once)
        self.begun = []
        self._goes_on = asyncio.Semaphore(0)

    async def do(self, name):
        async with self.turns.turn(name):
            self.begun.append(name)
            await self._goes_on.acquire()

    async def end_all(self, tasks):
        await asyncio.sleep(0)  # each of them has asked for its turn
        for _ in tasks:
            self._goes_on.release()
        await asyncio.wait(tasks)


@pytest.mark.parametrize(
    ("wanted", "begun"),
    [
        ("aaabc", "aabca"),
        ("aaabbb", "aababb"),
        ("abab", "abab"),
        ("a", "a"),
    ],
)
async def test_each_has_a_turn_before_anybody_has_a_second_one(wanted, begun):
    work = Work(1)
    tasks = [asyncio.create_task(work.do(name)) for name in wanted]
    await work.end_all(tasks)
    assert "".join(work.begun) == begun


async def test_so_many_work_at_once_and_no_more():
    work = Work(2)
    tasks = [asyncio.create_task(work.do(name)) for name in "abc"]
    await asyncio.sleep(0)
    assert work.begun == ["a", "b"]
    await work.end_all(tasks)
    assert work.begun == ["a", "b", "c"]


@pytest.mark.parametrize("given_up", [0, 1, 2])
async def test_the_turn_of_who_gives_up_is_anothers(given_up):
    work = Work(1)
    tasks = [asyncio.create_task(work.do(name)) for name in "abcd"]
    await asyncio.sleep(0)
    tasks[given_up].cancel()
    await work.end_all(tasks)
    assert work.begun == [name for name in "abcd" if name == "a" or name != "abcd"[given_up]]


async def test_a_turn_that_comes_as_its_owner_gives_up_is_passed_on():
    turns, begun = Turns(1), []

    async def wait(name):
        async with turns.turn(name):
            begun.append(name)

    async with turns.turn("a"):
        late = asyncio.create_task(wait("late"))
        last = asyncio.create_task(wait("last"))
        await asyncio.sleep(0)
    late.cancel()  # its turn has come just now, and it has not run since
    await asyncio.wait([late, last])
    assert begun == ["last"]
