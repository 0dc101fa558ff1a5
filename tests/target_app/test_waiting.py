"""A queue and an event of less memory: in every order they do what asyncio's do."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_app.connections.waiting import NOTHING, Gate, Inbox

STEPS = st.lists(st.sampled_from(["put", "get", "cancel", "turn"]), max_size=30)
MOVES = st.lists(st.sampled_from(["set", "clear", "wait", "cancel", "turn"]), max_size=30)


async def turn():
    for _ in range(3):
        await asyncio.sleep(0)


async def taken(queue, steps):
    """Return what one task after another takes, and whether the queue was empty at each step."""
    got, empty, getter, number = [], [], None, 0
    for step in steps:
        if step == "put":
            queue.put_nowait(number := number + 1)
        elif step == "turn":
            await turn()
        elif step == "cancel" and getter is not None:
            getter.cancel()
            await turn()
        elif step == "get" and (getter is None or getter.done()):
            getter = asyncio.create_task(take(queue, got))
        empty.append(queue.empty())
    await turn()
    if getter is not None:
        getter.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await getter
    return got, empty


async def take(queue, got):
    got.append(await queue.get())


@given(STEPS)
def test_an_inbox_gives_what_asyncios_queue_gives(steps):
    assert asyncio.run(taken(Inbox(NOTHING), steps)) == asyncio.run(taken(asyncio.Queue(), steps))


async def test_a_second_task_may_not_take_from_an_inbox_at_the_same_time():
    inbox = Inbox(NOTHING)
    first = asyncio.create_task(inbox.get())
    await turn()
    with pytest.raises(RuntimeError, match="another task"):
        await inbox.get()
    inbox.put_nowait("one")
    assert await first == "one"


async def gone_on(gate, moves):
    """Return who was let through, in order, and what the gate said of itself."""
    through, said, tasks = [], [], []

    async def pass_through(number):
        await gate.wait()
        through.append(number)

    for number, move in enumerate(moves):
        if move == "wait":
            tasks.append(asyncio.create_task(pass_through(number)))
        elif move == "cancel" and tasks:
            tasks[len(tasks) // 2].cancel()
        elif move == "turn":
            await turn()
        elif move in {"set", "clear"}:
            getattr(gate, move)()
        said.append(gate.is_set())
    await turn()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return through, said


@given(MOVES)
def test_a_gate_lets_through_whom_asyncios_event_lets_through(moves):
    expected = asyncio.run(gone_on(asyncio.Event(), moves))
    assert asyncio.run(gone_on(Gate(is_set=False), moves)) == expected
