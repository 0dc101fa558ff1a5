"""A constant delay, precise far below the millisecond to which libuv rounds its own timers.

A Linux timerfd on CLOCK_MONOTONIC (timerfd_create(2)) is set to the absolute time at which the
first in the line is due, and the event loop watches it as a readable file.
"""

import asyncio
import ctypes
import os
import time
from collections import deque
from collections.abc import Callable

_TFD_TIMER_ABSTIME = 1
_libc = ctypes.CDLL(None, use_errno=True)


class DelayLine:
    """Lets everything out exactly so long after it came in, however much is inside."""

    def __init__(self, seconds: float) -> None:
        self._delay_ns = round(seconds * 1e9)
        self._waiting: deque[tuple[int, Callable[[], None]]] = deque()
        self._empty = asyncio.Event()
        self._empty.set()
        flags = os.O_NONBLOCK | os.O_CLOEXEC
        self._file = _libc.timerfd_create(time.CLOCK_MONOTONIC, flags)
        if self._file < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"timerfd_create: {os.strerror(code)}")
        asyncio.get_running_loop().add_reader(self._file, self._on_timer)

    def put(self, arrived_ns: int, leave: Callable[[], None]) -> None:
        """Call ``leave`` when the delay after ``arrived_ns`` (CLOCK_MONOTONIC) is over.

        First in, first out: ``arrived_ns`` never goes back from one call to the next.
        """
        self._waiting.append((arrived_ns + self._delay_ns, leave))
        if len(self._waiting) == 1:
            self._empty.clear()
            self._arm()

    async def drain(self) -> None:
        """Wait until everything has left."""
        await self._empty.wait()

    def _arm(self) -> None:
        # struct itimerspec: no interval, then the time. One that is past fires at once.
        due = divmod(self._waiting[0][0], 1_000_000_000)
        setting = (ctypes.c_long * 4)(0, 0, *due)
        _libc.timerfd_settime(self._file, _TFD_TIMER_ABSTIME, setting, None)

    def _on_timer(self) -> None:
        os.read(self._file, 8)
        while self._waiting and self._waiting[0][0] <= time.monotonic_ns():
            _, leave = self._waiting.popleft()
            leave()
        if self._waiting:
            self._arm()
        else:
            self._empty.set()
