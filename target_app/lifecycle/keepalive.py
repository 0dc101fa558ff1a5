"""Detecting connections whose client is no longer there (RFC 6455 §5.5.2, pings and pongs)."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Final

from target_app.connections import wire
from target_app.connections.eager import advance
from target_app.lifecycle.heartbeat import in_turns
from target_app.protocol import CloseCode

if TYPE_CHECKING:
    from collections.abc import Sequence

    from target_app.connections.connection import Connection
    from target_app.connections.registry import ConnectionManager
    from target_app.counters import Counters

CLOSE_SECONDS: Final = 1.0
"""How long a client that did not answer a ping has for the closing handshake."""


class Keepalive:
    """A pinger of every client, once an interval, that closes those that do not answer in time.

    A half-open connection is closed at most interval + timeout + :data:`CLOSE_SECONDS` after its
    client disappears. This needs :mod:`target_app.connections.wire`; without it this does nothing,
    and the pings of the underlying server remain.

    A client whose messages wait for the application is not judged: its pong waits behind them. It
    is pinged all the same, so that the kernel finds out if it has disappeared, and its timeout
    begins with the first turn at which it is read from again.
    """

    def __init__(
        self,
        connections: ConnectionManager,
        counters: Counters,
        *,
        interval_seconds: float,
        timeout_seconds: float,
    ) -> None:
        self._connections = connections
        self._counters = counters
        self._interval_seconds = interval_seconds
        self._timeout_seconds = timeout_seconds

    async def run(self) -> None:
        """Ping every client, until cancelled."""
        await in_turns(self._ping, self._connections.phases, self._interval_seconds)

    def _ping(self, connections: Sequence[Connection]) -> None:
        loop = asyncio.get_running_loop()
        now = loop.time()
        payload = random.randbytes(4)
        frame = wire.ping_frame(payload)
        asked = []
        for connection in connections:
            behind = connection.wire
            if behind is None or connection.close_code is not None:
                continue
            if wire.is_held_up(behind, now):
                wire.ping_unasked(behind, frame)
            # A ping that is still unanswered is not replaced: its timeout is running.
            elif wire.unanswered_since(behind) is None:
                wire.ping(behind, payload, frame, now)
                asked.append(connection)
        if asked:
            loop.call_later(self._timeout_seconds, self._check, asked, now)

    def _check(self, asked: list[Connection], sent_at: float) -> None:
        for connection in asked:
            behind = connection.wire
            if behind is None or connection.close_code is not None:
                continue
            if wire.unanswered_since(behind) != sent_at or behind.disconnected:
                continue
            if wire.is_held_up(behind, sent_at):
                wire.forget_ping(behind)
            else:
                self._counters.pings_unanswered += 1
                connection.will_close(CloseCode.INTERNAL_ERROR, CLOSE_SECONDS)
                # If this has to wait for room, it will never get it, so it is not waited for.
                advance(connection.send_close(CloseCode.INTERNAL_ERROR, "ping not answered"))
