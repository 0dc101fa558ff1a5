"""Open one connection under gevent: TCP, TLS, WebSocket handshake."""

import logging
import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

from gevent import Timeout
from websockets.client import ClientProtocol
from websockets.extensions.permessage_deflate import ClientPerMessageDeflateFactory
from websockets.http11 import Response
from websockets.protocol import State
from websockets.typing import Subprotocol
from websockets.uri import parse_uri

from loadtests.clients.websockets_client import handshake_cause
from loadtests.errors import HandshakeError
from loadtests.locust.gevent_connection import GeventConnection, Message
from loadtests.locust.gevent_wire import Wire, connect

_SILENT: Final = logging.getLogger("loadtests.silent")
_SILENT.disabled = True


@dataclass(frozen=True, slots=True)
class Opening:
    """The settings for opening a connection, once or again.

    Attributes:
        tls: for a ``wss:`` URL.
        timeout_seconds: for TCP, TLS and the WebSocket handshake together.
        linger_seconds: how long the server may take to end TCP after the closing handshake.
    """

    url: str
    headers: Sequence[tuple[str, str]]
    subprotocols: Sequence[str]
    tls: ssl.SSLContext | None
    deflate: bool
    largest_message_bytes: int
    timeout_seconds: float
    linger_seconds: float


class Opener:
    """The opening of one connection, which blocks the greenlet.

    Attributes:
        phase: the current phase, for naming a failure: ``connect``, ``tls``, ``upgrade``.
    """

    def __init__(self, opening: Opening) -> None:
        self.phase = "connect"
        self._opening = opening
        self._core = ClientProtocol(
            parse_uri(opening.url),
            extensions=[ClientPerMessageDeflateFactory()] if opening.deflate else None,
            subprotocols=[Subprotocol(name) for name in opening.subprotocols] or None,
            max_size=opening.largest_message_bytes,
            logger=_SILENT,
        )

    def open(
        self,
        on_message: Callable[[Message], None],
        on_end: Callable[[GeventConnection], None],
    ) -> GeventConnection:
        """Open the connection.

        Raises:
            OSError: TCP or TLS failed, or it took too long.
            HandshakeError: the server's answer was wrong.
        """
        opening, core = self._opening, self._core
        with Timeout(opening.timeout_seconds, TimeoutError()):
            wire = connect(core.uri.host, core.uri.port)
            try:
                if opening.tls is not None:
                    self.phase = "tls"
                    wire.secure(opening.tls, core.uri.host)
                self.phase = "upgrade"
                self._upgrade(wire)
            except BaseException:
                wire.socket.close()
                raise
        return GeventConnection(wire, core, on_message, on_end, opening.linger_seconds)

    def _upgrade(self, wire: Wire) -> None:
        core = self._core
        request = core.connect()
        for name, value in self._opening.headers:
            request.headers[name] = value
        core.send_request(request)
        wire.write(b"".join(core.data_to_send()))
        while core.state is State.CONNECTING and core.handshake_exc is None:
            data = wire.read()
            if data:
                core.receive_data(data)
            else:
                core.receive_eof()
        if core.handshake_exc is not None:
            raise HandshakeError(handshake_cause(core.handshake_exc))
        # The response is not kept; frames that came with it stay for the connection.
        core.events = [event for event in core.events if not isinstance(event, Response)]
