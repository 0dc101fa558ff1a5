"""Something done for everybody once an interval, with a clock that only sleeping moves."""

from __future__ import annotations

import asyncio

from target_app.lifecycle.heartbeat import in_turns


class Clock:
    """A clock that only sleeping moves, and that wakes up late (early, if negative)."""

    def __init__(self, *, late):
        self.now = 1000.0
        self.late = late

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds + (self.late if seconds > 0.5 else 0)
        await asyncio.sleep(0)


async def turns(clock, *, phases, interval, count, takes=0.0):
    """Return when each had its turn, as ``(seconds, member)``."""
    taken = []
    enough = asyncio.Event()

    def do(members):
        taken.extend((round(clock.now - 1000.0, 6), member) for member in members)
        clock.now += takes
        if len(taken) >= count:
            enough.set()

    task = asyncio.create_task(
        in_turns(do, [{phase} for phase in phases], interval, clock=clock, sleep=clock.sleep)
    )
    await enough.wait()
    task.cancel()
    await asyncio.wait([task])
    return taken[:count]


async def test_the_turns_are_spread_evenly_over_the_interval():
    taken = await turns(Clock(late=0.0), phases="abcd", interval=8.0, count=8)
    assert taken == [
        (2, "b"),
        (4, "c"),
        (6, "d"),
        (8, "a"),
        (10, "b"),
        (12, "c"),
        (14, "d"),
        (16, "a"),
    ]


async def test_a_clock_that_is_always_late_makes_nothing_drift():
    taken = await turns(Clock(late=0.25), phases="a", interval=10.0, count=4)
    assert [time for time, _ in taken] == [10.25, 20.25, 30.25, 40.25]


async def test_waking_too_early_is_waited_out():
    taken = await turns(Clock(late=-0.25), phases="a", interval=10.0, count=3)
    assert [time for time, _ in taken] == [10, 20, 30]


async def test_whoever_was_due_during_a_short_stall_has_a_turn_after_it():
    clock = Clock(late=0.0)
    taken = await turns(clock, phases="abcd", interval=8.0, count=5, takes=3.0)
    assert [member for _, member in taken] == list("bcdab")


async def test_turns_missed_for_longer_than_an_interval_are_left_out():
    taken = await turns(Clock(late=0.0), phases="a", interval=10.0, count=3, takes=25.0)
    assert [time for time, _ in taken] == [10, 40, 70]


async def test_an_interval_of_0_is_no_turn():
    def do(_members):
        raise AssertionError

    await in_turns(do, [{"a"}], 0.0)
