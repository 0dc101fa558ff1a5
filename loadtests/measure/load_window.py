"""The load window: the time from a load's start to its end, which may be brought forward."""

import asyncio
from collections.abc import Callable
from time import perf_counter_ns


class LoadWindow:
    """The start and end of a load, in nanoseconds of CLOCK_MONOTONIC."""

    def __init__(self, start_ns: int, end_ns: int) -> None:
        self.start_ns = start_ns
        self.end_ns = end_ns
        self._on_cut: list[Callable[[], None]] = []

    @property
    def seconds(self) -> float:
        """Its length."""
        return (self.end_ns - self.start_ns) / 1e9

    def cut(self) -> None:
        """End it now, if it has not ended yet."""
        self.end_ns = min(self.end_ns, perf_counter_ns())
        for callback in self._on_cut:
            callback()

    def when_cut(self, callback: Callable[[], None]) -> None:
        """Register ``callback`` to be called if it is ended early."""
        self._on_cut.append(callback)

    async def begun(self) -> None:
        """Wait until it begins."""
        await asyncio.sleep((self.start_ns - perf_counter_ns()) / 1e9)

    async def over(self) -> None:
        """Wait until it has ended."""
        await self.reaches(self.end_ns)

    async def reaches(self, at_ns: int) -> bool:
        """Wait until ``at_ns``, or until it is ended earlier; return whether ``at_ns`` came."""
        ended = asyncio.Event()
        self._on_cut.append(ended.set)
        try:
            async with asyncio.timeout((at_ns - perf_counter_ns()) / 1e9):
                await ended.wait()
        except TimeoutError:
            return True
        else:
            return False
        finally:
            self._on_cut.remove(ended.set)
