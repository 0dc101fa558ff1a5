"""One client connection: frames in, whole messages out, every end accounted for.

The hot path is :meth:`Connection.on_ws_frame`; it makes no object beyond the payload it passes on.
"""

from collections.abc import Callable, Mapping
from time import perf_counter_ns
from typing import Any, Final

from picows import WSCloseCode, WSFrame, WSListener, WSMsgType, WSTransport

from loadtests.measure.recorder import Recorder
from loadtests.plan.connect_options import DEFAULT_MAX_MESSAGE_BYTES

_TEXT: Final = WSMsgType.TEXT
_BINARY: Final = WSMsgType.BINARY
_CONTINUATION: Final = WSMsgType.CONTINUATION

# RFC 6455 section 7.4.1: the codes for a close frame without a code, and for no close frame.
NO_STATUS: Final = 1005
ABNORMAL: Final = 1006
# The same section: codes that no close frame may carry; 0 is below all that are defined.
_NEVER_ON_THE_WIRE: Final = frozenset({0, NO_STATUS, ABNORMAL})

Receive = Callable[["Connection", bytes, int], None]
Control = Callable[["Connection", WSMsgType, bytes, int], None]


class Connection(WSListener):
    """A WebSocket connection of the swarm.

    Attributes:
        opened_ns: since when it counts as open, by CLOCK_MONOTONIC; 0 before that.
        number: its number in the fleet, which a reconnect keeps.
        state: what the scenario keeps for this connection.
        began: called once, at the moment the connection begins to count as open.
        is_held: whether it does not count as open yet although its handshake is complete.
        saved: values saved by the steps that made it ready, by name.
        ended: called when the connection has ended.
        on_control: called with each ping and pong: its kind, its payload, its arrival time.
        transport: set once the handshake is complete.
        was_ended_as_expected: whether the peer has ended it since :meth:`expect_end`, and not
            because of a fault of the peer.
    """

    __slots__ = (
        "_closing",
        "_end_expected",
        "_is_answered",
        "_kind",
        "_max_message_bytes",
        "_parts",
        "_receive",
        "_recorder",
        "_rest",
        "began",
        "ended",
        "is_held",
        "number",
        "on_control",
        "opened_ns",
        "saved",
        "state",
        "transport",
        "was_ended_as_expected",
    )

    transport: WSTransport

    def __init__(
        self,
        recorder: Recorder,
        receive: Receive,
        state: Any,  # noqa: ANN401 - the scenario's own
        *,
        max_message_bytes: int = DEFAULT_MAX_MESSAGE_BYTES,
    ) -> None:
        """Prepare a connection; the client library drives it from then on.

        Args:
            recorder: where messages, closes and errors are counted.
            receive: called with each whole data message: connection, payload and arrival time.
            state: what the scenario keeps for this connection.
            max_message_bytes: the largest message of the peer; a larger one fails the connection.
        """
        self._recorder = recorder
        self._max_message_bytes = max_message_bytes
        self._is_answered = False
        self._receive: Receive = receive
        self._rest: Receive | None = None
        self._parts: bytearray | None = None
        self._kind = _TEXT
        self._closing = False
        self._end_expected = False
        self.state = state
        self.number = 0
        self.opened_ns = 0
        self.is_held = False
        self.saved: Mapping[str, str] | None = None
        self.was_ended_as_expected = False
        self.began: Callable[[Connection], None] | None = None
        self.ended: Callable[[Connection], None] | None = None
        self.on_control: Control | None = None

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Take the transport that messages are sent on, now that the handshake is complete."""
        self.transport = transport
        if not self.is_held:
            self.enter()

    def enter(self) -> None:
        """Count as open from now on."""
        self.is_held = False
        self.opened_ns = perf_counter_ns()
        self._rest, self._receive = self._receive, _receive_first
        self._recorder.opened += 1
        self._recorder.open += 1
        if self.began is not None:
            began, self.began = self.began, None
            self.notify(began)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Handle one frame; hot path for an unfragmented data frame."""
        now_ns = perf_counter_ns()
        kind = frame.msg_type
        if frame.rsv1 or frame.rsv2 or frame.rsv3:
            # No extension that would give them a meaning was negotiated (RFC 6455 section 5.2).
            _fail(transport, WSCloseCode.PROTOCOL_ERROR)
        elif (kind is _TEXT or kind is _BINARY) and frame.fin and self._parts is None:
            payload = frame.get_payload_as_bytes()
            # isascii costs a tenth of decoding, and ASCII is always valid UTF-8.
            if kind is _BINARY or payload.isascii():
                recorder = self._recorder
                recorder.received += 1
                recorder.received_bytes += len(payload)
                # A try block costs nothing unless something is raised.
                try:
                    self._receive(self, payload, now_ns)
                except Exception as error:  # noqa: BLE001 - a user's scenario
                    recorder.fault(error)
            else:
                self._message(kind, payload, now_ns)
        else:
            self._on_other_frame(transport, frame, now_ns)

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        """Count how the connection ended, if it counted as open."""
        if self.opened_ns:
            self._count_end(transport)
        if self.ended is not None:
            self.notify(self.ended)

    def _count_end(self, transport: WSTransport) -> None:
        recorder, code = self._recorder, self.close_code
        handshake = transport.close_handshake
        recorder.closed += 1
        recorder.open -= 1
        recorder.close_codes[code] += 1
        sent = handshake.sent if handshake else None
        echoed = handshake.recv if handshake and handshake.recv_then_sent else None
        is_echo = sent and echoed and sent.code == echoed.code
        if sent and not is_echo and not self._closing:
            # We ended it because of a fault of the peer (RFC 6455 section 7.4.1 defines which).
            recorder.errors[f"protocol:{_number(sent.code)}"] += 1
        elif not self._closing:
            self.was_ended_as_expected = self._end_expected
            if not self._end_expected:
                recorder.errors[f"closed:{code}"] += 1

    @property
    def is_open(self) -> bool:
        """Whether messages can still be sent."""
        transport = self.transport
        # Nothing is sent after a close frame, even one that is an answer (RFC 6455 section 5.5.1).
        is_closing = self._closing or self._is_answered or transport.is_close_frame_sent
        return not (is_closing or transport.is_disconnected)

    @property
    def close_code(self) -> int:
        """The code of the peer's close frame (RFC 6455 section 7.1.5)."""
        handshake = self.transport.close_handshake
        received = handshake.recv if handshake else None
        return ABNORMAL if received is None else _number(received.code) or NO_STATUS

    @property
    def was_closed_in_order(self) -> bool:
        """Whether it ended with a close frame from the peer (RFC 6455 section 7.1.4)."""
        handshake = self.transport.close_handshake
        return handshake is not None and handshake.recv is not None

    def negotiated(self) -> str:
        """Return what the handshake negotiated (RFC 6455 section 4.2.2)."""
        headers = self.transport.response.headers
        extensions = headers.get("Sec-WebSocket-Extensions")
        subprotocol = headers.get("Sec-WebSocket-Protocol")
        agreed = [str(extensions)] if extensions else ["no extension"]
        return ", ".join([*agreed, *([f"subprotocol {subprotocol}"] if subprotocol else [])])

    def take_first(self, payload: bytes, now_ns: int) -> None:
        """Time the first message, and pass on all that follow unchecked.

        A first message that comes in a load that the connection has waited for is not timed: the
        wait is our own.
        """
        assert self._rest is not None
        load_ns = self._recorder.load_ns
        if not self.opened_ns < load_ns <= now_ns:
            # One that came while the connection was being made ready counts as immediate.
            self._recorder.durations("first_message").append(max(0, now_ns - self.opened_ns))
        self._receive, self._rest = self._rest, None
        self._receive(self, payload, now_ns)

    def redirect(self, receive: Receive) -> None:
        """Pass messages to another receiver, starting with the next one."""
        if self._rest is None:
            self._receive = receive
        else:
            self._rest = receive

    def serve(
        self,
        receive: Receive,
        state: Any,  # noqa: ANN401 - the scenario's own
        ended: "Callable[[Connection], None]",
    ) -> None:
        """Belong to another scenario from now on."""
        self.redirect(receive)
        self.state = state
        self.ended = ended
        self.on_control = None
        self._end_expected = False

    def send(self, message: str | bytes) -> None:
        """Send a text, or bytes as a binary message, and count it."""
        if isinstance(message, str):
            kind, payload = _TEXT, message.encode()
        else:
            kind, payload = _BINARY, message
        self.transport.send(kind, payload)
        self._recorder.sent += 1
        self._recorder.sent_bytes += len(payload)

    def expect_end(self) -> None:
        """Stop counting it as an error if the peer ends the connection."""
        self._end_expected = True

    def expect_no_end(self) -> None:
        """Count it as an error again."""
        self._end_expected = False

    def close(self) -> None:
        """Begin the closing handshake (RFC 6455 section 7.1.2); the peer closes TCP."""
        self._closing = True
        self.transport.send_close(WSCloseCode.OK)

    def abort(self) -> None:
        """Cut the connection without a closing handshake."""
        self._closing = True
        self.transport.disconnect(graceful=False)

    def _on_other_frame(self, transport: WSTransport, frame: WSFrame, now_ns: int) -> None:
        kind = frame.msg_type
        if kind is WSMsgType.CLOSE:
            self._on_close(transport, frame)
        elif kind is _TEXT or kind is _BINARY:
            if self._parts is not None:
                _fail(transport, WSCloseCode.PROTOCOL_ERROR)
                return
            self._kind = kind
            self._parts = bytearray(frame.get_payload_as_bytes())
        elif kind is _CONTINUATION:
            self._on_continuation(transport, frame, now_ns)
        elif kind is WSMsgType.PING:
            transport.send_pong(frame.get_payload_as_bytes())
        if self.on_control is not None and (kind is WSMsgType.PING or kind is WSMsgType.PONG):
            self.notify(self.on_control, kind, frame.get_payload_as_bytes(), now_ns)

    def _on_close(self, transport: WSTransport, frame: WSFrame) -> None:
        """Answer a close frame with its own content (RFC 6455 sections 5.5.1 and 7.4.1)."""
        self._is_answered = True
        if not frame.get_payload_as_bytes():
            # The library's own close frame always has a code, 0 if need be, which is not valid.
            transport.send(WSMsgType.CLOSE, b"")
        elif _number(frame.get_close_code()) in _NEVER_ON_THE_WIRE:
            transport.send_close(WSCloseCode.PROTOCOL_ERROR)
        elif not transport.is_close_frame_sent:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
        transport.disconnect()

    def _on_continuation(self, transport: WSTransport, frame: WSFrame, now_ns: int) -> None:
        """Reassemble a fragmented message (RFC 6455 section 5.4)."""
        if self._parts is None:
            _fail(transport, WSCloseCode.PROTOCOL_ERROR)
            return
        self._parts += frame.get_payload_as_bytes()
        if len(self._parts) > self._max_message_bytes:
            _fail(transport, WSCloseCode.MESSAGE_TOO_BIG)
        elif frame.fin:
            payload, self._parts = bytes(self._parts), None
            self._message(self._kind, payload, now_ns)

    def _message(self, kind: WSMsgType, payload: bytes, now_ns: int) -> None:
        """Handle a fragmented or non-ASCII message; text is UTF-8 (RFC 6455 section 8.1)."""
        if kind is _TEXT:
            try:
                payload.decode()
            except UnicodeDecodeError:
                _fail(self.transport, WSCloseCode.INVALID_TEXT)
                return
        self.take(payload, now_ns)

    def take(self, payload: bytes, now_ns: int) -> None:
        """Handle a whole message outside the hot path."""
        self._recorder.received += 1
        self._recorder.received_bytes += len(payload)
        self.notify(self._receive, payload, now_ns)

    def notify(self, callback: Callable[..., None], *arguments: object) -> None:
        """Notify the scenario; an exception counts as its fault and does not end the connection."""
        try:
            callback(self, *arguments)
        except Exception as error:  # noqa: BLE001 - a user's scenario
            self._recorder.fault(error)


def _receive_first(connection: Connection, payload: bytes, now_ns: int) -> None:
    connection.take_first(payload, now_ns)


def _number(code: WSCloseCode | int) -> int:
    """Return a close code as a number; the library has no names for application codes."""
    return code.value if isinstance(code, WSCloseCode) else code


def _fail(transport: WSTransport, code: WSCloseCode) -> None:
    """Fail the connection because of a fault of the peer (RFC 6455 section 7.1.7)."""
    transport.send_close(code)
    transport.disconnect()
