"""One broadcast to many connections: ordered, bounded, and held up by nobody."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final

from target_app.connections import CHUNK, GONE
from target_app.eager import advance
from target_app.protocol import CloseCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Collection

    from target_app.connections import Connection
    from target_app.protocol import Message
    from target_app.stats import Counters

QUEUED_BROADCASTS: Final = 64
"""Broadcasts that wait for their turn before those who publish have to wait as well."""


class Lag:
    """What one connection has still to be sent, while it is behind."""

    __slots__ = ("given_up", "messages", "patience")

    def __init__(self, patience_seconds: float) -> None:
        self.messages: deque[Message] = deque()
        self.patience = asyncio.timeout(patience_seconds)
        self.given_up = False


class Fanout:
    """Sends each published message to every connection of its audience.

    - All receivers get all messages in one and the same order, that of publication, so the order
      of each sender is kept too.
    - A broadcast goes to whoever is connected when its turn comes.
    - A connection whose client reads too slowly gets a backlog and a task of its own until it has
      caught up; nobody else waits for it. If one message cannot be sent within
      ``slow_consumer_seconds``, or more than ``slow_consumer_messages`` wait, it is closed with
      1013. Waiting messages are shared among the connections they wait for.
    - A connection that has ended is passed over: its own handler sees the end.
    - When more is published than can be sent, :meth:`publish` waits, and with it the reading of
      those who send: the backpressure reaches the clients through TCP.
    """

    def __init__(
        self,
        counters: Counters,
        *,
        slow_consumer_seconds: float,
        slow_consumer_messages: int,
        close_timeout_seconds: float,
    ) -> None:
        self._counters = counters
        self._slow_consumer_seconds = slow_consumer_seconds
        self._slow_consumer_messages = slow_consumer_messages
        self._close_timeout_seconds = close_timeout_seconds
        self._queue: asyncio.Queue[tuple[Message, Collection[Connection]]] = asyncio.Queue(
            QUEUED_BROADCASTS
        )

    async def publish(self, message: Message, audience: Collection[Connection]) -> None:
        """Queue ``message`` for ``audience``; wait while too many are queued already.

        The audience is looked at when the turn of the message comes, not now.
        """
        await self._queue.put((message, audience))

    async def run(self) -> None:
        """Send what is published, until cancelled."""
        async with asyncio.TaskGroup() as laggards:
            while True:
                message, audience = await self._queue.get()
                # A copy, because connections come and go between two chunks.
                await self._deliver(message, tuple(audience), laggards)

    async def _deliver(
        self, message: Message, receivers: tuple[Connection, ...], laggards: asyncio.TaskGroup
    ) -> None:
        # The hot path. One message to 10,000 clients passes here 10,000 times: no task, no
        # timeout, no copy, no log for a client that keeps up.
        self._counters.broadcasts += 1
        for start in range(0, len(receivers), CHUNK):
            sent = 0
            for connection in receivers[start : start + CHUNK]:
                if connection.lag is not None:
                    self._hold_back(connection.lag, message)
                    continue
                try:
                    rest = advance(connection.send(message))
                except GONE:
                    continue
                if rest is None:
                    sent += 1
                else:
                    connection.lag = lag = Lag(self._slow_consumer_seconds)
                    laggards.create_task(self._catch_up(connection, lag, rest))
            self._counters.messages_sent += sent
            await asyncio.sleep(0)

    def _hold_back(self, lag: Lag, message: Message) -> None:
        if lag.given_up:
            return
        if len(lag.messages) < self._slow_consumer_messages:
            lag.messages.append(message)
        else:
            lag.given_up = True
            if not lag.patience.expired():
                lag.patience.reschedule(0)  # long past: time is up now

    async def _catch_up(self, connection: Connection, lag: Lag, rest: Awaitable[None]) -> None:
        loop = asyncio.get_running_loop()
        try:
            async with lag.patience:
                await rest
                self._counters.messages_sent += 1
                while lag.messages:
                    lag.patience.reschedule(loop.time() + self._slow_consumer_seconds)
                    await connection.send(lag.messages.popleft())
                    self._counters.messages_sent += 1
        except TimeoutError:
            lag.given_up = True
            lag.messages.clear()
            if connection.close_code is None:
                self._counters.slow_consumers_closed += 1
                await connection.close(
                    CloseCode.TRY_AGAIN_LATER, "reads too slowly", self._close_timeout_seconds
                )
        except GONE:
            lag.given_up = True
            lag.messages.clear()
        else:
            # Nothing has waited since the backlog was seen empty, so nothing was added to it.
            connection.lag = None
