"""Who is connected: the registry that holds all connections, and the lifetime of each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Any

from target_app.connections import wire
from target_app.connections.connection import PHASES
from target_app.connections.message import received_data
from target_app.connections.rate_limit import TokenBucket
from target_app.connections.rooms import Rooms
from target_app.logs import one_line
from target_app.protocol import CloseCode

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Iterable,
        Iterator,
        MutableMapping,
        Sequence,
        Set,
    )

    from target_app.connections.connection import Connection, Endpoint
    from target_app.settings import Settings
    from target_app.stats.counters import Counters

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

logger = logging.getLogger(__name__)


class ConnectionManager:
    """The registry of open connections, the rooms they are in, and the lifetime of each.

    A connection is in the registry from its accepted handshake until it has really ended: one that
    the server closes stays until the client has answered or was cut.
    """

    def __init__(self, counters: Counters, settings: Settings) -> None:
        self.rooms = Rooms()
        self._counters = counters
        self._settings = settings
        self._by_phase: tuple[set[Connection], ...] = tuple(set() for _ in range(PHASES))
        self._by_endpoint: dict[str, int] = {}
        self._by_name: dict[str, tuple[Connection, ...]] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return sum(self._by_endpoint.values())

    def __iter__(self) -> Iterator[Connection]:
        for members in self._by_phase:
            yield from members

    @property
    def phases(self) -> Sequence[Set[Connection]]:
        """The open connections, by their part of an interval; copy a set before you wait."""
        return self._by_phase

    def named(self, name: str) -> tuple[Connection, ...]:
        """Return the connections of the client called ``name``."""
        return self._by_name.get(name, ())

    def where(self, wanted: Callable[[Endpoint], bool]) -> Iterable[Connection]:
        """Return the connections of the endpoints that are ``wanted``, as of when it is walked."""
        return _Where(self, wanted)

    def know(self, endpoint: Endpoint) -> None:
        """Let ``endpoint`` be counted from the start, before anybody comes."""
        self._by_endpoint.setdefault(endpoint.path, 0)

    def open_by_endpoint(self) -> dict[str, int]:
        """Return how many connections are open, by the path of their endpoint."""
        return dict(self._by_endpoint)

    async def wait_empty(self) -> None:
        """Return when no connection is open."""
        await self._empty.wait()

    async def serve(self, connection: Connection, receive: Receive) -> None:
        """Accept the handshake of ``connection`` and serve its endpoint until it ends."""
        endpoint = connection.endpoint
        await receive()
        await connection.send({"type": "websocket.accept"})
        self._take_over(connection)
        self._add(connection)
        code: int = CloseCode.INTERNAL_ERROR
        try:
            await endpoint.opened(connection)
            code = await self._read(connection, receive)
        except Exception:
            await connection.close(code, "internal error", self._settings.close_timeout_seconds)
            raise
        finally:
            self._remove(connection, code)
            await endpoint.closed(connection)

    async def _read(self, connection: Connection, receive: Receive) -> int:
        # Return the close code that the server underneath reports.
        received = connection.endpoint.received
        bucket = self._bucket()
        while (message := await receive())["type"] == "websocket.receive":
            self._counters.messages_received += 1
            if bucket is not None and not bucket.take(time.monotonic()):
                await self._too_fast(connection)
            elif connection.close_code is None:
                await received(connection, received_data(message))
        code: int = message.get("code", 1005)
        await self._until_lost(connection, receive)
        return code

    def _bucket(self) -> TokenBucket | None:
        rate = self._settings.messages_per_second
        return TokenBucket(rate, max(rate, 1.0), time.monotonic()) if rate else None

    async def _too_fast(self, connection: Connection) -> None:
        if connection.close_code is None:
            self._counters.rate_limited += 1
            await connection.close(
                CloseCode.POLICY_VIOLATION,
                f"more than {self._settings.messages_per_second:g} messages a second",
                self._settings.close_timeout_seconds,
            )

    def _take_over(self, connection: Connection) -> None:
        connection.wire = found = wire.wire_of(connection.send)
        if found is not None:
            wire.take_over(
                found,
                max_message_bytes=self._settings.ws_max_size,
                own_pings=self._settings.ws_ping_interval > 0,
            )

    def _add(self, connection: Connection) -> None:
        self._counters.accepted += 1
        self._by_phase[connection.phase].add(connection)
        path = connection.endpoint.path
        self._by_endpoint[path] = self._by_endpoint.get(path, 0) + 1
        if connection.name:
            self._by_name[connection.name] = (*self.named(connection.name), connection)
        self._empty.clear()
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s connected", _described(connection))

    def _remove(self, connection: Connection, code: int) -> None:
        self._by_phase[connection.phase].discard(connection)
        self._by_endpoint[connection.endpoint.path] -= 1
        if connection.name:
            self._forget_name(connection)
        self.rooms.leave_all(connection)
        self._counters.closed_by_code[connection.close_code or code] += 1
        if not len(self):
            self._empty.set()
        if connection.unsent_bytes():
            connection.abort_after(self._settings.close_timeout_seconds)
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s ended: %d", _described(connection), connection.close_code or code)

    def _forget_name(self, connection: Connection) -> None:
        rest = tuple(c for c in self.named(connection.name) if c is not connection)
        if rest:
            self._by_name[connection.name] = rest
        else:
            del self._by_name[connection.name]

    async def _until_lost(self, connection: Connection, receive: Receive) -> None:
        # The server's own close is reported at once, as a disconnect; uvicorn reports another
        # one when the connection is really gone, that is after the closing handshake.
        if connection.close_sent:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._settings.close_timeout_seconds + 1.0):
                    await receive()


def _described(connection: Connection) -> str:
    name = f" {one_line(connection.name)}" if connection.name else ""
    return f"{connection.endpoint.path}{name} from {connection.address}"


class _Where:
    def __init__(self, manager: ConnectionManager, wanted: Callable[[Endpoint], bool]) -> None:
        self._manager = manager
        self._wanted = wanted

    def __iter__(self) -> Iterator[Connection]:
        return (connection for connection in self._manager if self._wanted(connection.endpoint))
