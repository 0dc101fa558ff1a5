"""Delays that are precise far below the millisecond to which libuv rounds its own timers.

A Linux timerfd on CLOCK_MONOTONIC (timerfd_create(2)) is set to the absolute time at which the
first entry is due, and the event loop watches it as a readable file.
"""

import asyncio
import ctypes
import heapq
import itertools
import os
import time
from array import array
from collections.abc import Callable

_TFD_TIMER_ABSTIME = 1
_libc = ctypes.CDLL(None, use_errno=True)


class DelayLine:
    """A queue that releases each entry exactly its delay after it came in, however many it holds.

    Attributes:
        delays_ns: how long each timed entry was inside, by the clock.
    """

    def __init__(self) -> None:
        self.delays_ns = array("q")
        # When each is due, its number, when it came in (0 if untimed), and what releases it.
        self._waiting: list[tuple[int, int, int, Callable[[], None]]] = []
        self._numbers = itertools.count()
        self._empty = asyncio.Event()
        self._empty.set()
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        self._file = _libc.timerfd_create(time.CLOCK_MONOTONIC, flags)
        if self._file < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"timerfd_create: {os.strerror(code)}")
        asyncio.get_running_loop().add_reader(self._file, self._on_timer)

    def put(
        self, arrived_ns: int, delay_ns: int, leave: Callable[[], None], *, is_timed: bool = True
    ) -> None:
        """Call ``leave`` ``delay_ns`` after ``arrived_ns`` (CLOCK_MONOTONIC).

        Entries due at the same moment leave in the order in which they came.
        """
        since_ns = arrived_ns if is_timed else 0
        item = (arrived_ns + delay_ns, next(self._numbers), since_ns, leave)
        heapq.heappush(self._waiting, item)
        self._empty.clear()
        if self._waiting[0] is item:
            self._arm()

    async def drain(self) -> None:
        """Wait until everything has left."""
        await self._empty.wait()

    def _arm(self) -> None:
        # struct itimerspec: no interval, then the time. A time in the past fires at once.
        due = divmod(self._waiting[0][0], 1_000_000_000)
        setting = (ctypes.c_long * 4)(0, 0, *due)
        _libc.timerfd_settime(self._file, _TFD_TIMER_ABSTIME, setting, None)

    def _on_timer(self) -> None:
        os.read(self._file, 8)
        while self._waiting and self._waiting[0][0] <= time.monotonic_ns():
            _, _, since_ns, leave = heapq.heappop(self._waiting)
            leave()
            if since_ns:
                self.delays_ns.append(time.monotonic_ns() - since_ns)
        if self._waiting:
            self._arm()
        else:
            self._empty.set()
