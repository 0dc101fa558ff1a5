"""The floor of a broadcast: a plain loop of ``socket.send`` of the same bytes to every socket.

Run it as ``python -m benchmarks.send_loop PORT``. It answers handshakes and broadcasts what it is
sent, and does nothing else a server has to: no asyncio, no queue, no check of anything. What any
server pays beyond it is its own.
"""

import resource
import selectors
import socket
import sys
from typing import Final

from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader
from websockets.utils import accept_key

_BACKLOG: Final = 4096
_UPGRADE: Final = (
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Accept: {}\r\n\r\n"
)


class SendLoop:
    """Sockets, and what was read of each before it was a WebSocket."""

    def __init__(self, port: int) -> None:
        self._listener = socket.create_server(("127.0.0.1", port), backlog=_BACKLOG)
        self._listener.setblocking(False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._requests: dict[socket.socket, bytes] = {}
        self._audience: set[socket.socket] = set()

    def run(self) -> None:
        """Serve until killed."""
        while True:
            for key, _ in self._selector.select():
                ready = key.fileobj
                assert isinstance(ready, socket.socket)
                if ready is self._listener:
                    self._accept()
                elif ready in self._audience:
                    self._take(ready)
                else:
                    self._shake_hands(ready)

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
        data = client.recv(4096)
        request = self._requests.pop(client) + data
        if not data:
            self._forget(client)
        elif not request.endswith(b"\r\n\r\n"):
            self._requests[client] = request
        else:
            lines = (line.partition(":") for line in request.decode("latin-1").splitlines())
            headers = {name.lower(): value.strip() for name, _, value in lines}
            client.send(_UPGRADE.format(accept_key(headers["sec-websocket-key"])).encode())
            self._audience.add(client)

    def _take(self, client: socket.socket) -> None:
        try:
            data = client.recv(65536)
        except OSError:
            data = b""
        if not data:
            self._forget(client)
            return
        message = _parse(data)
        if message.opcode in (Opcode.TEXT, Opcode.BINARY):
            frame = Frame(message.opcode, message.data).serialize(mask=False)
            for receiver in self._audience:
                receiver.send(frame)
        elif message.opcode is Opcode.CLOSE:
            client.send(Frame(Opcode.CLOSE, message.data).serialize(mask=False))
            self._forget(client)

    def _forget(self, client: socket.socket) -> None:
        self._audience.discard(client)
        self._selector.unregister(client)
        client.close()


def _parse(data: bytes) -> Frame:
    """Read one frame that came whole, which small ones on loopback do."""
    reader = StreamReader()
    reader.feed_data(data)
    try:
        next(Frame.parse(reader.read_exact, mask=True))
    except StopIteration as parsed:
        frame: Frame = parsed.value
        return frame
    raise ValueError("a frame came in pieces")


if __name__ == "__main__":
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    SendLoop(int(sys.argv[1])).run()
