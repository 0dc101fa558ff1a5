"""Periodic work on every connection, once an interval, spread over the phases of the interval."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from target_app.connections.connection import CHUNK
from target_app.lifecycle.ticks import Ticks, Turns

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Sequence

    from target_app.connections.connection import Connection


async def in_turns(
    do: Callable[[Sequence[Connection]], None],
    phases: Sequence[Collection[Connection]],
    interval_seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Call ``do(connections)`` so that each has its turn once an interval, until cancelled.

    ``phases`` are the connections, divided among equal parts of the interval, so that neither
    10,000 heartbeats nor 10,000 pings fall in one instant. The turns of a phase do not drift, as
    they are computed from the start; those that were missed while the process was held up for
    longer than the interval are skipped, not made up for in a burst. With an interval of 0, return
    at once.
    """
    if interval_seconds == 0:
        return
    turns = Turns(len(phases), interval_seconds)
    ticks = Ticks(clock(), turns.tick_seconds)
    done = 0
    while True:
        due = ticks.after(clock())
        # A timer may fire a little early by this clock; the tick would then count as not yet due.
        while (remaining := due - clock()) > 0:
            await sleep(remaining)
        now = ticks.number(clock())
        for phase in turns.between(done, now):
            members = tuple(phases[phase])
            for start in range(0, len(members), CHUNK):
                do(members[start : start + CHUNK])
                await asyncio.sleep(0)
        done = now
