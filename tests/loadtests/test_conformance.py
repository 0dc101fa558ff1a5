"""Either client keeps to RFC 6455, and fails a server that does not, on real sockets."""

import asyncio
from collections.abc import Iterator

import pytest

from loadtests.measure.recorder import Recorder
from loadtests.plan.connect_options import Client, ConnectOptions
from loadtests.scenarios.parameters import Parameters
from reports.record import Event, Line
from tests.loadtests.conftest import DEADLINE_SECONDS, Run, in_this_process
from tests.loadtests.diary import Diary, accepted

MOST_BYTES = 1_000
CLIENTS = pytest.mark.parametrize("client", [Client.PICOWS, Client.WEBSOCKETS])


def frame(first: int, payload: bytes = b"") -> bytes:
    """Return one frame of a server's, its first byte as it is given (RFC 6455 section 5.2)."""
    if len(payload) < 126:
        return bytes([first, len(payload)]) + payload
    return bytes([first, 126]) + len(payload).to_bytes(2) + payload


def close(code: int, reason: bytes = b"") -> bytes:
    return frame(0x88, code.to_bytes(2) + reason)


async def heard(client: Client, wire: bytes) -> tuple[list[str], list[tuple[int, bytes]], Recorder]:
    """Send that to a client after its handshake.

    Gives the messages that its scenario got, the frames that it sent, and its recorder.
    """
    got: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await reader.readuntil(b"\r\n\r\n")))
        await writer.drain()
        writer.write(wire)
        got.set_result(await reader.read())
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server, asyncio.timeout(DEADLINE_SECONDS):
        diary, pool, recorder = in_this_process(
            lambda share, recorder: Diary(share, Parameters(), recorder),
            port=server.sockets[0].getsockname()[1],
            connections=1,
            scenario="hold",
            options=ConnectOptions(client=client, max_message_bytes=MOST_BYTES),
        )
        await pool.open(0)
        data = await got
        while not recorder.closed:  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)
    return diary.entries[1:-1], list(_frames(data)), recorder


