"""One broadcast to many connections: ordered, and never blocking the event loop for long."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final, NamedTuple

from target_app.bounded_queue import BytesQueue
from target_app.connections.connection import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_app.connections.connection import Connection
    from target_app.connections.delivery import Delivery
    from target_app.counters import Counters
    from target_app.message import Message

QUEUED_BROADCASTS: Final = 64
"""Broadcasts that wait for their turn before publishers have to wait as well."""

QUEUED_BYTES: Final = 2**24
"""Bytes that their frames may add up to; a larger broadcast waits for its turn alone."""

logger = logging.getLogger(__name__)


class Broadcast(NamedTuple):
    """A message, its audience, and the future for the number of connections reached, if wanted."""

    message: Message
    audience: Iterable[Connection]
    reached: asyncio.Future[int] | None


class Fanout:
    """The fan-out of each published message to every connection of its audience.

    - All receivers of this process get all messages in the same order, that of publication, so the
      order of each sender is kept too.
    - A broadcast goes to the connections that are open when its turn comes.
    - A client that does not keep up delays nobody
      (:class:`target_app.connections.delivery.Delivery`); a connection that has ended is
      skipped: its own handler notices the end.
    - When more is published than can be sent, by count or by bytes, :meth:`publish` waits, and with
      it the reading from those who send: the backpressure reaches the clients through TCP.
    - A broadcast that fails is logged, or raises in the caller that waits for its count; the next
      one goes out. Once :meth:`run` has ended, broadcasts reach nobody and nobody waits.
    """

    def __init__(self, delivery: Delivery, counters: Counters) -> None:
        self._delivery = delivery
        self._counters = counters
        self._queue: BytesQueue[Broadcast] = BytesQueue(QUEUED_BROADCASTS, QUEUED_BYTES)
        self._over = False

    async def publish(self, message: Message, audience: Iterable[Connection]) -> None:
        """Queue ``message`` for ``audience``; wait while too many are queued already.

        The audience is evaluated when the turn of the message comes, not now.
        """
        await self._enqueue(Broadcast(message, audience, None))

    async def publish_and_count(self, message: Message, audience: Iterable[Connection]) -> int:
        """Publish ``message``, wait for its turn, and return how many it was handed to."""
        reached: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        await self._enqueue(Broadcast(message, audience, reached))
        return await reached

    async def flush(self) -> None:
        """Wait until everything published so far has been handed to its audience."""
        await self._queue.join()

    async def run(self) -> None:
        """Send what is published, until cancelled."""
        try:
            while True:
                await self._send(await self._queue.get())
        finally:
            self._over = True
            self._throw_away()

    async def _enqueue(self, broadcast: Broadcast) -> None:
        await self._queue.put(broadcast, len(broadcast.message.frame))
        if self._over:
            self._throw_away()

    def _throw_away(self) -> None:
        while not self._queue.empty():
            _settle(self._queue.get_nowait().reached, 0)
            self._queue.task_done()

    async def _send(self, broadcast: Broadcast) -> None:
        message, audience, reached = broadcast
        count = 0
        try:
            # A copy, because connections come and go between two chunks.
            count = await self._deliver(message, tuple(audience))
        except Exception as error:
            if reached is None or reached.done():
                logger.exception("a broadcast of %d bytes", len(message.frame))
            else:
                reached.set_exception(error)
        finally:
            _settle(reached, count)
            self._queue.task_done()

    async def _deliver(self, message: Message, receivers: tuple[Connection, ...]) -> int:
        # The hot path. One message to 10,000 clients passes here 10,000 times: no task, no
        # timeout, no copy, no log for a client that keeps up.
        self._counters.broadcasts += 1
        push = self._delivery.push
        count = 0
        for start in range(0, len(receivers), CHUNK):
            for connection in receivers[start : start + CHUNK]:
                count += push(connection, message)
            await asyncio.sleep(0)
        return count


def _settle(reached: asyncio.Future[int] | None, count: int) -> None:
    if reached is not None and not reached.done():
        reached.set_result(count)
