"""A queue and an event of less memory: in every order they do what asyncio's do."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from target_app.connections.waiting import NOTHING, Gate, Inbox

STEPS = st.lists(st.sampled_from(["put", "get", "cancel", "turn"]), max_size=30)
MOVES = st.lists(st.sampled_from(["set", "clear", "wait", "cancel", "turn"]), max_size=30)


async def turn():
    for _ in range(3):
        await asyncio.sleep(0)


async def taken(queue, steps):
    """Return what tasks take, some at the same time, and how much there was after each step."""
    got, left, getters, number = [], [], [], 0
    for step in steps:
        if step == "put":
            queue.put_nowait(number := number + 1)
        elif step == "turn":
            await turn()
        elif step == "cancel" and getters:
            getters[len(getters) // 2].cancel()
        elif step == "get":
            getters.append(asyncio.create_task(take(queue, got)))
        left.append((queue.qsize(), queue.empty()))
    await turn()
    left.append((queue.qsize(), queue.empty()))
    for getter in getters:
        getter.cancel()
    await asyncio.gather(*getters, return_exceptions=True)
    return got, left


async def take(queue, got):
    got.append(await queue.get())


@given(STEPS)
def test_an_inbox_gives_what_asyncios_queue_gives(steps):
    assert asyncio.run(taken(Inbox(NOTHING), steps)) == asyncio.run(taken(asyncio.Queue(), steps))


async def test_who_was_to_take_and_no_longer_does_is_in_nobodys_way():
    inbox = Inbox(NOTHING)
    first = asyncio.create_task(inbox.get())
    await turn()
    first.cancel()
    asyncio.get_running_loop().call_soon(inbox.put_nowait, "one")
    assert await inbox.get() == "one"


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
