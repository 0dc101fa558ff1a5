"""Delivery of messages to a connection without ever waiting for it: backlogs, bounds, policies."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING

from target_app.connections import wire
from target_app.connections.catch_up import FAULT, CatchUp
from target_app.connections.eager import advance
from target_app.connections.ended import has_ended
from target_app.connections.lag import Bounds, Lag

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine
    from typing import Any

    from target_app.connections.connection import Connection
    from target_app.counters import Counters
    from target_app.message import Message
    from target_app.settings import Settings

logger = logging.getLogger(__name__)


class Delivery:
    """Delivery of messages to connections; a client that does not keep up delays nobody.

    A connection whose client reads too slowly gets its own backlog and task until it has
    caught up. The backlog is bounded by ``slow_consumer_messages`` and ``slow_consumer_bytes``
    (messages are shared among the connections they wait for; the bound counts them for each); an
    empty one admits any message, even one that is larger than the bound. What happens at the bound
    is decided by the ``slow_consumer_policy``:

    - ``disconnect``: the connection is closed with ``slow_consumer_code``; the same if one message
      cannot be sent within ``slow_consumer_seconds``;
    - ``drop-oldest``: the messages that have waited longest make room;
    - ``drop-newest``: the new message is not sent.

    Every message pushed is counted once: as sent, as dropped by a policy, or as lost because its
    connection ended, was closing or was given up first. A connection whose send fails for any
    reason other than its end is closed with 1011. :meth:`run` has to be running.
    """

    def __init__(self, counters: Counters, settings: Settings) -> None:
        self._counters = counters
        self._settings = settings
        self._bounds = Bounds(
            settings.slow_consumer_policy,
            settings.slow_consumer_messages,
            settings.slow_consumer_bytes,
            settings.slow_consumer_seconds,
        )
        self._laggards: set[CatchUp] = set()
        self._tasks: asyncio.TaskGroup | None = None
        self._over = False

    @property
    def lagging(self) -> int:
        """The number of connections that are behind."""
        return len(self._laggards)

    async def run(self) -> None:
        """Look after the connections that lag, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            self._tasks = tasks
            try:
                await asyncio.Event().wait()
            finally:
                self._over = True
                for laggard in self._laggards:
                    # A task that is cancelled before it begins has no chance to do so.
                    laggard.state.lose()

    def push(self, connection: Connection, message: Message) -> bool:
        """Send ``message``, or queue it; return False if it will never be sent."""
        if connection.lag is not None:
            return connection.lag.push(message)
        rest = None
        try:
            if (behind := connection.wire) is None:
                rest = advance(connection.send(message.asgi))
                if rest is None:
                    self._counters.messages_sent += 1
                    return True
            elif wire.write(behind, message.frame):
                self._counters.messages_sent += 1
                return True
        except Exception as error:  # noqa: BLE001 - whatever is wrong with one, others are served
            self._failed(connection, error)
            return False
        return self._fall_behind(connection, message, rest)

    async def close(
        self, connection: Connection, code: int, reason: str, within_seconds: float | None = None
    ) -> None:
        """Close ``connection`` once everything that waits for it is sent; do not wait for that.

        It is cut if that and the closing handshake take longer than ``within_seconds``, by default
        the ``close_timeout_seconds`` of the settings.
        """
        if within_seconds is None:
            within_seconds = self._settings.close_timeout_seconds
        closing = connection.close(code, reason, within_seconds)
        if connection.lag is None:
            await self._close_soon(connection, closing)
        else:
            await closing  # which only notes what to do when it has caught up

    def _fall_behind(
        self, connection: Connection, message: Message, rest: Awaitable[None] | None
    ) -> bool:
        if self._over or (rest is None and connection.close_code is not None):
            self._counters.messages_lost += 1
            return False
        tasks = self._running()
        laggard = connection.lag = self._new(connection)
        if rest is None:
            laggard.push(message)
        else:
            laggard.state.begin(asyncio.get_running_loop().time())
        self._laggards.add(laggard)
        tasks.create_task(self._look_after(laggard, rest))
        return True

    async def _look_after(self, laggard: CatchUp, rest: Awaitable[None] | None) -> None:
        try:
            await laggard.run(rest)
        finally:
            self._laggards.discard(laggard)

    async def _close_soon(self, connection: Connection, closing: Coroutine[Any, Any, None]) -> None:
        if connection.wire is not None:
            self._finish(advance(closing))
        elif self._tasks is None or self._over:
            await closing
        else:
            # What other servers do to close may bind itself to the task in which it begins.
            self._tasks.create_task(closing)

    def _failed(self, connection: Connection, error: Exception) -> None:
        self._counters.messages_lost += 1
        if has_ended(error, connection):
            return  # its own handler notices that
        logger.error("sending to %s", connection.address, exc_info=error)
        laggard = connection.lag = self._new(connection)
        laggard.state.lose()  # nothing more is sent on it
        closing = laggard.close_as(FAULT)
        self._finish(closing if connection.wire is None else advance(closing))

    def _new(self, connection: Connection) -> CatchUp:
        return CatchUp(
            connection, Lag(self._bounds, self._counters), self._counters, self._settings
        )

    def _finish(self, rest: Awaitable[None] | None) -> None:
        if rest is not None and not self._over:
            self._running().create_task(_await(rest))

    def _running(self) -> asyncio.TaskGroup:
        if self._tasks is None:
            raise RuntimeError(
                "a client reads slowly and Delivery.run() is not running; start the application "
                "with its lifespan"
            )
        return self._tasks


async def _await(rest: Awaitable[None]) -> None:
    await rest
