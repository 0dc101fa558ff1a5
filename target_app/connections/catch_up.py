"""The task of a connection that is behind: write what waits, close the connection if need be."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Final

from target_app.connections.ended import has_ended
from target_app.connections.lag import Close, Lag, Phase
from target_app.protocol import CloseCode

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from target_app.connections.connection import Connection
    from target_app.counters import Counters
    from target_app.message import Message
    from target_app.settings import Settings

FAULT: Final = Close(CloseCode.INTERNAL_ERROR, "internal error")

logger = logging.getLogger(__name__)


class CatchUp:
    """The driver of the :class:`target_app.connections.lag.Lag` of one connection."""

    __slots__ = ("_connection", "_counters", "_limit", "_settings", "state")

    def __init__(
        self, connection: Connection, state: Lag, counters: Counters, settings: Settings
    ) -> None:
        self.state = state
        self._connection = connection
        self._counters = counters
        self._settings = settings
        self._limit: asyncio.Timeout | None = None

    def push(self, message: Message) -> bool:
        """Queue ``message``; return False if it will not be sent."""
        if self._connection.close_code is not None and self.state.close is None:
            # It is being closed without waiting for what waits here.
            self._counters.messages_lost += 1
            return False
        held = self.state.push(message)
        if self.state.phase is Phase.CLOSING:
            self._interrupt()
        return held

    async def run(self, first: Awaitable[None] | None) -> None:
        """Finish ``first``, a write in progress, write what waits, and close if that is due."""
        try:
            await self._write_all(first)
            if self.state.phase is Phase.CLOSING:
                await self._close()
        except Exception as error:
            if not has_ended(error, self._connection):
                logger.exception("sending to %s", self._connection.address)
                self.state.lose()
                await self.close_as(FAULT)
        finally:
            if self.state.phase is Phase.CAUGHT_UP:
                # Nothing was awaited since it was seen empty, so nothing was added to it.
                self._connection.lag = None
            else:
                self.state.lose()

    async def close_as(self, close: Close) -> None:
        """Close the connection without what waits, unless it is being closed already."""
        if self._connection.close_code is None:
            self._connection.will_close(close.code, self._settings.close_timeout_seconds)
            await self._connection.send_close(*close)

    async def _write_all(self, first: Awaitable[None] | None) -> None:
        state = self.state
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(None) as self._limit:
                if state.phase is Phase.CLOSING:
                    self._interrupt()  # closing began before this task
                if first is not None:
                    await self._write(first)
                while (message := state.next(loop.time())) is not None:
                    await self._write(self._connection.send(message.asgi))
        except TimeoutError:
            if not self._is_late():
                raise
            state.run_out()
        finally:
            self._limit = None

    async def _write(self, write: Awaitable[None]) -> None:
        if self._limit is not None and self.state.phase is Phase.BEHIND:
            self._limit.reschedule(self.state.deadline)
        await write
        self.state.written()

    def _is_late(self) -> bool:
        # A send may raise TimeoutError (ETIMEDOUT) for its own reasons.
        return self._limit is not None and self._limit.expired()

    def _interrupt(self) -> None:
        if self._limit is not None and not self._limit.expired():
            self._limit.reschedule(asyncio.get_running_loop().time())

    async def _close(self) -> None:
        if self.state.close is not None:
            await self._connection.send_close(*self.state.close)
        elif self._connection.close_code is None:
            self._counters.slow_consumers_closed += 1
            await self.close_as(Close(self._settings.slow_consumer_code, "reads too slowly"))
