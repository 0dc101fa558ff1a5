"""A limit to the time that a client takes for a handshake, or for any other request."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from uvicorn import Config
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

if TYPE_CHECKING:
    import asyncio


class LimitedConfig(Config):
    """uvicorn's configuration, with the seconds that a handshake may take; 0 is no limit."""

    def __init__(
        self,
        app: Any,  # noqa: ANN401 - uvicorn's own is as wide
        *,
        handshake_seconds: float,
        **options: Any,  # noqa: ANN401
    ) -> None:
        super().__init__(app, http=LimitedHttp, **options)
        self.handshake_seconds = handshake_seconds


class LimitedHttp(HttpToolsProtocol):
    """HTTP/1.1 for one connection, which is cut if its client does not get to the point.

    uvicorn waits for ever for the end of a request. Here the first request has to be complete
    within the limit after the connection, and a later one after its first byte, in however small
    pieces it comes; each part of a body that comes begins the time anew. It is one timer, and it
    is gone when a connection has become a WebSocket.
    """

    _request_timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Begin to wait for the first request."""
        super().connection_made(transport)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Wait no more."""
        self._no_wait()
        super().connection_lost(exc)

    def on_message_begin(self) -> None:
        """Wait for the rest; the first request is waited for already."""
        super().on_message_begin()
        if self._request_timer is None:
            self._wait()

    def on_body(self, body: bytes) -> None:
        """Wait for the next part of the body."""
        self._no_wait()
        super().on_body(body)
        self._wait()

    def on_message_complete(self) -> None:
        """Wait no more: it is our turn."""
        self._no_wait()
        super().on_message_complete()

    def _wait(self) -> None:
        assert isinstance(self.config, LimitedConfig)
        if seconds := self.config.handshake_seconds:
            self._request_timer = self.loop.call_later(seconds, self._cut)

    def _no_wait(self) -> None:
        if self._request_timer is not None:
            self._request_timer.cancel()
            self._request_timer = None

    def _cut(self) -> None:
        self._request_timer = None
        if self.flow.read_paused:
            # The application has not read what is there: the client is not who makes us wait.
            self._wait()
        else:
            self.transport.abort()
