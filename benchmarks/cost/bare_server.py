"""A WebSocket server of sockets and a selector, and nothing else that a server has to have.

No asyncio, no queue, no checks: whatever a server costs beyond one of these is its own cost. A
subclass decides what is done with the connections (:mod:`benchmarks.cost.send_loop`,
:mod:`benchmarks.cost.frame_loop`).
"""

import resource
import selectors
import socket
import sys
from collections.abc import Iterator
from typing import Final

from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader
from websockets.utils import accept_key

_BACKLOG: Final = 4096
_UPGRADE: Final = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {}\r\n\r\n"
)


class BareServer:
    """Sockets, and what was read from each before it became a WebSocket."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._requests: dict[socket.socket, bytes] = {}

    def run(self) -> None:
        """Serve until killed."""
        bound = self._listener.getsockname()[1]
        print(f"listening on ws://127.0.0.1:{bound}", file=sys.stderr, flush=True)
        while True:
            for key, _ in self._selector.select(self.turn()):
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                if ready is self._listener:
                    self._accept()
                elif ready in self._requests:
                    self._shake_hands(ready)
                else:
                    self._take(ready)

    def turn(self) -> float | None:
        """Do what is due; return the seconds until the next is due, or None if nothing ever is."""
        return None

    def opened(self, client: socket.socket, path: str) -> None:
        """Take a connection whose handshake, for ``path``, was answered."""

    def received(self, client: socket.socket, message: Frame) -> None:
        """Take a text or binary message."""

    def closed(self, client: socket.socket) -> None:
        """Drop a connection that was opened."""

    def _accept(self) -> None:
        try:
            while True:
                client, _ = self._listener.accept()
                client.setblocking(False)
                self._requests[client] = b""
                self._selector.register(client, selectors.EVENT_READ)
        except BlockingIOError:
            return

    def _shake_hands(self, client: socket.socket) -> None:
        data = _read(client)
        request = self._requests.pop(client) + data
        if not data:
            self._close(client)
        elif not request.endswith(b"\r\n\r\n"):
            self._requests[client] = request
        else:
            first, *rest = request.decode("latin-1").splitlines()
            lines = (line.partition(":") for line in rest)
            headers = {name.lower(): value.strip() for name, _, value in lines}
            client.send(_UPGRADE.format(accept_key(headers["sec-websocket-key"])).encode())
            self.opened(client, first.split()[1])

    def _take(self, client: socket.socket) -> None:
        data = _read(client)
        if not data:
            self.closed(client)
            self._close(client)
            return
        for message in _frames(data):
            if message.opcode in (Opcode.TEXT, Opcode.BINARY):
                self.received(client, message)
            elif message.opcode is Opcode.CLOSE:
                client.send(Frame(Opcode.CLOSE, message.data).serialize(mask=False))
                self.closed(client)
                self._close(client)
                return

    def _close(self, client: socket.socket) -> None:
        self._selector.unregister(client)
        client.close()


def _read(client: socket.socket) -> bytes:
    """Read the available data; return nothing if the connection has ended."""
    try:
        return client.recv(65536)
    except OSError:
        return b""


def _frames(data: bytes) -> Iterator[Frame]:
    """Yield the frames of ``data``, each of which arrived whole, as small ones on loopback do."""
    reader = StreamReader()
    reader.feed_data(data)
    while reader.buffer:
        try:
            next(Frame.parse(reader.read_exact, mask=True))
        except StopIteration as parsed:
            frame: Frame = parsed.value
            yield frame
        else:
            raise ValueError("a frame came in pieces")


def allow_all_files() -> None:
    """Let this process open as many sockets as the system permits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
