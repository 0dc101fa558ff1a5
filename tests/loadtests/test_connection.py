"""A connection makes messages of frames as RFC 6455 says, and fails a peer that does not."""

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from picows import WSCloseCode, WSFrame, WSMsgType, WSTransport, ws_connect
from picows.picows import _make_test_ws_frame as frame

from loadtests.clients.connection import Connection
from loadtests.measure.recorder import Recorder
from tests.servers.launch import known

TEXT, BINARY = WSMsgType.TEXT, WSMsgType.BINARY
CONTINUATION, PING = WSMsgType.CONTINUATION, WSMsgType.PING


class Transport:
    """Stands for the library's transport, which cannot be had without a socket."""

    def __init__(self) -> None:
        self.closed_with: list[WSCloseCode] = []
        self.is_disconnected = False
        self.pongs: list[bytes] = []

    def send_close(self, code: WSCloseCode) -> None:
        self.closed_with.append(code)

    def send_pong(self, payload: bytes) -> None:
        self.pongs.append(payload)

    def disconnect(self) -> None:
        self.is_disconnected = True


def received(*frames: Any) -> tuple[list[bytes], Transport, Recorder]:
    """Return a connection frames; gives the messages it made of them."""
    messages: list[bytes] = []
    recorder = Recorder(process=0, origin_ns=0, payload_bytes=1)
    connection = Connection(
        recorder, lambda _connection, payload, _now: messages.append(payload), None
    )
    transport: Any = Transport()
    connection.on_ws_connected(transport)
    for one in frames:
        connection.on_ws_frame(transport, one)
    return messages, transport, recorder


@given(st.binary(max_size=300))
def test_a_binary_message_is_handed_on_as_it_is(payload: bytes) -> None:
    messages, _, recorder = received(frame(BINARY, payload, True, False))
    assert messages == [payload]
    assert (recorder.received, recorder.received_bytes) == (1, len(payload))


@given(st.text(max_size=100), st.lists(st.integers(0, 400), max_size=5), st.booleans())
def test_fragments_are_put_together_wherever_they_were_cut(
    text: str, cuts: list[int], is_pinged: bool
) -> None:
    payload = text.encode()
    edges = [0, *sorted(min(cut, len(payload)) for cut in cuts), len(payload)]
    parts = [payload[low:high] for low, high in pairwise(edges)]
    frames = []
    for number, part in enumerate(parts):
        kind = CONTINUATION if number else TEXT
        frames.append(frame(kind, part, number == len(parts) - 1, False))
        if is_pinged and number < len(parts) - 1:
            # A control frame may come between fragments (section 5.4).
            frames.append(frame(PING, b"p", True, False))
    messages, transport, recorder = received(*frames)
    assert messages == [payload]
    assert transport.pongs == [b"p"] * (is_pinged * (len(parts) - 1))
    assert recorder.received == 1
    assert transport.closed_with == []


@given(st.binary(max_size=50))
def test_text_is_taken_only_as_valid_utf_8(payload: bytes) -> None:
    try:
        payload.decode()
        is_valid = True
    except UnicodeDecodeError:
        is_valid = False
    messages, transport, _ = received(frame(TEXT, payload, True, False))
    assert messages == ([payload] if is_valid else [])
    assert transport.closed_with == ([] if is_valid else [WSCloseCode.INVALID_TEXT])


@pytest.mark.parametrize(
    "frames",
    [
        [(CONTINUATION, b"x", True)],
        [(TEXT, b"x", False), (TEXT, b"y", True)],
        [(BINARY, b"x", False), (BINARY, b"y", False)],
    ],
)
def test_fragments_out_of_place_are_a_protocol_error(frames: list[tuple[Any, bytes, bool]]) -> None:
    messages, transport, _ = received(*(frame(*parts, False) for parts in frames))
    assert messages == []
    assert transport.closed_with == [WSCloseCode.PROTOCOL_ERROR]
    assert transport.is_disconnected


async def test_nothing_can_be_sent_any_more_once_the_peer_has_closed() -> None:
    found: list[bool] = []

    class Watched(Connection):
        def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
            super().on_ws_frame(transport, frame)
            if frame.msg_type is WSMsgType.CLOSE:
                found.append(self.is_open)

    def make() -> Watched:
        recorder = Recorder(process=0, origin_ns=0, payload_bytes=1)
        return Watched(recorder, lambda *_: None, None)

    with known("--close-after", "1") as server:
        transport, connection = await ws_connect(make, server.url("/echo"))
        assert connection.is_open
        transport.send(TEXT, b"last")
        await transport.wait_disconnected()
    assert found == [False]
