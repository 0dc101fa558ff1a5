"""One WebSocket connection on gevent's hub: the sans-I/O core of ``websockets`` and a raw socket.

It has no greenlet of its own. The hub calls it when the socket can be read, so that an idle
connection costs a socket, a watcher and the core, and a message costs no greenlet switch except the
one to the greenlet that waits for it.
"""

from collections.abc import Callable
from random import getrandbits
from struct import Struct
from typing import Any, Final

from gevent import get_hub
from gevent.event import Event
from websockets.client import ClientProtocol
from websockets.frames import CloseCode, Frame, Opcode
from websockets.protocol import State

from loadtests.locust.gevent_wire import READ_BYTES, READABLE, WRITABLE, Wire

try:
    from websockets.speedups import apply_mask
except ImportError:
    # If the library is installed without its C extension.
    from websockets.utils import apply_mask

Message = str | bytes

_SHORT: Final = Struct("!BB")
_MIDDLE: Final = Struct("!BBH")
_LONG: Final = Struct("!BBQ")
_NO_CODE: Final = CloseCode.ABNORMAL_CLOSURE.value


class GeventConnection:
    """An open connection.

    ``on_message`` and ``on_end`` are called in the hub, so they must not block. ``on_end`` is
    called once: the closing handshake is over, or the server has gone without one.

    Attributes:
        is_asked: whether this side began the closing handshake.
    """

    __slots__ = (
        "_core",
        "_drained",
        "_is_text",
        "_linger_seconds",
        "_on_end",
        "_on_message",
        "_parts",
        "_reading",
        "_socket",
        "_timer",
        "_tls",
        "_unsent",
        "_writing",
        "is_asked",
    )

    def __init__(
        self,
        wire: Wire,
        core: ClientProtocol,
        on_message: Callable[[Message], None],
        on_end: Callable[["GeventConnection"], None],
        linger_seconds: float,
    ) -> None:
        self.is_asked = False
        self._linger_seconds = linger_seconds
        self._core = core
        self._socket = wire.socket
        self._tls = wire.tls
        self._on_message: Callable[[Message], None] | None = on_message
        self._on_end: Callable[[GeventConnection], None] | None = on_end
        self._parts: list[bytes] | None = None
        self._is_text = False
        self._unsent: bytearray | None = None
        self._drained: Any = None
        self._writing: Any = None
        self._timer: Any = None
        loop = get_hub().loop
        self._reading: Any = loop.io(self._socket.fileno(), READABLE)
        self._reading.start(self._on_readable)
        if core.events or core.state is not State.OPEN:
            # The first messages can arrive in one piece with the handshake response.
            loop.run_callback(self._take_what_is_there)

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        return self._core.state is State.OPEN

    @property
    def is_answered(self) -> bool:
        """Whether the server has sent a close frame."""
        return self._core.close_rcvd is not None

    @property
    def subprotocol(self) -> str | None:
        """The subprotocol agreed on in the handshake."""
        return self._core.subprotocol

    @property
    def close_code(self) -> int:
        """The server's code, or ours if the server's frames were wrong; 1006 if there is none."""
        core = self._core
        if core.close_rcvd is not None:
            return int(core.close_rcvd.code)
        if core.close_sent is not None and not self.is_asked:
            return int(core.close_sent.code)
        return _NO_CODE

    @property
    def close_reason(self) -> str:
        """The server's reason, empty if there is none."""
        return "" if self._core.close_rcvd is None else self._core.close_rcvd.reason

    def send(self, message: Message, timeout_seconds: float) -> None:
        """Send one message, blocking the greenlet while the server does not accept data.

        Raises:
            TimeoutError: the server has not accepted it in time; it may still do so.
            ConnectionResetError: the connection ended first.
        """
        if isinstance(message, str):
            payload, opcode = message.encode(), Opcode.TEXT
        else:
            payload, opcode = message, Opcode.BINARY
        core = self._core
        if core.extensions:
            core.send_frame(Frame(opcode, payload))
            self._flush()
        else:
            frame = framed(opcode, payload)
            self._write(frame if self._tls is None else self._tls.encrypt(frame))
        if self._unsent:
            if not self._emptied().wait(timeout_seconds):
                raise TimeoutError
            if not self.is_open:
                raise ConnectionResetError

    def close(self, code: int, reason: str) -> None:
        """Begin the closing handshake; the hub ends it, on its own if the server does not."""
        if self._core.state is State.OPEN:
            self.is_asked = True
            self._core.send_close(code, reason)
            self._flush()

    def linger(self, seconds: float) -> None:
        """End the connection after ``seconds``, if it has not ended by then."""
        if self._timer is None and self._socket.fileno() >= 0:
            self._timer = get_hub().loop.timer(seconds)
            self._timer.start(self.release)

    def forget(self) -> None:
        """Stop calling the callbacks."""
        self._on_message = self._on_end = None

    def release(self) -> None:
        """Close the socket at once, and wake any waiter."""
        for watcher in (self._reading, self._writing, self._timer):
            if watcher is not None:
                watcher.stop()
                watcher.close()
        self._reading = self._writing = self._timer = self._parts = self._unsent = None
        self._socket.close()
        self._core.receive_eof()
        self._notify_end()

    def _take_what_is_there(self) -> None:
        if self._core.writes:
            self._flush()
        self._take_events()

    def _on_readable(self) -> None:
        try:
            data: bytes | None = self._socket.recv(READ_BYTES)
        except BlockingIOError:
            return
        except OSError:
            # A reset ends the stream as well.
            data = b""
        if self._tls is not None:
            data = self._decrypted(data or b"")
            if data is None:
                return
        if data:
            self._core.receive_data(data)
        else:
            self._core.receive_eof()
        # The core answers pings and closes by itself.
        self._take_what_is_there()

    def _decrypted(self, data: bytes) -> bytes | None:
        assert self._tls is not None
        plain = self._tls.decrypt(data)
        self._write(self._tls.pending())
        return plain

    def _take_events(self) -> None:
        for event in self._core.events_received():
            if isinstance(event, Frame):
                self._on_frame(event)
        if self._core.state is not State.OPEN:
            self._on_closing()

    def _on_frame(self, frame: Frame) -> None:
        opcode, data = frame.opcode, frame.data
        if opcode is Opcode.TEXT or opcode is Opcode.BINARY:
            if frame.fin:
                self._deliver(data, is_text=opcode is Opcode.TEXT)
            else:
                # Only the first fragment has the message's type (RFC 6455 section 5.4).
                self._is_text = opcode is Opcode.TEXT
                self._parts = [bytes(data)]
        elif opcode is Opcode.CONT and self._parts is not None:
            self._parts.append(bytes(data))
            if frame.fin:
                whole, self._parts = b"".join(self._parts), None
                self._deliver(whole, is_text=self._is_text)

    def _deliver(self, data: bytes | bytearray | memoryview, *, is_text: bool) -> None:
        if self._on_message is None:
            return
        try:
            message = str(data, "utf-8") if is_text else bytes(data)
        except UnicodeDecodeError:
            if self._core.state is State.OPEN:
                self._core.fail(CloseCode.INVALID_DATA, "text that is not UTF-8")
                self._flush()
            return
        self._on_message(message)

    def _on_closing(self) -> None:
        core = self._core
        if core.state is State.CLOSED:
            self.release()
        elif core.close_rcvd is not None or not self.is_asked:
            # The side that closes TCP first keeps its port busy: that is left to the server.
            self.linger(self._linger_seconds)
            self._notify_end()

    def _notify_end(self) -> None:
        if self._drained is not None:
            self._drained.set()
        on_end, self._on_end = self._on_end, None
        self._on_message = None
        if on_end is not None:
            on_end(self)

    def _flush(self) -> None:
        for piece in self._core.data_to_send():
            # The core ends with an empty piece for the end of the stream; closing does that.
            if piece:
                self._write(piece if self._tls is None else self._tls.encrypt(piece))

    def _write(self, data: bytes) -> None:
        if not data:
            return
        if self._unsent:
            self._unsent += data
            return
        try:
            sent = self._socket.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            # The reading side sees the same error, and that is where connections end.
            return
        if sent < len(data):
            self._unsent = bytearray(data[sent:])
            self._writing = get_hub().loop.io(self._socket.fileno(), WRITABLE)
            self._writing.start(self._on_writable)

    def _on_writable(self) -> None:
        assert self._unsent is not None
        try:
            del self._unsent[: self._socket.send(self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()
        if not self._unsent:
            self._writing.stop()
            self._writing.close()
            self._writing = self._unsent = None
            if self._drained is not None:
                self._drained.set()

    def _emptied(self) -> Any:  # noqa: ANN401 - gevent has no types
        if self._drained is None:
            self._drained = Event()
        self._drained.clear()
        return self._drained


def framed(opcode: int, payload: bytes) -> bytes:
    """Frame a whole message (RFC 6455 section 5.2).

    The core does the same, but asks the kernel for each mask: that was a seventh of the CPU time of
    a round trip. A mask protects browser users from scripts; a load test needs no such protection.
    """
    length = len(payload)
    if length < 126:
        head = _SHORT.pack(0x80 | opcode, 0x80 | length)
    elif length < 2**16:
        head = _MIDDLE.pack(0x80 | opcode, 0x80 | 126, length)
    else:
        head = _LONG.pack(0x80 | opcode, 0x80 | 127, length)
    mask = getrandbits(32).to_bytes(4, "big")
    return head + mask + apply_mask(payload, mask)