def _frames(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Take apart what a client sent: short frames, each with a mask."""
    while data:
        end = 6 + (data[1] & 0x7F)
        mask, payload = data[2:6], data[6:end]
        yield data[0] & 0x0F, bytes(byte ^ mask[at % 4] for at, byte in enumerate(payload))
        data = data[end:]


@CLIENTS
@pytest.mark.parametrize(
    ("wire", "code"),
    [
        pytest.param(frame(0xC1, b"hello"), 1002, id="5.2 RSV1 in a message"),
        pytest.param(frame(0xA2, b"hello"), 1002, id="5.2 RSV2 in a message"),
        pytest.param(frame(0x99), 1002, id="5.2 RSV3 in a ping"),
        pytest.param(frame(0x01, b"a") + frame(0xC0, b"b"), 1002, id="5.2 RSV1 in a fragment"),
        pytest.param(frame(0x83, b"hello"), 1002, id="5.2 reserved data opcode"),
        pytest.param(frame(0x8B), 1002, id="5.2 reserved control opcode"),
        pytest.param(frame(0x09, b"a"), 1002, id="5.5 ping in fragments"),
        pytest.param(frame(0x89, bytes(126)), 1002, id="5.5 ping of 126 bytes"),
        pytest.param(frame(0x80, b"hello"), 1002, id="5.4 continuation of nothing"),
        pytest.param(frame(0x01, b"a") + frame(0x81, b"b"), 1002, id="5.4 text in the middle"),
        pytest.param(b"\x81\x82\0\0\0\0hi", 1002, id="5.1 a server that masks"),
        pytest.param(frame(0x81, b"\xce\xba\xe1"), 1007, id="8.1 text that ends in a character"),
        pytest.param(
            frame(0x01, b"\xce") + frame(0x80, b"\x00"), 1007, id="8.1 fragments that are not UTF-8"
        ),
        pytest.param(frame(0x88, b"\x03"), 1002, id="5.5.1 half a close code"),
        pytest.param(close(1000, b"\xff\xfe"), 1007, id="5.5.1 reason that is not UTF-8"),
        *(
            pytest.param(close(code), 1002, id=f"7.4 close code {code}")
            for code in (0, 999, 1004, 1005, 1006, 1015, 1016, 1100, 2000, 2999)
        ),
        pytest.param(frame(0x82, bytes(MOST_BYTES + 1)), 1009, id="10.4 a frame that is too large"),
        pytest.param(
            frame(0x02, bytes(MOST_BYTES)) + frame(0x80, b"x"), 1009, id="10.4 fragments together"
        ),
    ],
)
async def test_a_server_that_breaks_the_protocol_is_closed_with_its_code(
    client: Client, wire: bytes, code: int
) -> None:
    messages, frames, recorder = await heard(client, wire)
    assert messages == []
    assert [(kind, payload[:2]) for kind, payload in frames] == [(8, code.to_bytes(2))]
    assert recorder.errors == {f"protocol:{code}": 1}


@CLIENTS
@pytest.mark.parametrize("code", [1000, 1001, 1002, 1003, 1007, 1011, 1014, 3000, 3999, 4999])
async def test_a_close_frame_is_answered_with_its_own_code(client: Client, code: int) -> None:
    messages, frames, recorder = await heard(client, frame(0x81, b"bye") + close(code, b"why"))
    assert messages == ["bye"]
    assert [(kind, payload[:2]) for kind, payload in frames] == [(8, code.to_bytes(2))]
    assert recorder.errors == {f"closed:{code}": 1}
    assert recorder.close_codes == {code: 1}


@CLIENTS
async def test_a_close_frame_without_a_code_is_answered_without_one(client: Client) -> None:
    _, frames, recorder = await heard(client, frame(0x88))
    assert frames == [(8, b"")]
    assert recorder.errors == {"closed:1005": 1}


@CLIENTS
async def test_pings_are_answered_in_order_also_between_fragments(client: Client) -> None:
    wire = frame(0x89, b"1") + frame(0x01, b"a") + frame(0x89, b"2") + frame(0x80, b"b")
    messages, frames, recorder = await heard(client, wire + frame(0x8A, b"unasked") + close(1000))
    assert messages == ["ab"]
    assert frames[:2] == [(10, b"1"), (10, b"2")]
    assert recorder.errors == {"closed:1000": 1}


@CLIENTS
async def test_any_number_of_empty_fragments_is_one_message(client: Client) -> None:
    wire = frame(0x01) + frame(0x00) * 20_000 + frame(0x80, b"end") + close(1000)
    messages, _, recorder = await heard(client, wire)
    assert messages == ["end"]
    assert recorder.received == 1


@CLIENTS
async def test_a_message_may_be_as_large_as_is_allowed(client: Client) -> None:
    whole = frame(0x81, b"x" * MOST_BYTES)
    parts = frame(0x01, b"y" * (MOST_BYTES - 1)) + frame(0x80, b"y")
    messages, _, _ = await heard(client, whole + parts + close(1000))
    assert messages == ["x" * MOST_BYTES, "y" * MOST_BYTES]


async def test_what_breaks_the_protocol_is_counted_and_fills_nobodys_log(run: Run) -> None:
    """Also where the server does it to everybody."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await reader.readuntil(b"\r\n\r\n")) + frame(0x83, b"reserved"))
        await reader.read()
        writer.close()

    printed: list[str] = []

    def hear(line: Line) -> None:
        if isinstance(line, Event) and line.name == "printed":
            printed.append(line.detail["text"])

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        url = f"ws://127.0.0.1:{port}/"
        summary = await run(url, "hold", connections=50, observe=hear)
    assert summary.errors == {"protocol:1002": 50}
    assert printed == []
