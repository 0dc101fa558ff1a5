"""The preferred client library: picows, where every frame is one C call and one of ours."""

import asyncio
import logging
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import suppress
from typing import Any, Final, cast

from picows import WSError, ws_connect

from loadtests.clients.connection import Connection
from loadtests.clients.request import Request

# The library's default of 16 KiB would be most of an idle connection's memory. It grows as needed.
_READ_BUFFER_BYTES: Final = 2048
_LOG: Final = logging.LoggerAdapter(logging.getLogger(__name__))


async def open_connection(
    request: Request, make_connection: Callable[[], Connection]
) -> Connection | None:
    """Open a connection; None if the peer hung up before it answered.

    If cancelled, it does not open afterwards.

    Raises:
        OSError, WSError: it did not open.
    """
    secure = request.tls is not None
    attempt = _Attempt(request.connect, make_connection)

    def headers() -> Iterator[tuple[str, str]]:
        # The library asks for these when it writes the request, which is when TLS is done.
        request.secured()
        yield from request.headers
        if request.subprotocols:
            yield "Sec-WebSocket-Protocol", ", ".join(request.subprotocols)

    opening = ws_connect(
        attempt.make,
        request.url,
        ssl_context=request.tls,
        extra_headers=headers(),
        # The library ends the connection when this expires; a timeout around the whole call
        # would leave it half open, so that it could open after it was counted as failed.
        websocket_handshake_timeout=request.timeout_seconds,
        logger_name=_LOG,
        max_redirects=0,
        # We do this ourselves, so that a scenario can see pings.
        enable_auto_pong=False,
        max_frame_size=request.max_message_bytes,
        read_buffer_init_size=_READ_BUFFER_BYTES,
        proxy=request.proxy,
        socket_factory=lambda _url: attempt.connect(),
        # Measured on plain TCP against uvloop's own transports: a fifth more CPU per round trip
        # and 6 KiB more per connection. Over TLS it is the faster one.
        use_aiofastnet=secure,
        ssl_handshake_timeout=request.timeout_seconds if secure else None,
    )
    try:
        _, listener = await opening
    except asyncio.CancelledError:
        attempt.give_up()
        raise
    return cast("Connection | None", listener)


def count_alone(loop: asyncio.AbstractEventLoop) -> None:
    """Keep the peer's faults from being logged as unretrieved errors; they are only counted.

    The library keeps each for a caller that awaits the end of its connection, which would take a
    task.
    """

    def handle(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if not isinstance(context.get("exception"), WSError):
            loop.default_exception_handler(context)

    loop.set_exception_handler(handle)


class _Attempt:
    """One opening, which the library would continue after the task that awaits it is cancelled."""

    def __init__(
        self,
        connect: Callable[[], Awaitable[socket.socket]],
        make_connection: Callable[[], Connection],
    ) -> None:
        self._connect = connect
        self._make_connection = make_connection
        self._connected: socket.socket | None = None
        self._is_given_up = False
        self._is_made = False

    async def connect(self) -> socket.socket:
        self._connected = await self._connect()
        return self._connected

    def make(self) -> Connection:
        """Make the listener for the library once the answer has arrived, unless given up."""
        if self._is_given_up:
            raise ConnectionAbortedError
        self._is_made = True
        return self._make_connection()

    def give_up(self) -> None:
        """Keep it from opening; one that is already open is known, and is closed by its owner."""
        self._is_given_up = True
        if self._connected is not None and not self._is_made:
            with suppress(OSError):
                self._connected.shutdown(socket.SHUT_RDWR)
