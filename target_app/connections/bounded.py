"""uvicorn's protocols, with bounds on what they take in before a request or message is complete.

uvicorn keeps headers of any size, waits forever for the rest of a request, and for a client to read
its response; it parses all requests that arrive in one read of the socket, 8,000 of them, before
the first is answered; and it keeps every fragment of a message separately, empty ones without end.
This relies on the internals of uvicorn 0.54, like :mod:`target_app.connections.wire`.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import Opcode

from target_app.connections.backlog import Backlog
from target_app.connections.reading import HeldFlow, Unread
from target_app.connections.waiting import Inbox
from target_app.logs import address_of, described, one_line
from target_app.message import NOT_KEPT

if TYPE_CHECKING:
    from uvicorn.config import Config
    from uvicorn.server import ServerState
    from websockets.frames import Frame

HEAD_BYTES: Final = 2**16
"""Limit for a request line and headers, or for trailers: what h11 allows as well."""

PIECE_BYTES: Final = 1024
"""Bytes of HTTP that are parsed before checking whether to go on.

Most requests and handshakes fit in whole; at most 57 requests do, which take a millisecond and
300 kB.
"""

PARTS_AT_ONCE: Final = 256
"""Parts of a body that are parsed before others get their turn.

They take a millisecond if they are chunks of a byte; one read of the socket, at most 256 kB, has no
more pieces than that.
"""

FRAMES_AT_ONCE: Final = 4
"""Frames that are parsed in a row before others get their turn: about 50 µs."""

UNTAKEN: Final = 64
"""Messages not yet received by an endpoint, after which nothing more from its client is parsed."""

PONG: Final = bytes([0x80 | Opcode.PONG])
"""How every pong begins: it is never fragmented (RFC 6455 §5.5)."""


class BoundedHttp(HttpToolsProtocol):
    """An HTTP protocol that cuts slow clients, and parses no more than is going to be answered.

    The first request, or handshake, has to be complete within ``seconds`` of the connection, a
    later one within ``seconds`` of its first byte, however small the pieces in which it arrives;
    each part of a body that arrives restarts the time. There is one timer, and it is gone once a
    connection has become a WebSocket. A client for which something waits has to read some of it
    within ``seconds``. With 0 seconds there is no limit on either.

    What is read is parsed in pieces. While a request waits for the one before it to be answered,
    nothing more is parsed or read, so a client may send as many as it likes before it reads.
    """

    flow: HeldFlow
    _unread: Unread

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
        self._unparsed = memoryview(b"")
        self._parts = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Wait for a request, but not forever."""
        super().connection_made(transport)
        self.flow = HeldFlow(transport)
        self._unread = Unread(transport, self._seconds)
        self._wait()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop waiting, and release what refers to this."""
        self._wait_no_more()
        self._unread.forget()
        super().connection_lost(exc)
        self._unparsed = memoryview(b"")
        self.pipeline.clear()
        self.cycle = None  # type: ignore[assignment]

    def data_received(self, data: bytes) -> None:
        """Parse what may be parsed of ``data``, and read no more until the rest is parsed."""
        self._unparsed = memoryview(bytes(self._unparsed) + data if self._unparsed else data)
        self._parse_some()

    def _parse_some(self) -> None:
        self._parts = 0
        while self._may_parse() and self._parts < PARTS_AT_ONCE:
            piece, self._unparsed = self._unparsed[:PIECE_BYTES], self._unparsed[PIECE_BYTES:]
            self._parse(piece)
        if self.transport.is_closing():
            self._unparsed = memoryview(b"")
        elif not self._unparsed:
            self.flow.release()
        else:
            self.flow.hold()
            if self._may_parse():
                self.loop.call_soon(self._parse_some)

    def _may_parse(self) -> bool:
        return bool(self._unparsed) and not (self.pipeline or self.transport.is_closing())

    def _parse(self, piece: memoryview) -> None:
        self._head_bytes += len(piece)
        super().data_received(piece)  # type: ignore[arg-type]
        if self._head_bytes > HEAD_BYTES and not self.transport.is_closing():
            self.send_400_response(f"More than {HEAD_BYTES} bytes of headers.")

    def on_message_begin(self) -> None:
        """Wait for the rest; for the first request the timer is already running."""
        super().on_message_begin()
        if self._deadline is None:
            self._wait()

    def on_body(self, body: bytes) -> None:
        """Wait for the next part of the body, which is the application's to bound."""
        self._parts += 1
        self._wait_no_more()
        super().on_body(body)
        self._wait()

    def on_message_complete(self) -> None:
        """Stop waiting: it is our turn."""
        self._wait_no_more()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Continue with the next request."""
        super().on_response_complete()
        if self.transport.is_closing():
            self._unread.watch(self.loop)
        else:
            self._parse_some()

    def handle_websocket_upgrade(self) -> None:
        """Stop waiting: the rest is WebSocket, unless another response has to come before it."""
        self._wait_no_more()
        if self.cycle is not None and not self.cycle.response_complete:
            self.send_400_response("A handshake has to wait for the response to what came before.")
            return
        self._unread.forget()
        super().handle_websocket_upgrade()
        # What arrived with it is dropped, as uvicorn does.
        self._unparsed = memoryview(b"")
        # It refers to this, and would keep it alive until the garbage collector runs.
        self.parser = None  # type: ignore[assignment]

    def pause_writing(self) -> None:
        """Wait for the client to read, but not forever."""
        super().pause_writing()
        self._unread.watch(self.loop)

    def resume_writing(self) -> None:
        """Stop waiting: the client has read."""
        super().resume_writing()
        self._unread.forget()
        if self.transport.is_closing():
            self._unread.watch(self.loop)

    def send_400_response(self, msg: str) -> None:
        """Answer, and close once the client has read that; but do not wait forever."""
        super().send_400_response(msg)
        self._unread.watch(self.loop)

    def timeout_keep_alive_handler(self) -> None:
        """Close once the client has read its responses; but do not wait forever."""
        super().timeout_keep_alive_handler()
        self._unread.watch(self.loop)

    def _wait(self) -> None:
        if self._seconds:
            self._deadline = self.loop.call_later(self._seconds, self._cut)

    def _wait_no_more(self) -> None:
        self._head_bytes = 0
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _cut(self) -> None:
        self._deadline = None
        if self.flow.read_paused or self.flow.is_held:
            # What has arrived has not been read, or not been parsed: it is not the client that is
            # slow.
            self._wait()
        else:
            self.transport.abort()


class Watcher(Protocol):
    """A listener for the loss of a connection."""

    def lost(self, code: int) -> None:
        """Note that the transport is gone; ``code`` is from the side that closed first, or 1005."""
        ...


class BoundedWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket protocol that bounds pongs, fragments, and the frames parsed in a row.

    uvicorn answers each ping at once, so a client that sends pings and never reads makes the write
    buffer grow with everything it sends. Here, while the buffer is full, no ping is answered and no
    other is read, and when there is room again only the last one is answered (RFC 6455 §5.5.3). A
    client that sends no pings is read from whether it reads or not.

    The fragments of a message are put together as they arrive, and nothing is kept of a message of
    more than ``kept_bytes``: only its size is passed on.

    The frames that one read of the socket brings are parsed a few at a time, if the application
    takes them from an :class:`target_app.connections.waiting.Inbox`: the next ones when it has
    taken those, or has let others have their turn.
    """

    unsent_pong = b""
    backlog: Backlog | None = None
    watcher: Watcher | None = None
    kept_bytes: int | None = None
    _not_kept = 0
    full_since = 0.0
    """When the client last let the write buffer fill up, in the loop's seconds."""

    def data_received(self, data: bytes) -> None:
        """Parse the first few frames of ``data``, and read no more until the rest is parsed."""
        if not isinstance(self.queue, Inbox):
            super().data_received(data)
            if not self.handshake_initiated:
                self._refuse()
            return
        if self.backlog is None:
            largest = self.conn.max_message_size
            self.backlog = Backlog(is_between_frames=True, largest=largest)
        self.backlog.add(data)
        self.put_some()
        if self.has_more:
            if not self.transport.is_closing():
                self.read_paused = True
                self.transport.pause_reading()
            self.queue.look()
            if self.watcher is not None:
                self.loop.call_soon(self._go_on)

    def _go_on(self) -> None:
        # A ping or a close after a few messages is noticed even if the endpoint does not receive.
        inbox: object = self.queue
        if self.has_more and isinstance(inbox, Inbox) and inbox.qsize() < UNTAKEN:
            self.put_some()
            self.loop.call_soon(self._go_on)

    @property
    def has_more(self) -> bool:
        """See :class:`target_app.connections.waiting.Source`."""
        return bool(self.backlog)

    def put_some(self) -> None:
        """See :class:`target_app.connections.waiting.Source`."""
        assert self.backlog is not None
        try:
            super().data_received(self.backlog.take(FRAMES_AT_ONCE))
        except RuntimeError:
            # uvloop does not allow answering the close frame of a client that is gone.
            if not self.disconnected:
                raise
        self.backlog.look_at(self.conn.parser)
        if self.backlog.is_done or self.conn.eof_sent:  # after its end nothing more is parsed
            self.backlog = None
        if self.read_paused and self.queue.empty() and not self.transport.is_closing():
            # With no message to take, nobody would notice that everything was taken.
            self.read_paused = False
            if not self.unsent_pong:
                self.transport.resume_reading()
        if self.disconnected and not self.has_more:
            self._let_go()

    def _refuse(self) -> None:
        # websockets does not accept the handshake: it has more than 128 headers, a line of more
        # than 8 KiB, or a body. uvicorn would leave it open and unanswered, and fail when it stops.
        cause = self.conn.handshake_exc and self.conn.handshake_exc.__cause__
        answer = b"".join(self.conn.data_to_send())
        if not answer:
            answer = self.conn.reject(HTTPStatus.BAD_REQUEST, f"{cause}\n").serialize()
        status = answer.split(maxsplit=2)[1].decode()
        if self.logger.isEnabledFor(logging.INFO):
            why = one_line(described(cause)) if cause else "it has a body"
            who = address_of(self.client)
            self.logger.info("a handshake from %s is refused with %s: %s", who, status, why)
        self.transport.write(answer)
        self.close_sent = True
        self.transport.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end, which comes after everything the client sent."""
        inbox: object = self.queue
        if not isinstance(inbox, Inbox) or not self.has_more:
            super().connection_lost(exc)
            self._let_go()
        else:
            self.queue = asyncio.Queue()
            super().connection_lost(exc)
            inbox.end_with(self.queue.get_nowait())
            self.queue = cast("asyncio.Queue[Any]", inbox)
        if (watcher := self.watcher) is not None:
            self.watcher = None
            watcher.lost(self._close_code())

    def _close_code(self) -> int:
        sent, received = self.conn.close_sent, self.conn.close_rcvd
        first = received if sent is None or self.conn.close_rcvd_then_sent else sent
        return 1005 if first is None else int(first.code)

    def _let_go(self) -> None:
        # What refers to itself, and would stay until the garbage collector runs.
        inbox: object = self.queue
        if isinstance(inbox, Inbox):
            inbox.has_no_source()
        self.conn.parser.close()

    def handle_cont(self, event: Frame) -> None:
        """Add one more fragment (RFC 6455 §5.4).

        uvicorn joins all of them when the last one has arrived, which touches as much new memory as
        the message is long. Here the message grows with each of them.
        """
        first: bytes | bytearray = self.frames[0]
        size = (self._not_kept or len(first)) + len(event.data)
        if self.kept_bytes is not None and size > self.kept_bytes:
            self._not_kept = size
            self.frames[0] = b""
        else:
            self._put_together(first, event)
        if event.fin:
            self.send_receive_event_to_app()

    def _put_together(self, first: bytes | bytearray, event: Frame) -> None:
        whole = first if isinstance(first, bytearray) else bytearray(first)
        whole += event.data
        # Text is decoded from it; binary data is passed to the application, as bytes.
        is_binary = event.fin and self.curr_msg_data_type == "bytes"
        self.frames[0] = cast("bytes", bytes(whole) if is_binary else whole)

    def send_receive_event_to_app(self) -> None:
        """Pass on a complete message, or the size of one that was not kept."""
        if not self._not_kept:
            super().send_receive_event_to_app()
            return
        size, self._not_kept, self.frames = self._not_kept, 0, []
        if self.close_sent:
            return
        message: Any = {"type": "websocket.receive", "text": "", NOT_KEPT: size}
        self.queue.put_nowait(message)
        if not self.read_paused:
            self.read_paused = True
            self.transport.pause_reading()

    def handle_ping(self) -> None:
        """Answer the pings just read, or keep the answer to the last of them."""
        if self.disconnected:
            return
        if self.writable.is_set():
            super().handle_ping()
            return
        # Each item is one frame: pongs, and at most one close frame from the same read. There is
        # none for the second ping of a read: the answers to all went out with the first one's.
        frames = self.conn.data_to_send()
        for frame in frames:
            if frame.startswith(PONG):
                self.unsent_pong = frame
            else:
                self.transport.write(frame)
        if self.unsent_pong and not self.transport.is_closing():
            self.transport.pause_reading()

    def pause_writing(self) -> None:
        """Wait: the write buffer is full."""
        super().pause_writing()
        self.full_since = self.loop.time()

    def resume_writing(self) -> None:
        """Continue: the write buffer has room again."""
        super().resume_writing()
        if self.unsent_pong and not self.transport.is_closing():
            if not self.close_sent:
                self.transport.write(self.unsent_pong)
            self.unsent_pong = b""
            # Unless the application has to take a message first.
            if not self.read_paused:
                self.transport.resume_reading()


def bounded_http(seconds: float) -> type[asyncio.Protocol]:
    """Return the value for ``uvicorn.Config(http=…)`` that limits requests to ``seconds``."""
    # uvicorn only calls it; a worker process gets it pickled.
    return cast("type[asyncio.Protocol]", functools.partial(BoundedHttp, seconds=seconds))
