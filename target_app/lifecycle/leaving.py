"""The clients of a server that is stopping: notified, waited for, and finally closed."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import operator
from typing import TYPE_CHECKING

from target_app.connections.connection import CHUNK
from target_app.connections.eager import advance

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from target_app.connections.delivery import Delivery
    from target_app.connections.fanout import Fanout
    from target_app.connections.registry import ConnectionManager


class Leaving:
    """All clients of this worker, as :class:`target_app.lifecycle.drain.Clients`."""

    def __init__(
        self,
        connections: ConnectionManager,
        fanout: Fanout,
        delivery: Delivery,
        wait_settled: Callable[[], Awaitable[None]],
    ) -> None:
        self._connections = connections
        self._fanout = fanout
        self._delivery = delivery
        self._wait_settled = wait_settled

    def __len__(self) -> int:
        return self._connections.places_taken

    async def announce(self) -> None:
        """Notify every client that the server is stopping, in the way its endpoint defines."""
        for endpoint in self._connections.endpoints():
            if endpoint.shutting_down is not None:
                there = self._connections.where(functools.partial(operator.is_, endpoint))
                await self._fanout.publish(endpoint.shutting_down, there)

    async def wait_empty(self) -> None:
        """Wait until nobody is connected, and the work that they left behind is done."""
        await self._connections.wait_empty()
        await self._wait_settled()

    async def close_all(self, code: int, reason: str, within_seconds: float) -> None:
        """Close every connection and return when all have ended, within about that time.

        What was queued for a client is sent before its close frame. Clients that do not complete
        the closing handshake in time are cut off (RFC 6455 §7.1.1 lets a server close the TCP
        connection first).
        """
        # Without a transport to cut (not uvicorn) the last ones may never end: do not wait longer.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds + 1.0), asyncio.TaskGroup() as stalled:
                self._connections.close_newcomers(code, reason, within_seconds)
                await self._fanout.flush()
                for n, connection in enumerate(tuple(self._connections), start=1):
                    rest = advance(self._delivery.close(connection, code, reason, within_seconds))
                    if rest is not None:
                        stalled.create_task(_finish(rest))
                    if n % CHUNK == 0:
                        await asyncio.sleep(0)
                await self._connections.wait_empty()


async def _finish(rest: Awaitable[None]) -> None:
    await rest
