"""uvicorn's protocols, with bounds on what they take in before a request or message is whole.

uvicorn keeps headers of any size, waits for the rest of a request for ever, and keeps every
fragment of a message by itself, empty ones without end. This knows uvicorn 0.54, like
:mod:`target_app.connections.wire`.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

if TYPE_CHECKING:
    import asyncio

    from uvicorn.config import Config
    from uvicorn.server import ServerState
    from websockets.frames import Frame

HEAD_BYTES: Final = 2**16
"""Of a request line and headers, or of trailers: what h11 allows as well. One read of the socket,
at most 256 kB, may go beyond it.
"""


FRAGMENTS: Final = 1024
"""Of one message that are kept apart; each of them takes some 40 bytes more than it brings."""


class BoundedHttp(HttpToolsProtocol):
    """Cuts a connection whose request is not whole after ``seconds``, or whose head is too large.

    The time begins with the connection, and on one that is kept with the first byte of the next
    request; it ends with the request's body, or with the WebSocket.
    """

    def __init__(
        self,
        config: Config,
        server_state: ServerState,
        app_state: dict[str, Any],
        _loop: asyncio.AbstractEventLoop | None = None,
        *,
        seconds: float,
    ) -> None:
        super().__init__(config, server_state, app_state, _loop)
        self._seconds = seconds
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, but not for ever."""
        super().connection_made(transport)
        self._expect_the_rest()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no longer."""
        self._is_whole()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse ``data``; answer 400 if the head is too large with it."""
        self._expect_the_rest()
        self._head_bytes += len(data)
        super().data_received(data)
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"More than {HEAD_BYTES} bytes of headers.")

    def on_body(self, body: bytes) -> None:
        """Take a part of the body, which is for the application to bound."""
        self._head_bytes = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Wait no longer: the request is whole."""
        self._is_whole()
        super().on_message_complete()

    def handle_websocket_upgrade(self) -> None:
        """Wait no longer: the rest is WebSocket."""
        self._is_whole()
        super().handle_websocket_upgrade()

    def _expect_the_rest(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(self._seconds, self.transport.abort)

    def _is_whole(self) -> None:
        self._head_bytes = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """Puts the fragments of a message together as they come, once there are many."""

    def handle_cont(self, event: Frame) -> None:
        """Take one more fragment (RFC 6455 §5.4)."""
        if len(self.frames) >= FRAGMENTS:
            self.frames[:] = [gathered(self.frames)]
        super().handle_cont(event)


def gathered(fragments: list[bytes]) -> bytes:
    """Return ``fragments`` as one, to which later ones are added without a copy of the whole."""
    first, *others = fragments
    whole = first if isinstance(first, bytearray) else bytearray(first)
    whole += b"".join(others)
    # uvicorn joins it with at least one more, which makes bytes of it.
    return cast("bytes", whole)


def bounded_http(seconds: float) -> type[asyncio.Protocol]:
    """Return what ``uvicorn.Config(http=…)`` takes, for requests that are whole in ``seconds``."""
    # uvicorn calls it and looks no further; a worker process gets it pickled.
    return cast("type[asyncio.Protocol]", functools.partial(BoundedHttp, seconds=seconds))
