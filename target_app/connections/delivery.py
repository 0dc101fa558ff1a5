"""Getting a message to one connection without ever waiting for it: backlogs, bounds, policies."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, Final

from target_app.connections import wire
from target_app.connections.connection import GONE
from target_app.connections.eager import advance

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from target_app.connections.connection import Connection
    from target_app.connections.message import Message
    from target_app.settings import Settings
    from target_app.stats.counters import Counters

OVERHEAD_BYTES: Final = 16
"""What a waiting message counts for beyond its frame: its place in the queue."""

logger = logging.getLogger(__name__)


class Lag:
    """What one connection has still to be sent, while it is behind."""

    __slots__ = ("bytes", "close", "given_up", "messages", "patience")

    def __init__(self, patience_seconds: float | None) -> None:
        self.messages: deque[Message] = deque()
        self.bytes = 0
        self.patience = asyncio.timeout(patience_seconds)
        self.given_up = False
        self.close: tuple[int, str] | None = None

    def add(self, message: Message) -> None:
        """Let ``message`` wait behind the others."""
        self.messages.append(message)
        self.bytes += len(message.frame) + OVERHEAD_BYTES

    def take(self) -> Message:
        """Return the message that has waited longest; it no longer waits."""
        message = self.messages.popleft()
        self.bytes -= len(message.frame) + OVERHEAD_BYTES
        return message

    def give_up(self) -> None:
        """Let nothing wait any more."""
        self.given_up = True
        self.messages.clear()
        self.bytes = 0


class Delivery:
    """Hands messages to connections; a client that does not keep up delays nobody.

    A connection whose client reads too slowly gets a backlog and a task of its own until it has
    caught up. The backlog is bounded by ``slow_consumer_messages`` and ``slow_consumer_bytes``
    (messages are shared among the connections they wait for; the bound counts them for each). What
    happens at the bound is the ``slow_consumer_policy``:

    - ``disconnect``: it is closed with ``slow_consumer_code``; the same if one message cannot be
      sent within ``slow_consumer_seconds``;
    - ``drop-oldest``: the messages that have waited longest make room;
    - ``drop-newest``: the new message is not sent.

    All of it is counted. :meth:`run` has to be running.
    """

    def __init__(self, counters: Counters, settings: Settings) -> None:
        self._counters = counters
        self._settings = settings
        self._closes = settings.slow_consumer_policy == "disconnect"
        self._lagging = 0
        self._laggards: asyncio.TaskGroup | None = None

    @property
    def lagging(self) -> int:
        """How many connections are behind."""
        return self._lagging

    async def run(self) -> None:
        """Look after those who lag, until cancelled."""
        async with asyncio.TaskGroup() as self._laggards:
            await asyncio.Event().wait()

    def push(self, connection: Connection, message: Message) -> bool:
        """Send ``message``, or let it wait for its turn; return False if it will never be sent."""
        if connection.lag is not None:
            return self._hold_back(connection, connection.lag, message)
        try:
            if connection.wire is None:
                rest = advance(connection.send(message.asgi))
                if rest is not None:
                    return self._fall_behind(connection, message, rest)
            elif not wire.write(connection.wire, message.frame):
                return self._fall_behind(connection, message, None)
        except GONE:
            return False
        except Exception:
            logger.exception("sending to %s", connection.address)
            return False
        self._counters.messages_sent += 1
        return True

    async def close(
        self, connection: Connection, code: int, reason: str, within_seconds: float | None = None
    ) -> None:
        """Close ``connection`` once everything that waits for it is sent.

        It is cut if that and the closing handshake take longer than ``within_seconds``, or the
        ``close_timeout_seconds`` of the settings.
        """
        if within_seconds is None:
            within_seconds = self._settings.close_timeout_seconds
        if connection.lag is None:
            await connection.close(code, reason, within_seconds)
        elif connection.close_code is None:
            connection.will_close(code, within_seconds)
            connection.lag.close = (code, reason)

    def _fall_behind(
        self, connection: Connection, message: Message, rest: Awaitable[None] | None
    ) -> bool:
        assert self._laggards is not None, "Delivery.run() is not running"
        connection.lag = Lag(self._settings.slow_consumer_seconds if self._closes else None)
        accepted = rest is not None or self._hold_back(connection, connection.lag, message)
        self._laggards.create_task(self._catch_up(connection, connection.lag, rest))
        return accepted

    def _hold_back(self, connection: Connection, lag: Lag, message: Message) -> bool:
        if lag.given_up or connection.close_code is not None:
            return False
        size = len(message.frame) + OVERHEAD_BYTES
        if self._closes and not self._fits(lag, size):
            lag.given_up = True
            if not lag.patience.expired():
                lag.patience.reschedule(0)  # long past: time is up now
            return False
        if self._settings.slow_consumer_policy == "drop-oldest":
            while lag.messages and not self._fits(lag, size):
                lag.take()
                self._counters.messages_dropped += 1
        if not self._fits(lag, size):
            self._counters.messages_dropped += 1
            return False
        lag.add(message)
        return True

    def _fits(self, lag: Lag, size: int) -> bool:
        return (
            len(lag.messages) < self._settings.slow_consumer_messages
            and lag.bytes + size <= self._settings.slow_consumer_bytes
        )

    async def _catch_up(
        self, connection: Connection, lag: Lag, first: Awaitable[None] | None
    ) -> None:
        self._lagging += 1
        try:
            async with lag.patience:
                if first is not None:
                    await first
                    self._counters.messages_sent += 1
                await self._send_backlog(connection, lag)
                if lag.close is not None:
                    await connection.send_close(*lag.close)
        except TimeoutError:
            lag.give_up()
            await self._close_slow(connection)
        except GONE:
            lag.give_up()
        except Exception:
            # Whatever is wrong with one connection, the others are served on.
            logger.exception("sending to %s", connection.address)
            lag.give_up()
        else:
            # Nothing has waited since the backlog was seen empty, so nothing was added to it.
            connection.lag = None
        finally:
            self._lagging -= 1

    async def _send_backlog(self, connection: Connection, lag: Lag) -> None:
        loop = asyncio.get_running_loop()
        while lag.messages:
            if self._closes:
                lag.patience.reschedule(loop.time() + self._settings.slow_consumer_seconds)
            await connection.send(lag.take().asgi)
            self._counters.messages_sent += 1

    async def _close_slow(self, connection: Connection) -> None:
        if connection.close_code is None:
            self._counters.slow_consumers_closed += 1
            await connection.close(
                self._settings.slow_consumer_code,
                "reads too slowly",
                self._settings.close_timeout_seconds,
            )
