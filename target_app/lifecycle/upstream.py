"""The server as a WebSocket client: what upstream servers send is passed on."""

from __future__ import annotations

import asyncio
import logging
import random
import re
import ssl
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, NoReturn

from websockets.asyncio.client import connect
from websockets.exceptions import InvalidURI
from websockets.uri import parse_uri

from target_app.logs import address_without_secrets, described, one_line, without_secrets
from target_app.protocol import CloseCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from websockets.asyncio.client import ClientConnection
    from websockets.uri import WebSocketURI

    from target_app.backoff import Backoff

State = Literal["connecting", "connected", "waiting"]

OPEN_SECONDS: Final = 10.0
CLOSE_SECONDS: Final = 1.0
PING_SECONDS: Final = 20.0
MESSAGE_BYTES: Final = 2**20
ERROR_CHARACTERS: Final = 200

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UpstreamStatus:
    """The status of a connection to an upstream server."""

    url: str
    """Without user, password and query, which may be secrets."""
    state: State
    """``waiting`` is for the next try, or for the first one while it is not running."""
    connections: int
    messages: int
    last_error: str | None
    """Why the last connection ended or was not made, in one line."""
    connected_seconds: float | None
    """How long it has been connected; None if it is not."""
    next_try_seconds: float | None
    """How long until the next try; None if it does not wait for one."""


class Upstream:
    """A connection to one upstream server, re-established whenever it ends, for whatever reason.

    (``async for`` over ``websockets.connect`` would give up for some reasons, a 404 among others,
    and reconnect without any wait to a server that accepts a connection and ends it at once.)

    ``ping_seconds`` is the time between two pings and the time to answer one: a server that
    vanishes silently is noticed within about twice that. While ``on_message`` is running nothing
    more is read, and so the upstream has to wait as well. A message of more than ``message_bytes``
    ends the connection with 1009. ``tls`` is for ``wss://`` only; by default it trusts what the
    machine trusts.

    Raise :class:`ValueError` if ``url`` is not a WebSocket URL.
    """

    def __init__(
        self,
        url: str,
        on_message: Callable[[str | bytes], Awaitable[None]],
        *,
        backoff: Backoff,
        draw: Callable[[], float] = random.random,
        clock: Callable[[], float] = time.monotonic,
        open_seconds: float = OPEN_SECONDS,
        ping_seconds: float = PING_SECONDS,
        message_bytes: int = MESSAGE_BYTES,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self._url = url
        self._shown = without_secrets(url)
        self._on_message = on_message
        self._backoff = backoff
        self._draw = draw
        self._clock = clock
        self._options: dict[str, Any] = {
            "proxy": None,
            "open_timeout": open_seconds,
            "close_timeout": CLOSE_SECONDS,
            "ping_interval": ping_seconds,
            "ping_timeout": ping_seconds,
            "max_size": message_bytes,
        }
        if _parsed(url).secure:
            # Made once: loading the machine's certificates blocks the event loop for 20 ms.
            self._options["ssl"] = tls or ssl.create_default_context()
        self._state: State = "waiting"
        self._since = clock()
        self._wait_seconds: float | None = None
        self._connections = 0
        self._messages = 0
        self._last_error: str | None = None

    def status(self) -> UpstreamStatus:
        """Return the current status."""
        elapsed = self._elapsed()
        wait = self._wait_seconds
        return UpstreamStatus(
            url=self._shown,
            state=self._state,
            connections=self._connections,
            messages=self._messages,
            last_error=self._last_error,
            connected_seconds=elapsed if self._state == "connected" else None,
            next_try_seconds=None if wait is None else max(0.0, wait - elapsed),
        )

    async def run(self) -> None:
        """Stay connected and pass on what arrives, until cancelled."""
        failures = 0
        try:
            while True:
                self._enter("connecting")
                lasted_seconds = 0.0
                try:
                    connection = await connect(self._url, **self._options)
                    self._enter("connected")
                    self._connections += 1
                    try:
                        await self._pass_on(connection)
                    finally:
                        lasted_seconds = self._elapsed()
                        await _leave(connection)
                except Exception as error:
                    # One upstream, whatever it does, must not end the server that follows it.
                    logger.debug("upstream %s", self._shown, exc_info=True)
                    self._last_error = _in_one_line(error)
                if self._backoff.forgives(lasted_seconds):
                    failures = 0
                await self._wait(self._backoff.seconds(failures, self._draw()))
                failures += 1
        finally:
            self._enter("waiting")

    async def _pass_on(self, connection: ClientConnection) -> NoReturn:
        # Not ``async for``, which leaves a generator behind for somebody else to close when it is
        # cancelled, and does not reveal how a connection that closed cleanly was closed.
        while True:
            message = await connection.recv()
            self._messages += 1
            if logger.isEnabledFor(logging.INFO):
                logger.info("upstream %s sent: %s", self._shown, one_line(message))
            try:
                await self._on_message(message)
            except Exception:
                logger.exception("passing on a message of %s", self._shown)

    async def _wait(self, seconds: float) -> None:
        self._enter("waiting", seconds)
        logger.warning(
            "upstream %s: %s; next try in %.1f s", self._shown, self._last_error, seconds
        )
        await asyncio.sleep(seconds)

    def _enter(self, state: State, wait_seconds: float | None = None) -> None:
        self._state = state
        self._since = self._clock()
        self._wait_seconds = wait_seconds

    def _elapsed(self) -> float:
        return self._clock() - self._since


async def _leave(connection: ClientConnection) -> None:
    # If the other side has ended the connection, nothing is left to do here.
    try:
        await connection.close(CloseCode.GOING_AWAY, "server is shutting down")
    finally:
        # If cancelled once more, there is no time for a closing handshake.
        connection.transport.abort()
        await connection.wait_closed()


def _parsed(url: str) -> WebSocketURI:
    try:
        if not re.search(r"\s", url):
            return parse_uri(url)
        reason = "it has white space"
    except InvalidURI as error:
        reason = error.msg
    except ValueError:
        reason = "its host or port is not valid"
    shown = address_without_secrets(url)
    # Without a cause, which would reveal the whole URL.
    raise ValueError(f"upstream {shown!r}: {reason}; it has to be ws://… or wss://…")


def _in_one_line(error: Exception) -> str:
    # It may contain what the other side sent, and it goes to logs and terminals.
    text = without_secrets(described(error))
    return one_line(" ".join(text.split()), ERROR_CHARACTERS)
