"""Who is connected: the registry that holds all connections, and the lifetime of each."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Protocol

from target_app.connections import wire
from target_app.connections.connection import PHASES
from target_app.connections.rate_limit import TokenBucket
from target_app.connections.rooms import Rooms
from target_app.logs import one_line
from target_app.message import received_bytes, received_data
from target_app.protocol import CloseCode, too_large

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Iterable,
        Iterator,
        Mapping,
        MutableMapping,
        Sequence,
        Set,
    )

    from target_app.connections.connection import Connection, Endpoint
    from target_app.connections.names import ClientId
    from target_app.counters import Counters
    from target_app.settings import Settings

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

logger = logging.getLogger(__name__)


READ_IN_A_ROW: Final = 2
"""Messages of one connection that are handled before others get their turn.

Neither a receive nor a send has to wait while there is something to read and room to write. An
event takes some 50 µs, and one that arrives meanwhile waits for two turns.
"""


@dataclass(frozen=True, slots=True)
class Refusal:
    """The reason why no further client may connect now; answered with 503."""

    reason: str
    """One word, for the statistics."""
    text: str


DRAINING: Final = Refusal("draining", "The server is shutting down.")


class LeftBehind(Protocol):
    """An endpoint that goes on running although its client is gone."""

    task: asyncio.Task[Any] | None
    """The task in which it runs."""

    def give_up(self) -> None:
        """Cancel its task."""
        ...


class ConnectionManager:
    """The registry of open connections, the rooms they are in, and the lifetime of each.

    A connection is in the registry from its accepted handshake until it has really ended: one that
    the server closes stays until the client has answered or was cut. An endpoint that goes on
    running after that is waited for once the drain is over.
    """

    def __init__(self, counters: Counters, settings: Settings) -> None:
        self.rooms = Rooms()
        self.counters = counters
        self._settings = settings
        self._by_phase: tuple[set[Connection], ...] = tuple(set() for _ in range(PHASES))
        self._by_endpoint: dict[Endpoint, int] = {}
        # A single one by itself, as for nearly every client; several as keys, so that removing one
        # costs the same however many there are.
        self._by_id: dict[ClientId, Connection | dict[Connection, None]] = {}
        self._left_behind: set[LeftBehind] = set()
        self._handshakes = 0
        self._admits = True
        self._closing: tuple[int, str, float] | None = None
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return sum(self._by_endpoint.values())

    def __iter__(self) -> Iterator[Connection]:
        for members in self._by_phase:
            yield from members

    @property
    def phases(self) -> Sequence[Set[Connection]]:
        """The open connections, by their part of an interval; copy a set before you await."""
        return self._by_phase

    @property
    def places_taken(self) -> int:
        """The number of connections that are open, or were admitted and are about to be."""
        return len(self) + self._handshakes

    def of_client(self, id: ClientId) -> tuple[Connection, ...]:  # noqa: A002 - as in Connection
        """Return the connections of a client."""
        found = self._by_id.get(id, {})
        return tuple(found) if isinstance(found, dict) else (found,)

    def where(self, wanted: Callable[[Endpoint], bool]) -> Iterable[Connection]:
        """Return the connections of the ``wanted`` endpoints, as of the time of each iteration."""
        return _Where(self, wanted)

    def know(self, *endpoints: Endpoint) -> None:
        """Count ``endpoints`` from the start, before they have a connection."""
        for endpoint in endpoints:
            self._by_endpoint.setdefault(endpoint, 0)

    def open_by_endpoint(self) -> dict[str, int]:
        """Return how many connections are open, by the path of their endpoint."""
        open_now: Counter[str] = Counter()
        for endpoint, count in self._by_endpoint.items():
            open_now[endpoint.path] += count
        return dict(open_now)

    def endpoints(self) -> tuple[Endpoint, ...]:
        """Return the endpoints that have connections now."""
        return tuple(endpoint for endpoint, count in self._by_endpoint.items() if count)

    async def wait_empty(self) -> None:
        """Wait until no connection is open and none is about to be."""
        await self._empty.wait()

    def stop_admitting(self) -> None:
        """Refuse handshakes from now on."""
        self._admits = False

    def refusal(self) -> Refusal | None:
        """Return why another connection is refused, None if there is a place for it."""
        if not self._admits:
            return DRAINING
        most = self._settings.max_connections
        if most and self.places_taken >= most:
            return Refusal("full", f"{most} connections are open, which is the limit.")
        return None

    def close_newcomers(self, code: int, reason: str, within_seconds: float) -> None:
        """From now on, close every connection that is added: its handshake was in progress."""
        self._closing = (code, reason, within_seconds)

    async def close(self, connection: Connection, code: int, reason: str) -> None:
        """Close ``connection``, and cut it if that takes longer than the settings allow."""
        await connection.close(code, reason, self._settings.close_timeout_seconds)

    async def close_newcomer(self, connection: Connection) -> None:
        """Close ``connection`` if newcomers are to be closed."""
        if self._closing is not None:
            await connection.close(*self._closing)

    def begin_handshake(self) -> None:
        """Take a place for a connection that is about to be added."""
        self._handshakes += 1
        self._empty.clear()

    def end_handshake(self) -> None:
        """Give the place back: the connection was added, or never will be."""
        self._handshakes -= 1
        self._note_if_empty()

    async def serve(
        self, connection: Connection, receive: Receive, *, has_failed: bool = False
    ) -> None:
        """Run the endpoint of an adopted ``connection`` until the connection ends.

        One whose handshake ``has_failed`` after it was accepted is closed instead.
        """
        endpoint = connection.endpoint
        try:
            self.add(connection)
        finally:
            self.end_handshake()
        code: int = CloseCode.INTERNAL_ERROR
        was_opened = False
        try:
            if connection.wire is not None:
                wire.shrink(connection.wire)
            if has_failed:
                await self.close(connection, code, "internal error")
            await self.close_newcomer(connection)
            if connection.close_code is None:
                was_opened = True
                await endpoint.opened(connection)
            code = await self._read(connection, receive)
        except Exception:
            await self.close(connection, code, "internal error")
            await self.until_lost(connection, receive, is_reported=False)
            raise
        finally:
            self.remove(connection, code)
            if was_opened:
                await endpoint.closed(connection)

    async def until_lost(
        self, connection: Connection, receive: Receive, *, is_reported: bool
    ) -> None:
        """Wait for the end of the closing handshake that the server itself began, if it did.

        The underlying server reports its own close at once, as a disconnect (``is_reported``);
        uvicorn reports another one when the connection is really gone. What the client sends in
        between is discarded.
        """
        if connection.close_code is None:
            return
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._settings.close_timeout_seconds + 1.0):
                while not is_reported:
                    # Before it, an application may have left even the connect event unread.
                    is_reported = (await receive())["type"] == "websocket.disconnect"
                    await asyncio.sleep(0)
                if connection.close_sent:
                    await receive()

    async def _read(self, connection: Connection, receive: Receive) -> int:
        # Return the close code that the underlying server reports.
        bucket = self._bucket()
        in_a_row = 0
        while (message := await receive())["type"] == "websocket.receive":
            self.counters.messages_received += 1
            if bucket is not None and not bucket.take(time.monotonic()):
                await self._too_fast(connection)
            elif connection.close_code is None:
                await self._received(connection, message)
            in_a_row += 1
            if in_a_row == READ_IN_A_ROW:
                in_a_row = 0
                await asyncio.sleep(0)
        code: int = message.get("code", 1005)
        await self.until_lost(connection, receive, is_reported=True)
        return code

    async def _received(self, connection: Connection, message: Mapping[str, Any]) -> None:
        endpoint = connection.endpoint
        most = endpoint.max_message_bytes
        if most is None or (size := received_bytes(message)) <= most:
            await endpoint.received(connection, received_data(message))
        elif endpoint.too_large is not None:
            await endpoint.too_large(connection, size)
        else:
            text = too_large(size, most).problem
            await self.close(connection, CloseCode.MESSAGE_TOO_BIG, text)

    def _bucket(self) -> TokenBucket | None:
        rate = self._settings.messages_per_second
        return TokenBucket(rate, max(rate, 1.0), time.monotonic()) if rate else None

    async def _too_fast(self, connection: Connection) -> None:
        if connection.close_code is None:
            self.counters.rate_limited += 1
            rate = f"more than {self._settings.messages_per_second:g} messages a second"
            await self.close(connection, CloseCode.POLICY_VIOLATION, rate)

    def _take_over(self, connection: Connection) -> None:
        connection.wire = found = wire.wire_of(connection.send)
        if found is not None:
            wire.take_over(
                found,
                max_message_bytes=self._settings.ws_max_size,
                kept_bytes=connection.endpoint.max_message_bytes,
                own_pings=self._settings.ws_ping_interval > 0,
            )

    def add(self, connection: Connection) -> None:
        """Register a connection whose handshake is complete, and add it to its rooms."""
        self._take_over(connection)
        self.counters.accepted += 1
        self._by_phase[connection.phase].add(connection)
        endpoint = connection.endpoint
        self._by_endpoint[endpoint] = self._by_endpoint.get(endpoint, 0) + 1
        if connection.id is not None:
            self._note_id(connection, connection.id)
        for room in connection.rooms:
            self.rooms.join(connection, room)
        self._empty.clear()
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s connected", _described(connection))

    def remove(self, connection: Connection, code: int) -> None:
        """Forget a connection that ended with ``code``, or with the close code it was given here.

        A second call does nothing.
        """
        if connection not in self._by_phase[connection.phase]:
            return
        self._by_phase[connection.phase].remove(connection)
        self._by_endpoint[connection.endpoint] -= 1
        if connection.id is not None:
            self._forget_id(connection, connection.id)
        self.rooms.leave_all(connection)
        self.counters.closed_by_code[connection.close_code or code] += 1
        self._note_if_empty()
        if connection.unsent_bytes():
            connection.abort_after(self._settings.close_timeout_seconds)
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s ended: %d", _described(connection), connection.close_code or code)

    def leave_behind(self, endpoint: LeftBehind) -> None:
        """Note an ``endpoint`` that goes on running although its connection is gone and removed."""
        self._left_behind.add(endpoint)

    def has_returned(self, endpoint: LeftBehind) -> None:
        """Forget an ``endpoint`` that has returned, whether it was left behind or not."""
        self._left_behind.discard(endpoint)

    async def end_left_behind(self) -> None:
        """Wait for the endpoints whose client is gone, and cancel those that take too long.

        They get as much time as a closing handshake; none if the caller is cancelled.
        """
        try:
            running = [left.task for left in self._left_behind if left.task is not None]
            if running:
                await asyncio.wait(running, timeout=self._settings.close_timeout_seconds)
        finally:
            if late := tuple(self._left_behind):
                logger.warning("cancelling %d endpoints that go on without a client", len(late))
            for endpoint in late:
                endpoint.give_up()

    def _note_if_empty(self) -> None:
        if not self.places_taken:
            self._empty.set()

    def _note_id(self, connection: Connection, id: ClientId) -> None:  # noqa: A002
        others = self._by_id.setdefault(id, connection)
        if isinstance(others, dict):
            others[connection] = None
        elif others is not connection:
            self._by_id[id] = {others: None, connection: None}

    def _forget_id(self, connection: Connection, id: ClientId) -> None:  # noqa: A002
        found = self._by_id[id]
        if isinstance(found, dict):
            del found[connection]
        if found is connection or not found:
            del self._by_id[id]


def _described(connection: Connection) -> str:
    name = f" {one_line(connection.name)}" if connection.name else ""
    who = f" by {one_line(connection.identity)}" if connection.identity else ""
    return f"{connection.endpoint.path}{name}{who} from {connection.address}"


class _Where:
    def __init__(self, manager: ConnectionManager, wanted: Callable[[Endpoint], bool]) -> None:
        self._manager = manager
        self._wanted = wanted

    def __iter__(self) -> Iterator[Connection]:
        return (connection for connection in self._manager if self._wanted(connection.endpoint))
