"""One broadcast to many connections: ordered, and never holding the event loop for long."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, NamedTuple

from target_app.connections.connection import CHUNK

if TYPE_CHECKING:
    from collections.abc import Iterable

    from target_app.connections.connection import Connection
    from target_app.connections.delivery import Delivery
    from target_app.connections.message import Message
    from target_app.stats.counters import Counters

QUEUED_BROADCASTS: Final = 64
"""Broadcasts that wait for their turn before those who publish have to wait as well."""


class Broadcast(NamedTuple):
    """A message, whom it is for, and who wants to know how many it reached."""

    message: Message
    audience: Iterable[Connection]
    reached: asyncio.Future[int] | None


class Fanout:
    """Sends each published message to every connection of its audience.

    - All receivers of this process get all messages in one and the same order, that of
      publication, so the order of each sender is kept too.
    - A broadcast goes to whoever is connected when its turn comes.
    - A client that does not keep up delays nobody
      (:class:`target_app.connections.delivery.Delivery`); a connection that has ended is passed
      over: its own handler sees the end.
    - When more is published than can be sent, :meth:`publish` waits, and with it the reading of
      those who send: the backpressure reaches the clients through TCP.
    """

    def __init__(self, delivery: Delivery, counters: Counters) -> None:
        self._delivery = delivery
        self._counters = counters
        self._queue: asyncio.Queue[Broadcast] = asyncio.Queue(QUEUED_BROADCASTS)

    async def publish(self, message: Message, audience: Iterable[Connection]) -> None:
        """Queue ``message`` for ``audience``; wait while too many are queued already.

        The audience is looked at when the turn of the message comes, not now.
        """
        await self._queue.put(Broadcast(message, audience, None))

    async def publish_and_count(self, message: Message, audience: Iterable[Connection]) -> int:
        """Like :meth:`publish`, then wait for its turn; return how many it was handed to."""
        reached: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        await self._queue.put(Broadcast(message, audience, reached))
        return await reached

    async def flush(self) -> None:
        """Return when everything published so far has been handed to its audience."""
        await self._queue.join()

    async def run(self) -> None:
        """Send what is published, until cancelled."""
        while True:
            message, audience, reached = await self._queue.get()
            # A copy, because connections come and go between two chunks.
            count = await self._deliver(message, tuple(audience))
            if reached is not None and not reached.done():
                reached.set_result(count)
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
