"""The second client: the sans-I/O core of ``websockets``, for what picows does not support.

It drives the same ``Connection`` as the first, through a transport and frames that have what the
connection uses of picows's, so that every scenario works on either.
"""

import asyncio
import ssl
from collections.abc import Callable
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final, cast
from urllib.parse import urlsplit

from picows import WSCloseCode, WSMsgType
from websockets.client import ClientProtocol
from websockets.exceptions import (
    InvalidHandshake,
    InvalidHeader,
    InvalidMessage,
    InvalidStatus,
)
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.frames import Close, Frame, Opcode
from websockets.http11 import Response
from websockets.protocol import State
from websockets.uri import parse_uri

from loadtests.clients.connection import Connection
from loadtests.clients.request import Request
from loadtests.errors import HandshakeError

_KINDS: Final = {
    Opcode.CONT: WSMsgType.CONTINUATION,
    Opcode.TEXT: WSMsgType.TEXT,
    Opcode.BINARY: WSMsgType.BINARY,
    Opcode.PING: WSMsgType.PING,
    Opcode.PONG: WSMsgType.PONG,
    Opcode.CLOSE: WSMsgType.CLOSE,
}


@dataclass(slots=True)
class _Frame:
    """A frame as the connection reads it."""

    msg_type: WSMsgType
    fin: bool
    payload: bytes
    # The core has checked them, and removed what an extension added.
    rsv1 = rsv2 = rsv3 = False

    def get_payload_as_bytes(self) -> bytes:
        return self.payload

    def get_close_code(self) -> int:
        return Close.parse(self.payload).code if self.payload else WSCloseCode.OK.value

    def get_close_message(self) -> bytes:
        return self.payload[2:]


class Transport:
    """The parts of picows's transport used by connections and scenarios, on the sans-I/O core.

    Attributes:
        response: the server's answer to the handshake, once it has arrived.
    """

    response: Response

    def __init__(self, core: ClientProtocol, underlying: asyncio.Transport) -> None:
        self.underlying_transport = underlying
        self.is_disconnected = False
        self._core = core

    @property
    def is_close_frame_sent(self) -> bool:
        """Whether this side has begun the closing handshake; the core answers the peer's itself."""
        return self._core.close_sent is not None

    @property
    def close_handshake(self) -> SimpleNamespace:
        """The close frames seen so far."""
        return SimpleNamespace(
            recv=self._core.close_rcvd,
            sent=self._core.close_sent,
            recv_then_sent=bool(self._core.close_rcvd_then_sent),
        )

    def send(self, kind: WSMsgType, payload: bytes) -> None:
        """Send one message; do nothing on a connection that is closing."""
        if self._core.state is not State.OPEN:
            return
        if kind is WSMsgType.TEXT:
            self._core.send_text(payload)
        else:
            self._core.send_binary(payload)
        self.flush()

    def send_ping(self, payload: bytes = b"") -> None:
        """Send a ping."""
        if self._core.state is State.OPEN:
            self._core.send_ping(payload)
            self.flush()

    def send_pong(self, payload: bytes = b"") -> None:
        """Do nothing: the core has answered already."""

    def send_close(self, code: Any = WSCloseCode.OK, reason: bytes | None = None) -> None:  # noqa: ANN401
        """Begin the closing handshake."""
        if self._core.state is State.OPEN:
            number = code.value if isinstance(code, WSCloseCode) else code
            self._core.send_close(number, (reason or b"").decode())
            self.flush()

    def disconnect(self, *, graceful: bool = True) -> None:
        """End the TCP connection, with or without sending what is still to be sent."""
        if graceful:
            self.underlying_transport.close()
        else:
            self.underlying_transport.abort()

    def flush(self) -> None:
        """Write what the core has to send; an empty piece marks its end."""
        for piece in self._core.data_to_send():
            if piece:
                self.underlying_transport.write(piece)
            elif self.underlying_transport.can_write_eof():
                self.underlying_transport.write_eof()


