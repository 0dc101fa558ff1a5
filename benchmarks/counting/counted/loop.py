"""An event loop that reports when it has nothing to do, and whose time passes only then.

However slowly the counted process runs, no heartbeat or timeout comes between two messages because
of that; an application that waits for a timer or a thread still gets it.
"""

from __future__ import annotations

import asyncio
import selectors
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

PATIENCE_SECONDS = 5.0


class TooLongError(Exception):
    """What was waited for did not come."""


class _Selector(selectors.DefaultSelector):
    """A selector that knows when the loop would block: nothing is ready to run."""

    def __init__(self) -> None:
        super().__init__()
        self.idle_seconds = 0.0
        self._waiting: tuple[asyncio.Future[None], Callable[[], bool], float] | None = None

    def wait_for(self, future: asyncio.Future[None], is_over: Callable[[], bool]) -> None:
        """Finish ``future`` when the loop has nothing to do and ``is_over`` returns true."""
        self._waiting = (future, is_over, self.idle_seconds + PATIENCE_SECONDS)

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait as any selector does, unless there is a future to finish instead."""
        if timeout is None or timeout > 0:
            timeout = self._until(timeout)
        if timeout == 0:
            return super().select(0)
        began = time.monotonic()
        ready = super().select(timeout)
        waited = time.monotonic() - began
        # A timer that is due is due exactly: the same iterations of the loop each time.
        self.idle_seconds += waited if timeout is None or ready else timeout
        return ready

    def _until(self, timeout: float | None) -> float | None:
        if self._waiting is None:
            return timeout
        future, is_over, deadline = self._waiting
        if future.cancelled():
            self._waiting = None
            return timeout
        left = deadline - self.idle_seconds
        if is_over():
            future.set_result(None)
        elif left <= 0:
            future.set_exception(TooLongError())
        else:
            return left if timeout is None else min(timeout, left)
        self._waiting = None
        return 0


class IdleTimeLoop(asyncio.SelectorEventLoop):
    """An event loop whose clock stands still while anything runs."""

    def __init__(self) -> None:
        self._idle = _Selector()
        super().__init__(self._idle)

    def time(self) -> float:
        """Return the seconds in which there was nothing to do."""
        return self._idle.idle_seconds

    async def idle(self, is_over: Callable[[], bool] = lambda: True) -> None:
        """Wait until there is nothing left to do and ``is_over`` returns true.

        Raises:
            TooLongError: it is not over after 5 seconds of having nothing to do.
        """
        future = self.create_future()
        self._idle.wait_for(future, is_over)
        await future
