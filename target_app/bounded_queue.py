"""A queue between tasks that is bounded by bytes as well as by count."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Generic, TypeVar

T = TypeVar("T")


class BytesQueue(Generic[T]):
    """A FIFO queue of at most ``max_items`` items with at most ``max_bytes`` in total.

    The caller that puts an item states how many bytes it counts for. An empty queue admits any
    item, so that one larger than the whole bound passes, alone. There is no overtaking: waiting
    puts are admitted in order of arrival, so no small item slips past a large one that waits.
    """

    def __init__(self, max_items: int, max_bytes: int) -> None:
        if max_items < 1 or max_bytes < 1:
            raise ValueError(f"a queue of {max_items} items and {max_bytes} bytes holds nothing")
        self._max_items = max_items
        self._max_bytes = max_bytes
        self._queue: asyncio.Queue[tuple[T, int]] = asyncio.Queue()
        self._bytes = 0
        self._waiting: OrderedDict[asyncio.Future[None], int] = OrderedDict()

    def __len__(self) -> int:
        return self._queue.qsize()

    @property
    def bytes(self) -> int:
        """The number of bytes that the queued items count for."""
        return self._bytes

    def empty(self) -> bool:
        """Return whether the queue holds no item."""
        return self._queue.empty()

    async def put(self, item: T, size: int) -> None:
        """Add ``item``, which counts for ``size`` bytes; wait for room and for its turn.

        If this is cancelled, the item has not been added.
        """
        if self._waiting or not self._fits(size):
            turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiting[turn] = size
            try:
                await turn
            except BaseException:
                del self._waiting[turn]
                self._admit_next()
                raise
            # Nothing could be added since its turn came, so there is still room.
            del self._waiting[turn]
        self._add(item, size)
        self._admit_next()

    def put_nowait(self, item: T, size: int) -> None:
        """Add ``item``; raise :class:`asyncio.QueueFull` if it would have to wait."""
        if self._waiting or not self._fits(size):
            raise asyncio.QueueFull
        self._add(item, size)

    async def get(self) -> T:
        """Remove and return the oldest item; wait until there is one."""
        return self._taken(*await self._queue.get())

    def get_nowait(self) -> T:
        """Remove and return the oldest item; raise :class:`asyncio.QueueEmpty` if there is none."""
        return self._taken(*self._queue.get_nowait())

    def task_done(self) -> None:
        """Note that an item taken earlier has been processed (see :meth:`join`)."""
        self._queue.task_done()

    async def join(self) -> None:
        """Wait until every item that was added has been processed."""
        await self._queue.join()

    def _fits(self, size: int) -> bool:
        return self._queue.empty() or (
            self._queue.qsize() < self._max_items and self._bytes + size <= self._max_bytes
        )

    def _add(self, item: T, size: int) -> None:
        self._bytes += size
        self._queue.put_nowait((item, size))

    def _taken(self, item: T, size: int) -> T:
        self._bytes -= size
        self._admit_next()
        return item

    def _admit_next(self) -> None:
        for turn, size in self._waiting.items():
            if not turn.done() and self._fits(size):
                turn.set_result(None)
            return
