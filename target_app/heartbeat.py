"""The heartbeat: one callback at a fixed pace that does not drift."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from target_app.schedule import Ticks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


async def heartbeat(
    beat: Callable[[], Awaitable[None]],
    interval_seconds: float,
    *,
    clock: Callable[[], float] = time.monotonic,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> None:
    """Await ``beat()`` at start + n * interval, until cancelled; return at once if that is 0.

    A beat that takes longer than the interval leaves out the beats it covered: they are not made
    up for in a burst.
    """
    if interval_seconds == 0:
        return
    ticks = Ticks(clock(), interval_seconds)
    while True:
        due = ticks.after(clock())
        # A timer may fire a little early by this clock; the tick would then count as not yet due.
        while (remaining := due - clock()) > 0:
            await sleep(remaining)
        await beat()
