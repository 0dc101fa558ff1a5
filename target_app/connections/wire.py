"""What ASGI does not offer, taken from uvicorn's own connection where there is one.

ASGI has no prepared frame, no ping, no size of the write buffer and no way to cut a connection.
uvicorn's ``send`` is a method of the protocol object that owns the transport, so these can be
reached below every middleware. :func:`wire_of` returns None under any other server, or when the
protocol no longer looks as it did in uvicorn 0.54; the server then sends through ASGI alone, and
pings are left to the underlying server.

Together with :mod:`target_app.connections.bounded`, this is all that knows uvicorn's internals.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Final, Protocol
from uuid import UUID

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Frame, Opcode
from websockets.protocol import Protocol as FrameProtocol

from target_app.connections.backlog import Backlog, is_between_frames
from target_app.connections.bounded import BoundedWebSocket, Watcher
from target_app.connections.waiting import NOTHING, Gate, Inbox

if TYPE_CHECKING:
    from websockets.server import ServerProtocol

NO_ID: Final = UUID(int=0)
NEEDED: Final = (
    *("transport", "writable", "disconnected", "close_sent", "pending_ping_payload"),
    *("ping_sent_at", "stop_keepalive", "request", "response", "scope", "conn", "queue"),
    *("read_paused", "server"),
)


class Limits(Protocol):
    """The part of the ``websockets`` protocol object that is used here."""

    max_message_size: int | None


class Wire(Protocol):
    """The part of uvicorn's ``WebSocketsSansIOProtocol`` that is used here."""

    transport: asyncio.Transport
    writable: asyncio.Event | Gate
    queue: asyncio.Queue[object] | Inbox[object]
    disconnected: bool
    close_sent: bool
    read_paused: bool
    pending_ping_payload: bytes | None
    ping_sent_at: float
    request: object
    response: object
    server: object
    scope: dict[str, object]
    conn: Limits

    def stop_keepalive(self) -> None:
        """Send no more pings."""


def wire_of(send: object) -> Wire | None:
    """Return the wire behind the ASGI ``send`` of an accepted connection, None if unknown."""
    owner = getattr(send, "__self__", None)
    return owner if all(hasattr(owner, name) for name in NEEDED) else None


def is_closing(send: object) -> bool:
    """Return whether the uvicorn protocol behind ``send`` has ended or is closing.

    False for anything else. ``websockets-sansio`` and ``wsproto`` show it by two flags, the
    older ``websockets`` by an event.
    """
    owner = getattr(send, "__self__", None)
    closed = getattr(owner, "closed_event", None)
    transport = getattr(owner, "transport", None)
    return (
        getattr(owner, "disconnected", False)
        or getattr(owner, "close_sent", False)
        or (closed is not None and closed.is_set())
        or (transport is not None and transport.is_closing())
    )


def take_over(
    wire: Wire, *, max_message_bytes: int, kept_bytes: int | None, own_pings: bool
) -> None:
    """Release the handshake, limit the size of a message, and stop uvicorn's own pings.

    - Request and response are 4 KiB of headers per connection, of no use once it is accepted, and
      each connection has its own copy of the server's address.
    - A message larger than ``max_message_bytes`` is answered with 1009 (RFC 6455 §7.4.1) before it
      is fully read; of one larger than ``kept_bytes`` only the size is kept.
    - uvicorn's pings have two timers for each connection, drift by the round trip, and leave a
      client that never reads connected; :mod:`target_app.lifecycle.keepalive` sends them instead.
    - Pongs wait for room like everything else, and fragments are put together
      (:class:`target_app.connections.bounded.BoundedWebSocket`).
    """
    owner: object = wire
    if type(owner) is WebSocketsSansIOProtocol:
        owner.__class__ = BoundedWebSocket  # costs an open connection nothing
    if isinstance(owner, BoundedWebSocket) and kept_bytes is not None:
        owner.kept_bytes = kept_bytes
    if (headers := getattr(wire.request, "headers", None)) is not None:
        headers.clear()
    wire.request = wire.response = wire.server = None
    wire.conn.max_message_size = max_message_bytes
    if own_pings:
        wire.stop_keepalive()


def watch(wire: Wire | None, watcher: Watcher | None) -> None:
    """Notify ``watcher`` once the connection is gone; None stops that.

    Otherwise only the code that receives learns of it. Under another protocol nothing does.
    """
    owner: object = wire
    if isinstance(owner, BoundedWebSocket) and owner.watcher is not watcher:
        owner.watcher = watcher


