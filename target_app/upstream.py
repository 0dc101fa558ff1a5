"""The server as a WebSocket client: what upstream servers say is passed on."""

from __future__ import annotations

import asyncio
import logging
import math
import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit, urlunsplit

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidURI, WebSocketException
from websockets.uri import parse_uri

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from websockets.asyncio.client import ClientConnection

    from target_app.backoff import Backoff

OPEN_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UpstreamStatus:
    """How a connection to an upstream server is doing."""

    url: str
    """Without user, password and query, which may be secrets."""
    state: str
    """``connecting``, ``connected`` or ``waiting`` (to try again)."""
    connections: int
    messages: int
    last_error: str | None
    """Why the last connection ended or was not made, in one line."""


class Upstream:
    """A connection to one upstream server, made again whenever it ends, for whatever reason.

    (``async for`` over ``websockets.connect`` would give up on some of them, a 404 among others.)
    Raise :class:`ValueError` if ``url`` is not one of a WebSocket.
    """

    def __init__(
        self,
        url: str,
        on_message: Callable[[str | bytes], Awaitable[None]],
        *,
        backoff: Backoff,
        draw: Callable[[], float] = random.random,
        open_seconds: float = OPEN_SECONDS,
    ) -> None:
        try:
            parse_uri(url)
        except InvalidURI as error:
            raise ValueError(f"upstream {url!r}: {error}; it has to be ws:// or wss://") from None
        self._url = url
        self._on_message = on_message
        self._backoff = backoff
        self._draw = draw
        self._open_seconds = open_seconds
        self._state = "waiting"
        self._connections = 0
        self._messages = 0
        self._last_error: str | None = None

    def status(self) -> UpstreamStatus:
        """Return how it is doing now."""
        return UpstreamStatus(
            without_secrets(self._url),
            self._state,
            self._connections,
            self._messages,
            self._last_error,
        )

    async def run(self) -> None:
        """Stay connected and pass on what arrives, until cancelled."""
        failures = 0
        while True:
            self._state = "connecting"
            connected_at = math.inf
            try:
                async with self._connect() as connection:
                    self._state = "connected"
                    self._connections += 1
                    connected_at = time.monotonic()
                    await self._pass_on(connection)
            except (WebSocketException, OSError, TimeoutError, EOFError, ValueError) as error:
                self._last_error = " ".join(f"{type(error).__name__}: {error}".split())
            self._state = "waiting"
            # Who accepts every connection and ends it at once is not tried more often than who
            # refuses it: only one that has lasted makes up for the failures before it.
            if time.monotonic() - connected_at >= self._backoff.longest_seconds:
                failures = 0
            seconds = self._backoff.seconds(failures, self._draw())
            failures += 1
            logger.warning(
                "upstream %s: %s; next try in %.1f s",
                without_secrets(self._url),
                self._last_error,
                seconds,
            )
            await asyncio.sleep(seconds)

    def _connect(self) -> connect:
        return connect(
            self._url,
            proxy=None,
            open_timeout=self._open_seconds,
            close_timeout=CLOSE_SECONDS,
        )

    async def _pass_on(self, connection: ClientConnection) -> None:
        async for message in connection:
            self._messages += 1
            try:
                await self._on_message(message)
            except Exception:
                logger.exception("passing on a message of %s", without_secrets(self._url))
        self._last_error = f"closed with {connection.close_code} {connection.close_reason}".strip()


def without_secrets(url: str) -> str:
    """Return ``url`` without what may be a secret: user, password and query."""
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return urlunsplit((parts.scheme, host, parts.path, "", ""))
