"""One open WebSocket: what it is to its endpoint, and how it is closed."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from target_app.connections import wire
from target_app.connections.message import Message, close_message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from target_app.connections.delivery import Lag
    from target_app.connections.message import ASGIMessage
    from target_app.connections.wire import Wire

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
    goes through :class:`target_app.connections.delivery.Delivery`, which never waits.
    """

    __slots__ = (
        *("client", "close_code", "close_sent", "endpoint", "identity", "lag", "name", "phase"),
        *("rooms", "send", "state", "wire"),
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
        self.identity: str | None = None
        """Who the client is, None if it did not say."""
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
