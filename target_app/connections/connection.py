"""One open WebSocket: what it is to its endpoint, and how it is closed."""

from __future__ import annotations

import asyncio
import logging
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from target_app.connections import wire
from target_app.connections.ended import has_ended
from target_app.connections.lag import Close
from target_app.logs import address_of
from target_app.message import Message, close_message

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine

    from target_app.connections.lag import Laggard
    from target_app.connections.names import ClientId, Room
    from target_app.connections.wire import Wire
    from target_app.message import ASGIMessage

    CoroutineSend = Callable[[ASGIMessage], Coroutine[Any, Any, None]]

logger = logging.getLogger(__name__)

CHUNK: Final = 128
"""Writes in a row before other work gets its turn.

A write costs about 8 µs, so the event loop is blocked for a millisecond; 10,000 in one go would
block it for a tenth of a second. At 2,000 clients the pauses had no measurable cost.
"""

PHASES: Final = 100
"""Number of parts into which the interval of a heartbeat or ping is divided, one per connection.

At most 256, so that the number of a part is an integer that Python caches anyway.
"""


async def _nothing(_connection: Connection) -> None:
    pass


async def _ignored(_connection: Connection, _data: str | bytes) -> None:
    pass


@dataclass(frozen=True, slots=True, eq=False)
class Endpoint:
    """What the server does with the connections of one path.

    ``path`` is what they are counted and logged under; it has to contain any prefix that its router
    is included with. ``opened`` is awaited once a connection is registered, before anything is read
    from it, ``received`` for each message, ``closed`` when it has ended. The next message of a
    connection is not read before ``received`` has returned, so it should be quick: while it runs,
    pings and a close from this client may go unnoticed, and the client is not taken for dead.
    Nothing is kept of a message of more than ``max_message_bytes``: ``too_large`` is awaited with
    its size in bytes instead; without one the connection is closed with 1009 (RFC 6455 §7.4.1).
    ``heartbeat`` and ``shutting_down`` are sent to its clients from time to time; None sends
    nothing. Every endpoint is equal only to itself.
    """

    path: str
    opened: Callable[[Connection], Awaitable[None]] = _nothing
    received: Callable[[Connection, str | bytes], Awaitable[None]] = _ignored
    closed: Callable[[Connection], Awaitable[None]] = _nothing
    wrap: Callable[[str], Message] = Message
    """Turns a text from the server into a message that these clients understand."""
    max_message_bytes: int | None = None
    too_large: Callable[[Connection, int], Awaitable[None]] | None = None
    space: str = ""
    """The protocol's, if its clients get what is sent to everyone of that protocol."""
    heartbeat: Message | None = None
    shutting_down: Message | None = None


class Connection:
    """One open WebSocket.

    ``send`` is the ASGI server's own callable, taken below every middleware: it may wait for the
    client to read, and raises once the connection has ended
    (:func:`target_app.connections.ended.has_ended`). Everything else goes through
    :class:`target_app.connections.delivery.Delivery`, which never waits.
    """

    __slots__ = (
        *("client", "close_code", "close_sent", "endpoint", "id", "identity", "lag", "phase"),
        *("rooms", "send", "state", "wire"),
    )

    def __init__(
        self,
        endpoint: Endpoint,
        send: CoroutineSend,
        *,
        client: tuple[str, int] | None = None,
        id: ClientId | None = None,  # noqa: A002 - what the protocols call it
        identity: str | None = None,
        rooms: tuple[Room, ...] = (),
        state: object = None,
    ) -> None:
        self.endpoint = endpoint
        self.send = send
        self.wire: Wire | None = None
        self.client = client
        self.id = id
        """The name by which others may send to it: a client's or a session's."""
        self.identity = identity
        """Who the client is according to the login, None without one."""
        self.state = state
        """What the endpoint stores with it."""
        self.phase = random.randrange(PHASES)
        """The part of an interval in which its turn comes."""
        self.rooms = rooms
        self.lag: Laggard | None = None
        self.close_code: int | None = None
        self.close_sent = False

    @property
    def name(self) -> str:
        """The client's or session's name within its protocol, empty if it has none."""
        return "" if self.id is None else self.id.name

    @property
    def address(self) -> str:
        """The client's ``ip:port``, as its server saw it; ``unknown:0`` over a Unix socket."""
        return address_of(self.client)

    async def close(self, code: int, reason: str, within_seconds: float) -> None:
        """Close once everything that waits is sent; cut the connection after ``within_seconds``.

        Return once the close frame is on its way, or never will be, or has to wait for its turn.
        The second close and later ones do nothing: the first code stands.
        """
        if self.close_code is not None:
            return
        # Before the close frame: a client that does not read would block that forever.
        self.will_close(code, within_seconds)
        if self.lag is None:
            await self.send_close(code, reason)
        else:
            self.lag.state.close_after(Close(code, reason))

    def will_close(self, code: int, within_seconds: float) -> None:
        """Note that it is being closed with ``code``; cut it after ``within_seconds`` if needed."""
        self.close_code = code
        self.abort_after(within_seconds)

    async def send_close(self, code: int, reason: str) -> None:
        """Send the close frame, if the connection is still open."""
        try:
            await self.send(close_message(code, reason))
        except Exception as error:
            if not has_ended(error, self):
                logger.exception("closing %s", self.address)
        else:
            self.close_sent = True

    def abort_after(self, seconds: float) -> None:
        """Cut the connection after ``seconds``, if it is still open by then."""
        if self.wire is not None:
            asyncio.get_running_loop().call_later(seconds, wire.abort, self.wire)

    def unsent_bytes(self) -> int:
        """Return how many bytes wait in the server for this client to read, 0 if unknown."""
        return 0 if self.wire is None else wire.unsent_bytes(self.wire)
