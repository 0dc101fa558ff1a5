"""Who is connected: one object per connection, and the registry that holds them all."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from target_app.eager import advance
from target_app.protocol import close_message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, MutableMapping, Set

    from target_app.fanout import Lag
    from target_app.protocol import Message
    from target_app.stats import Counters

    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    CoroutineSend = Callable[[Message], Coroutine[Any, Any, None]]
    OnMessage = Callable[["Connection", MutableMapping[str, Any]], Awaitable[None]]

GONE: Final = (OSError, RuntimeError)
"""What a send raises when its connection has ended.

ASGI 2.4 asks for an ``OSError`` once the client has left; after the server's own close frame
uvicorn raises ``RuntimeError``.
"""

CHUNK: Final = 128
"""Writes in a row before other work gets its turn.

A write costs about 12 µs, so the event loop is held for one or two milliseconds; 10,000 in one go
would hold it for more than a tenth of a second. At 2,000 clients the pauses cost nothing that could
be measured.
"""


class Connection:
    """One open WebSocket. Use :meth:`send` and :meth:`close`; the rest is the fan-out's.

    ``send`` is the ASGI server's own callable, taken below every middleware: it may wait for the
    client to read, and raises one of :data:`GONE` once the connection has ended.
    """

    __slots__ = ("close_code", "close_sent", "endpoint", "lag", "send")

    def __init__(self, endpoint: str, send: CoroutineSend) -> None:
        self.endpoint = endpoint
        self.send = send
        self.lag: Lag | None = None
        self.close_code: int | None = None
        self.close_sent = False

    async def close(self, code: int, reason: str, within_seconds: float) -> None:
        """Begin the closing handshake; cut the connection if it is not over ``within_seconds``.

        Return once the close frame is on its way, or never will be. The second close and later
        ones do nothing: the first code stands.
        """
        if self.close_code is not None:
            return
        self.close_code = code
        # Set before the close frame is sent: a client that does not read would block that for ever.
        self.abort_after(within_seconds)
        with contextlib.suppress(*GONE):
            await self.send(close_message(code, reason))
            self.close_sent = True

    def abort_after(self, seconds: float) -> None:
        """Cut the connection when ``seconds`` have passed, if it is still there by then."""
        asyncio.get_running_loop().call_later(seconds, self._abort)

    def unsent_bytes(self) -> int:
        """Return how much still waits in the server for this client to read, 0 if unknown."""
        transport = self._transport()
        return 0 if transport is None else transport.get_write_buffer_size()

    def _abort(self) -> None:
        if (transport := self._transport()) is not None:
            transport.abort()

    def _transport(self) -> asyncio.WriteTransport | None:
        # ASGI has no way to cut a connection, and closing one flushes first: a client that does
        # not read would stay for ever, and uvicorn's shutdown waits for it. In uvicorn `send` is
        # a method of the protocol that owns the transport. Elsewhere this finds nothing.
        transport = getattr(getattr(self.send, "__self__", None), "transport", None)
        return transport if hasattr(transport, "abort") else None


class ConnectionManager:
    """The registry of open connections, by endpoint, and the lifetime of each.

    A connection is in the registry from its accepted handshake until it has really ended: one that
    the server closes stays until the client has answered or was cut.
    """

    def __init__(self, counters: Counters, *, close_timeout_seconds: float) -> None:
        self._counters = counters
        self._close_timeout_seconds = close_timeout_seconds
        self._by_endpoint: dict[str, set[Connection]] = {}
        self._empty = asyncio.Event()
        self._empty.set()

    def __len__(self) -> int:
        return sum(len(members) for members in self._by_endpoint.values())

    def __iter__(self) -> Iterator[Connection]:
        for members in self._by_endpoint.values():
            yield from members

    def members(self, endpoint: str) -> Set[Connection]:
        """Return the live set of connections of ``endpoint``; copy it before you wait."""
        return self._by_endpoint.setdefault(endpoint, set())

    def open_by_endpoint(self) -> dict[str, int]:
        """Return how many connections are open, for every endpoint that was ever asked for."""
        return {endpoint: len(members) for endpoint, members in self._by_endpoint.items()}

    async def serve(
        self, endpoint: str, receive: Receive, send: CoroutineSend, on_message: OnMessage
    ) -> None:
        """Accept a handshake and await ``on_message`` for each message until the connection ends.

        The next message is not read before ``on_message`` has returned, so it should be quick:
        while it runs, neither pings nor a close of this client are seen.
        """
        await receive()
        await send({"type": "websocket.accept"})
        connection = Connection(endpoint, send)
        self._add(connection)
        code = 1006  # what the client sees if on_message raises (RFC 6455 §7.1.5)
        try:
            while (message := await receive())["type"] == "websocket.receive":
                self._counters.messages_received += 1
                await on_message(connection, message)
            code = message.get("code", 1005)
            await self._until_lost(connection, receive)
        finally:
            self._remove(connection, code)

    async def close_all(self, code: int, reason: str, within_seconds: float) -> None:
        """Close every connection and return when all have ended, within about that time.

        Clients that do not complete the closing handshake in time are cut (RFC 6455 §7.1.1 lets a
        server close the TCP connection first).
        """
        # Without a transport to cut (not uvicorn) the last ones may never end: do not wait longer.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds + 1.0), asyncio.TaskGroup() as stalled:
                for n, connection in enumerate(tuple(self), start=1):
                    rest = advance(connection.close(code, reason, within_seconds))
                    if rest is not None:
                        stalled.create_task(_finish(rest))
                    if n % CHUNK == 0:
                        await asyncio.sleep(0)
                await self.wait_empty()

    async def wait_empty(self) -> None:
        """Return when no connection is open."""
        await self._empty.wait()

    def _add(self, connection: Connection) -> None:
        self._counters.accepted += 1
        self._by_endpoint.setdefault(connection.endpoint, set()).add(connection)
        self._empty.clear()

    def _remove(self, connection: Connection, code: int) -> None:
        self._by_endpoint[connection.endpoint].discard(connection)
        self._counters.closed_by_code[connection.close_code or code] += 1
        if not len(self):
            self._empty.set()
        if connection.unsent_bytes():
            connection.abort_after(self._close_timeout_seconds)

    async def _until_lost(self, connection: Connection, receive: Receive) -> None:
        # The server's own close is reported at once, as a disconnect; uvicorn reports another
        # one when the connection is really gone, that is after the closing handshake.
        if connection.close_sent:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(self._close_timeout_seconds + 1.0):
                    await receive()


async def _finish(rest: Awaitable[None]) -> None:
    await rest
