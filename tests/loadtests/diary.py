"""A scenario that writes down what happens to it, and the bytes of a server's handshake."""

from websockets.utils import accept_key

from loadtests.clients.connection import Connection
from loadtests.measure.recorder import Recorder
from loadtests.plan.plan import ProcessPlan
from loadtests.scenarios.hold import Hold
from loadtests.scenarios.parameters import Parameters


class Diary(Hold):
    """Writes down what happens, and each message."""

    def __init__(self, share: ProcessPlan, parameters: Parameters, recorder: Recorder) -> None:
        super().__init__(share, parameters, recorder)
        self.entries: list[str] = []

    def opened(self, connection: Connection) -> None:
        """Write it down."""
        self.entries.append("opened")

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Write down the message."""
        self.entries.append(payload.decode())

    def closed(self, connection: Connection) -> None:
        """Write it down."""
        self.entries.append("closed")


def accepted(request: bytes) -> bytes:
    """Return the answer that completes a handshake (RFC 6455 section 4.2.2)."""
    key = request.partition(b"Sec-WebSocket-Key: ")[2].partition(b"\r")[0].decode()
    head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    return f"{head}Sec-WebSocket-Accept: {accept_key(key)}\r\n\r\n".encode()
