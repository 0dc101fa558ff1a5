"""Who is connected: one object per connection, and the registry that holds them all."""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from target_app import wire
from target_app.message import Message, close_message, received_data
from target_app.protocol import CloseCode
from target_app.rate_limit import TokenBucket
from target_app.rooms import Rooms

if TYPE_CHECKING:
    from collections.abc import (
        Awaitable,
        Callable,
        Coroutine,
        Iterable,
        Iterator,
        MutableMapping,
        Sequence,
        Set,
    )

    from target_app.delivery import Lag
    from target_app.message import ASGIMessage
    from target_app.settings import Settings
    from target_app.stats import Counters
    from target_app.wire import Wire

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    CoroutineSend = Callable[[ASGIMessage], Coroutine[Any, Any, None]]

GONE: Final = (OSError, RuntimeError)
"""What a send raises when its connection has ended.

ASGI 2.4 asks for an ``OSError`` once the client has left; after the server's own close frame
uvicorn raises ``RuntimeError``.
"""

CHUNK: Final = 128
"""Writes in a row before other work gets its turn.

A write costs about 8 µs, so the event loop is held for a millisecond; 10,000 in one go would hold
it for a tenth of a second. At 2,000 clients the pauses cost nothing that could be measured.
"""

PHASES: Final = 100
"""Into how many parts the interval of a heartbeat or ping is divided, one for each connection.

At most 256, so that the number of a part is an integer that Python keeps anyway.
"""


@dataclass(frozen=True, slots=True)
class Endpoint:
    """What the server does with the connections of one path.

    The next message of a connection is not read before ``received`` has returned, so it should be
    quick: while it runs, neither pings nor a close of this client are seen. ``heartbeat`` and
    ``shutting_down`` are what its clients are told now and then; None is nothing.
    """

    path: str
    opened: Callable[[Connection], Awaitable[None]]
    received: Callable[[Connection, str | bytes], Awaitable[None]]
    closed: Callable[[Connection], Awaitable[None]]
    wrap: Callable[[str], Message] = Message
    """Makes a text of the server's own a message that these clients understand."""
    heartbeat: Message | None = None
    shutting_down: Message | None = None


class Connection:
    """One open WebSocket.

    ``send`` is the ASGI server's own callable, taken below every middleware: it may wait for the
    client to read, and raises one of :data:`GONE` once the connection has ended. Everything else
    goes through :class:`target_app.delivery.Delivery`, which never waits.
    """

    __slots__ = (
        *("client", "close_code", "close_sent", "endpoint", "lag", "name", "phase", "rooms"),
        *("send", "state", "wire"),
    )

    def __init__(
        self,
        endpoint: Endpoint,
        send: CoroutineSend,
        *,
        client: tuple[str, int] | None = None,
        name: str = "",
        state: object = None,
    ) -> None:
        self.endpoint = endpoint
        self.send = send
        self.wire: Wire | None = None
        self.client = client
        self.name = name
        """What the endpoint knows it by: a client's or a session's id."""
        self.state = state
        """What the endpoint keeps with it."""
        self.phase = random.randrange(PHASES)
        """Which part of an interval is its turn."""
        self.rooms: tuple[str, ...] = ()
        self.lag: Lag | None = None
        self.close_code: int | None = None
        self.close_sent = False

    @property
    def address(self) -> str:
        """The client's ``ip:port``, as its server saw it."""
        return "{}:{}".format(*self.client) if self.client else "unknown:0"

    async def close(self, code: int, reason: str, within_seconds: float) -> None:
        """Begin the closing handshake; cut the connection if it is not over ``within_seconds``.

        Return once the close frame is on its way, or never will be. The second close and later
        ones do nothing: the first code stands.
        """
        if self.close_code is None:
            # Before the close frame: a client that does not read would block that for ever.
            self.will_close(code, within_seconds)
            await self.send_close(code, reason)

    def will_close(self, code: int, within_seconds: float) -> None:
        """Note that it is being closed with ``code``, and cut it after that time if need be."""
        self.close_code = code
        self.abort_after(within_seconds)

    async def send_close(self, code: int, reason: str) -> None:
        """Send the close frame, if the connection is still there."""
        with contextlib.suppress(*GONE):
            await self.send(close_message(code, reason))
            self.close_sent = True

    def abort_after(self, seconds: float) -> None:
        """Cut the connection when ``seconds`` have passed, if it is still there by then."""
        if self.wire is not None:
            asyncio.get_running_loop().call_later(seconds, wire.abort, self.wire)

    def unsent_bytes(self) -> int:
        """Return how much still waits in the server for this client to read, 0 if unknown."""
        return 0 if self.wire is None else wire.unsent_bytes(self.wire)


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


class _Where:
    def __init__(self, manager: ConnectionManager, wanted: Callable[[Endpoint], bool]) -> None:
        self._manager = manager
        self._wanted = wanted

    def __iter__(self) -> Iterator[Connection]:
        return (connection for connection in self._manager if self._wanted(connection.endpoint))
