"""A timer accurate to a few dozen microseconds; an event loop's own rounds to milliseconds.

libuv, and therefore uvloop, keeps timers in whole milliseconds; an open-model load at a thousand
messages per second would be sent up to 1 ms late by its own generator. A Linux timerfd on
CLOCK_MONOTONIC, watched by the loop as a readable file, has no such rounding (timerfd_create(2)).
"""

import asyncio
import ctypes
import os
from collections.abc import Callable
from typing import Final

_CLOCK_MONOTONIC: Final = 1
_TFD_NONBLOCK_CLOEXEC: Final = os.O_NONBLOCK | os.O_CLOEXEC
_TFD_TIMER_ABSTIME: Final = 1
_NS_PER_SECOND: Final = 1_000_000_000

_libc = ctypes.CDLL(None, use_errno=True)


class _Itimerspec(ctypes.Structure):
    _fields_ = (
        ("interval_seconds", ctypes.c_long),
        ("interval_nanoseconds", ctypes.c_long),
        ("value_seconds", ctypes.c_long),
        ("value_nanoseconds", ctypes.c_long),
    )


class Timer:
    """A timer that calls back once at an absolute CLOCK_MONOTONIC time, every time it is armed."""

    def __init__(self, loop: asyncio.AbstractEventLoop, callback: Callable[[], None]) -> None:
        self._loop = loop
        self._file = _libc.timerfd_create(_CLOCK_MONOTONIC, _TFD_NONBLOCK_CLOEXEC)
        if self._file < 0:
            code = ctypes.get_errno()
            raise OSError(code, f"timerfd_create: {os.strerror(code)}")
        self._callback = callback
        self._setting = _Itimerspec()
        self._setting_pointer = ctypes.byref(self._setting)
        loop.add_reader(self._file, self._fire)

    def arm(self, at_ns: int) -> None:
        """Fire at ``at_ns``, or at once if that is past; replace any earlier setting."""
        # A value of all zeros would disarm the timer.
        seconds, nanoseconds = divmod(max(at_ns, 1), _NS_PER_SECOND)
        self._setting.value_seconds = seconds
        self._setting.value_nanoseconds = nanoseconds
        _libc.timerfd_settime(self._file, _TFD_TIMER_ABSTIME, self._setting_pointer, None)

    def close(self) -> None:
        """Stop watching; the timer never fires again."""
        self._loop.remove_reader(self._file)
        os.close(self._file)

    def _fire(self) -> None:
        try:
            os.read(self._file, 8)
        except BlockingIOError:
            # Rearmed between the wake-up and this call.
            return
        self._callback()
