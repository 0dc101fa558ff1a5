"""The floor for a broadcast: a plain loop of ``socket.send`` of the same bytes to every socket.

Run it as ``python -m benchmarks.cost.send_loop PORT``. It answers handshakes, sends a message on
``/echo`` back to its sender and any other to all clients not on ``/echo``, and nothing more.
"""

import socket
import sys

from websockets.frames import Frame

from benchmarks.cost.bare_server import BareServer, allow_all_files


class SendLoop(BareServer):
    """A server that knows which clients receive broadcasts."""

    def __init__(self, port: int) -> None:
        super().__init__(port)
        self._audience: set[socket.socket] = set()

    def opened(self, client: socket.socket, path: str) -> None:
        """Add a client to the audience, unless it only wants an echo."""
        if path != "/echo":
            self._audience.add(client)

    def received(self, client: socket.socket, message: Frame) -> None:
        """Send a message to the whole audience, or back to its sender."""
        frame = Frame(message.opcode, message.data).serialize(mask=False)
        if client in self._audience:
            for receiver in self._audience:
                receiver.send(frame)
        else:
            client.send(frame)

    def closed(self, client: socket.socket) -> None:
        """Remove a client from the audience."""
        self._audience.discard(client)


if __name__ == "__main__":
    allow_all_files()
    SendLoop(int(sys.argv[1])).run()
