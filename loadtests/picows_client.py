"""The client library of choice: picows, whose every frame is one call of C and one of ours."""

import logging
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Final, cast

from picows import ws_connect

from loadtests.connection import Connection

if TYPE_CHECKING:
    from loadtests.dial import Request

# The library's default of 16 KiB would be most of an idle connection's memory. It grows at need.
_READ_BUFFER_BYTES: Final = 2048
_LOG: Final = logging.LoggerAdapter(logging.getLogger(__name__))


async def open_connection(
    request: "Request", make_connection: Callable[[], Connection]
) -> Connection | None:
    """Open a connection; None if the peer hung up before it answered.

    Raises:
        OSError, WSError: it did not open.
    """
    secure = request.tls is not None

    def headers() -> Iterator[tuple[str, str]]:
        # The library asks for these when it writes the request, which is when TLS is done.
        request.secured()
        yield from request.headers
        if request.subprotocols:
            yield "Sec-WebSocket-Protocol", ", ".join(request.subprotocols)

    _, listener = await ws_connect(
        make_connection,
        request.url,
        ssl_context=request.tls,
        extra_headers=headers(),
        # The library ends the connection when this is over; a timeout around the whole call
        # would leave it half open, to be opened after it was counted as failed.
        websocket_handshake_timeout=request.timeout_seconds,
        logger_name=_LOG,
        max_redirects=0,
        # Ours to do, so that a scenario may see pings.
        enable_auto_pong=False,
        read_buffer_init_size=_READ_BUFFER_BYTES,
        proxy=request.proxy,
        socket_factory=lambda _url: request.connect(),
        # Measured on plain TCP against uvloop's own transports: a fifth more CPU a round trip and
        # 6 KiB more a connection. Over TLS it is the faster one.
        use_aiofastnet=secure,
        ssl_handshake_timeout=request.timeout_seconds if secure else None,
    )
    return cast("Connection | None", listener)