class _Protocol(asyncio.Protocol):
    """One connection's bytes, into the core and out of it."""

    def __init__(self, request: Request, make_connection: Callable[[], Connection]) -> None:
        self._request = request
        self._make = make_connection
        self._connection: Connection | None = None
        self._core = ClientProtocol(
            parse_uri(request.url),
            extensions=[ClientPerMessageDeflateFactory()] if request.deflate else None,
            subprotocols=cast("Any", list(request.subprotocols) or None),
            max_size=request.max_message_bytes,
        )
        self._transport: Transport | None = None
        self.answered: asyncio.Future[Connection | None]
        self.answered = asyncio.get_running_loop().create_future()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._request.secured()
        self._transport = Transport(self._core, cast("asyncio.Transport", transport))
        asked = self._core.connect()
        for name, value in self._request.headers:
            asked.headers[name] = value
        self._core.send_request(asked)
        self._transport.flush()

    def time_out(self) -> None:
        """Stop waiting for the answer if it has not arrived."""
        if not self.answered.done():
            self.answered.set_exception(TimeoutError())

    def data_received(self, data: bytes) -> None:
        self._core.receive_data(data)
        self._take_events()

    def eof_received(self) -> None:
        self._core.receive_eof()
        self._take_events()

    def connection_lost(self, error: Exception | None) -> None:
        transport = self._transport
        assert transport is not None
        transport.is_disconnected = True
        if self._connection is not None:
            self._connection.on_ws_disconnected(cast("Any", transport))
        elif not self.answered.done():
            if error is None:
                self.answered.set_result(None)
            else:
                self.answered.set_exception(error)

    def _take_events(self) -> None:
        transport = cast("Any", self._transport)
        # The core answers pings and closes by itself; the answer goes out before the scenario acts.
        transport.flush()
        for event in self._core.events_received():
            if isinstance(event, Response):
                transport.response = event
                self._on_response(transport)
            elif isinstance(event, Frame) and self._connection is not None:
                frame = _Frame(_KINDS[event.opcode], event.fin, bytes(event.data))
                self._connection.on_ws_frame(transport, cast("Any", frame))
        if self._core.handshake_exc is not None and not self.answered.done():
            self.answered.set_exception(HandshakeError(handshake_cause(self._core.handshake_exc)))
            transport.disconnect(graceful=False)
        elif self._core.close_expected() and not self._core.close_rcvd:
            # The core has failed the connection because of a fault of the peer.
            transport.disconnect()

    def _on_response(self, transport: Any) -> None:  # noqa: ANN401 - stands for picows's
        if self._core.handshake_exc is None and not self.answered.done():
            self._connection = self._make()
            self._connection.on_ws_connected(transport)
            self.answered.set_result(self._connection)


async def open_connection(
    request: Request, make_connection: Callable[[], Connection]
) -> Connection | None:
    """Open a connection; None if the peer hung up before it answered.

    Raises:
        OSError, HandshakeError: it did not open.
    """
    loop = asyncio.get_running_loop()
    connected = await request.connect()
    host = urlsplit(request.url).hostname if request.tls is not None else None
    try:
        async with asyncio.timeout(request.timeout_seconds):
            transport, protocol = await loop.create_connection(
                lambda: _Protocol(request, make_connection),
                sock=connected,
                ssl=request.tls,
                server_hostname=host,
            )
    except ssl.SSLError:
        connected.close()
        raise
    except BaseException:
        connected.close()
        raise
    # A timeout around the wait could still end it after the answer was taken: the connection would
    # count both as opened and as failed.
    timer = loop.call_later(request.timeout_seconds, protocol.time_out)
    try:
        return await protocol.answered
    except BaseException:
        transport.abort()
        raise
    finally:
        timer.cancel()


def handshake_cause(error: Exception) -> str:
    """Name what was wrong with the server's answer (RFC 6455 section 4.1)."""
    if isinstance(error, InvalidStatus):
        return f"http-{error.response.status_code}"
    if isinstance(error, InvalidHeader):
        return f"bad-{error.name.lower()}"
    if isinstance(error.__cause__, EOFError):
        return "closed"
    if isinstance(error, InvalidMessage) or not isinstance(error, InvalidHandshake):
        return "not-http"
    return type(error).__name__