def shrink(wire: Wire) -> None:
    """Save 5 kB per connection: on what it waits with, its attributes, and its parser.

    Only for one whose handshake is over, and which nobody receives from or sends to yet.
    """
    owner: object = wire
    inbox: Inbox[object] = Inbox(owner if isinstance(owner, BoundedWebSocket) else NOTHING)
    if isinstance(owner, BoundedWebSocket):
        # uvloop has kept the method of the object's former class.
        wire.transport.set_protocol(owner)
        if is_between_frames(owner.conn.parser):
            _parse_frames_alone(owner.conn)
        else:
            # The client did not wait for the answer to its handshake.
            largest = owner.conn.max_message_size
            owner.backlog = Backlog(is_between_frames=False, largest=largest)
    while isinstance(wire.queue, asyncio.Queue) and not wire.queue.empty():
        inbox.put_nowait(wire.queue.get_nowait())
    wire.queue = inbox
    wire.writable = Gate(is_set=wire.writable.is_set())
    # Python made room for twice as many attributes as there are in the end; a copy fits them.
    wire.__dict__ = dict(wire.__dict__)


def _parse_frames_alone(conn: ServerProtocol) -> None:
    # The parser that has read the handshake keeps the request, and wraps the one for frames.
    conn.parser.close()
    conn.parser = FrameProtocol.parse(conn)
    next(conn.parser)
    # Each has its own UUID, which nothing reads after the handshake.
    conn.id = NO_ID


def calls_directly(send: object, app: object) -> bool:
    """Return whether uvicorn calls ``app`` with nothing but its own middleware in between.

    Anything else in between may look at the scope again once ``app`` has returned.
    """
    called = getattr(getattr(send, "__self__", None), "app", None)
    while type(called).__module__.startswith("uvicorn."):
        called = getattr(called, "app", None)
    return called is app


def write(wire: Wire, frame: bytes) -> bool:
    """Write ``frame`` if that does not have to wait; return whether it was written.

    Raise :class:`ConnectionResetError` once the connection has ended or is closing.
    """
    transport = wire.transport
    if wire.disconnected or wire.close_sent or transport.is_closing():
        raise ConnectionResetError
    if not wire.writable.is_set():
        return False
    transport.write(frame)
    return True


def ping_frame(payload: bytes) -> bytes:
    """Return a ping (RFC 6455 §5.5.2) that carries ``payload``, of at most 125 bytes."""
    return Frame(Opcode.PING, payload).serialize(mask=False)


def ping(wire: Wire, payload: bytes, frame: bytes, now: float) -> None:
    """Send ``frame``, the ping that carries ``payload``; uvicorn notes its pong.

    ``now`` is the event loop's time in seconds. A ping is written even when the buffer is full: it
    is a few bytes, and a client that still reads answers it when it gets there.
    """
    wire.pending_ping_payload = payload
    wire.ping_sent_at = now
    if not (wire.close_sent or wire.transport.is_closing()):
        wire.transport.write(frame)


def unanswered_since(wire: Wire) -> float | None:
    """Return when the ping that is still unanswered was sent, in the loop's seconds."""
    return None if wire.pending_ping_payload is None else wire.ping_sent_at


def ping_unasked(wire: Wire, frame: bytes) -> None:
    """Send the ping ``frame`` without expecting a pong: if the client has gone, a write fails."""
    forget_ping(wire)
    if not (wire.disconnected or wire.close_sent or wire.transport.is_closing()):
        wire.transport.write(frame)


def forget_ping(wire: Wire) -> None:
    """Stop waiting for the pong to the ping that is still unanswered."""
    wire.pending_ping_payload = None


def is_held_up(wire: Wire, since: float) -> bool:
    """Return whether a pong may have arrived unread, because the application is slow.

    Not if the client has left no room in the write buffer ever since ``since``, in the loop's
    seconds: it is then the client that does not read.
    """
    if not wire.read_paused:
        return False
    owner: object = wire
    full_since = owner.full_since if isinstance(owner, BoundedWebSocket) else 0.0
    return wire.writable.is_set() or full_since > since


def unsent_bytes(wire: Wire) -> int:
    """Return how many bytes wait in the server for the client to read."""
    return wire.transport.get_write_buffer_size()


def abort(wire: Wire) -> None:
    """Cut the connection now, whatever still waits to be sent."""
    wire.transport.abort()
