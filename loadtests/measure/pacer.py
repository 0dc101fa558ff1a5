"""Fire at every arrival of a schedule, by a timer."""

import asyncio
from collections.abc import Callable, Iterator
from time import perf_counter_ns
from typing import Final

from loadtests.measure.load_window import LoadWindow
from loadtests.measure.timer import Timer

# A generator that has fallen behind sends at most this many before it reads again, so that
# catching up does not itself delay replies.
_BURST: Final = 64
# Above ten thousand arrivals per second a timer for each would cost more than the messages; they
# are then sent in batches, and each is late by at most this.
_GRAIN_NS: Final = 100_000


class Pacer:
    """A caller of ``fire`` with the intended time of each arrival, at or just after that time."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        arrivals: Iterator[int],
        window: LoadWindow,
        fire: Callable[[int], None],
    ) -> None:
        """Prepare; nothing fires before :meth:`run`.

        Args:
            loop: the loop to fire on.
            arrivals: arrival times in nanoseconds since the start of ``window``.
            window: arrivals at or after its end are not fired.
            fire: called with the intended CLOCK_MONOTONIC time.
        """
        self._arrivals = arrivals
        self._start_ns = window.start_ns
        self._window = window
        self._fire = fire
        self._fired = 0
        self._due_ns = window.start_ns + next(arrivals)
        self._done: asyncio.Future[None] = loop.create_future()
        self._timer = Timer(loop, self._on_timer)

    async def run(self) -> None:
        """Fire every arrival; return at the end of the window."""
        self._window.when_cut(lambda: self._timer.arm(0))
        self._timer.arm(min(self._due_ns, self._window.end_ns))
        try:
            await self._done
        finally:
            self._timer.close()

    def _on_timer(self) -> None:
        now_ns, end_ns = perf_counter_ns(), self._window.end_ns
        for _ in range(_BURST):
            if self._due_ns >= end_ns:
                break
            if self._due_ns > now_ns:
                break
            self._fire(self._due_ns)
            self._fired += 1
            self._due_ns = self._start_ns + next(self._arrivals)
        if now_ns >= end_ns and self._due_ns >= end_ns:
            if not self._done.done():
                self._done.set_result(None)
        else:
            self._timer.arm(max(min(self._due_ns, end_ns), self._grain_end_ns(now_ns)))

    def _grain_end_ns(self, now_ns: int) -> int:
        """Return the earliest time of the next batch, or 0 if there are no batches."""
        is_dense = self._fired * _GRAIN_NS > now_ns - self._start_ns
        is_behind = self._due_ns <= now_ns
        return now_ns + _GRAIN_NS if is_dense and not is_behind else 0
