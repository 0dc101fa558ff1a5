"""What the server writes into its log: nothing of what clients do wrong, all that it does wrong."""

from __future__ import annotations

import asyncio
import copy
import json
import logging
import re
import socket
import struct
import sys
import tracemalloc

import pytest
from fastapi import WebSocket  # noqa: TC002 - FastAPI needs it at run time
from hypothesis import given
from hypothesis import strategies as st
from starlette.testclient import TestClient
from starlette.websockets import WebSocketDisconnect
from uvicorn.config import LOGGING_CONFIG
from websockets.asyncio.server import serve as serve_websockets
from websockets.exceptions import ConnectionClosed, InvalidStatus

from target_app import Settings, create_app
from target_app.logs import ClientFaults, Tokens, described, one_line, say, without_tokens
from tests.target_app.conftest import DEADLINE_SECONDS, until

KEY = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
SERVERS = pytest.mark.parametrize("how", ["swarmgate", "workers", "uvicorn", "older", "plain"])
STARTED = {
    "swarmgate": {},
    "workers": {"flags": ("--workers", "2")},
    "uvicorn": {"module": "uvicorn", "app": "target_app.app:app"},
    "older": {
        "module": "uvicorn",
        "app": "target_app.app:app",
        "flags": ("--ws", "websockets", "--loop", "asyncio"),
    },
    "plain": {
        "module": "uvicorn",
        "app": "target_app.app:app",
        "flags": ("--ws", "wsproto", "--http", "h11", "--loop", "asyncio"),
    },
}


def request(path="/ws", *, method="GET", version="13", key=KEY, more=""):
    upgrade = "Host: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    lines = f"{method} {path} HTTP/1.1\r\n{upgrade}{key}Sec-WebSocket-Version: {version}\r\n"
    return f"{lines}{more}\r\n".encode("latin-1")


def frame(first, payload=b"", *, length=None, masked=True):
    size = len(payload) if length is None else length
    head = (
        struct.pack("!BB", first, size | masked << 7)
        if size < 126
        else struct.pack("!BBQ", first, 127 | masked << 7, size)
    )
    return head + (bytes(4) if masked else b"") + payload


FRAMES = {
    "no UTF-8": frame(0x81, b"\xff\xfe"),
    "no UTF-8 in pieces": frame(0x01, b"\xff") + frame(0x80, b"\xfe"),
    "no such opcode": frame(0x83, b"x"),
    "a reserved bit": frame(0xC1, b"x"),
    "no mask": frame(0x81, b"x", masked=False),
    "too large": frame(0x81, length=2**30),
    "no such close code": frame(0x88, b"\x00\x01"),
    "half a close code": frame(0x88, b"x"),
    "a close reason that is no UTF-8": frame(0x88, b"\x03\xe8\xff"),
    "a ping in pieces": frame(0x09, b"x"),
    "a continuation of nothing": frame(0x80, b"x"),
    "a message within a message": frame(0x01, b"x") + frame(0x81, b"y"),
    "half a frame": frame(0x81, b"ab", length=100),
    "a message after the close frame": frame(0x88, b"\x03\xe8") + frame(0x81, b"x"),
}
REQUESTS = {
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\r\n\r\n",
    "nothing but zeros": bytes(1000),
    "an unknown upgrade": b"GET / HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: a\r\n\r\n",
    "a plain GET": b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n",
    "another version": request(version="8"),
    "no key": request(key=""),
    "a key that is none": request(key="Sec-WebSocket-Key: abc\r\n"),
    "two keys": request(key=2 * KEY),
    "a POST": request(method="POST"),
    "no such path": request("/nowhere"),
    "a path with a fragment": request("/ws#x"),
    "a header that is not ASCII": request(more="X: \xe9\r\n"),
    "a header that is none": request(more="X Y: z\r\n"),
    "a chunk without a length": b"POST /broadcast HTTP/1.1\r\nHost: x\r\n"
    b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    "half a body": b"POST /broadcast HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{",
    "half a request": b"GET /ws HT",
}


async def start(serve, how):
    options = dict(STARTED[how])
    # uvicorn says of the older one that it is deprecated.
    return await serve(*options.pop("flags", ()), **options, PYTHONWARNINGS="ignore")


async def hostile(server, first, then=b"", *, reset):
    """Send both, the second after an answer if it is a handshake, and go."""
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    writer.write(first)
    try:
        if then:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(then)
        if reset:
            linger = struct.pack("ii", 1, 0)
            writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        else:
            writer.write_eof()
            async with asyncio.timeout(DEADLINE_SECONDS):
                await reader.read()
    except ConnectionError:
        pass
    finally:
        writer.transport.abort()


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("no mask", 1002),
        ("no such opcode", 1002),
        ("a ping in pieces", 1002),
        ("a reserved bit", 1002),
        ("a message within a message", 1002),
        ("no UTF-8", 1007),
        ("too large", 1009),
    ],
)
async def test_who_breaks_the_protocol_is_closed_with_a_code_that_says_so(serve, what, code):
    server = await serve()
    for path in ("/ws", "/echo"):
        client = await server.connect_raw(path)
        client.socket.setblocking(True)
        client.socket.sendall(FRAMES[what])
        client.socket.setblocking(False)
        assert await client.close_code() == code


async def all_was_noticed(server):
    """Wait until nobody is connected any more: whatever is to be logged has been."""

    async def nobody():
        return not any((await server.stats())["open"].values())

    await until(nobody)


def complaints(server):
    quiet = re.compile(r"^INFO|^listening on|^\s*$")
    return [line for line in server.lines if not quiet.match(line)]


@SERVERS
async def test_no_fault_of_a_client_writes_an_error_or_a_traceback(serve, how):
    server = await start(serve, how)
    for reset in (False, True):
        for path in ("/ws", "/ws/7", "/ws/py_client", "/ws/session", "/echo"):
            begun = request(path)
            await asyncio.gather(
                *(hostile(server, begun, frames, reset=reset) for frames in FRAMES.values())
            )
        await asyncio.gather(*(hostile(server, first, reset=reset) for first in REQUESTS.values()))
    await all_was_noticed(server)
    assert complaints(server) == []


@pytest.mark.parametrize(
    ("how", "path", "sent", "code"),
    [
        ("websockets-sansio", "/plain", b"x", 1003),
        ("websockets", "/plain", b"x", 1003),
        ("wsproto", "/plain", b"x", 1003),
        ("websockets-sansio", "/bytes", "x", 1003),
        ("websockets-sansio", "/json", b"{}", 1003),
        ("websockets-sansio", "/json", "{", 1007),
        ("websockets", "/json", "{", 1007),
        ("wsproto", "/json", "{", 1007),
        ("websockets-sansio", "/json", 9999 * "[", 1007),
        ("websockets-sansio", "/json", 5000 * "9", 1007),
    ],
)
async def test_what_an_endpoint_does_not_read_closes_with_a_code_and_is_one_line(
    serve, how, path, sent, code
):
    server = await serve(
        *("--ws", how),
        module="uvicorn",
        app="tests.target_app.endpoints:app",
        PYTHONWARNINGS="ignore",
        TARGET_CLOSE_TIMEOUT_SECONDS="1000",
    )
    client = await server.connect(path)
    await client.send(sent)
    async with asyncio.timeout(DEADLINE_SECONDS):
        await client.wait_closed()
    assert client.close_code == code
    await server.says("sent what is not read there")
    await server.until_stats(open={}, closed_by_code={str(code): 1})
    assert len([line for line in server.lines if "Error" in line]) == 1
    assert complaints(server) == []


@pytest.mark.parametrize("app", ["tests.target_app.endpoints:app", "tests.target_app.others:app"])
async def test_what_an_endpoint_looks_up_in_vain_is_its_own_fault(serve, app):
    server = await serve(module="uvicorn", app=app)
    client = await server.connect("/looks-up")
    await client.send("nowhere")
    await server.says("KeyError: 'nowhere'")
    assert [line for line in server.lines if line.startswith("ERROR")]


async def test_a_client_fault_is_one_line_at_info(serve):
    server = await serve("--log-level", "info")
    await hostile(server, request(), frame(0x81, b"\xff"), reset=False)
    await hostile(server, b"nonsense\r\n\r\n", reset=False)
    await hostile(server, request("/nowhere"), reset=False)

    async def all_told():
        return len([line for line in server.lines if re.search("Invalid|without", line)]) == 3

    await until(all_told)
    assert all(line.startswith("INFO") for line in server.lines if "listening" not in line)


async def test_what_others_endpoints_do_wrong_is_told_and_what_their_clients_do_is_not(serve):
    server = await serve(module="uvicorn", app="tests.target_app.others:app")
    for reset in (False, True):
        await hostile(server, request("/reads-on"), frame(0x81, b"x"), reset=reset)
        await hostile(server, request("/reads-on"), frame(0x82, b"x"), reset=reset)
        await hostile(server, request("/refuses"), reset=reset)
        half = b"POST /reads-a-body HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\n{"
        await hostile(server, half, reset=reset)
    with pytest.raises(InvalidStatus):
        await server.connect("/says-nothing")
    failed = await server.connect("/fails")
    with pytest.raises(ConnectionClosed):
        await failed.recv()

    async def all_told():
        told = "".join(server.lines)
        return "returned without" in told and "LookupError: expected in this test" in told

    await until(all_told)
    assert [line for line in server.lines if line.startswith("ERROR")] == [
        "ERROR:    ASGI callable returned without completing handshake.\n",
        "ERROR:    Exception in ASGI application\n",
    ]


# What is told at info


@pytest.mark.parametrize("how", ["swarmgate", "workers", "uvicorn"])
async def test_who_comes_and_goes_is_told_at_info_with_the_close_code(serve, how):
    options = dict(STARTED[how])
    level = ("--log-level", "info")
    server = await serve(*options.pop("flags", ()), *level, **options)
    client = await server.connect("/ws/7")
    port = client.local_address[1]
    await client.close(4321)
    come = f"INFO:     /ws/{{client_id}} 7 from 127.0.0.1:{port} connected\n"
    gone = f"INFO:     /ws/{{client_id}} 7 from 127.0.0.1:{port} ended: 4321\n"

    async def both():
        return come in server.lines and gone in server.lines

    await until(both)


async def test_what_an_upstream_says_is_told_at_info_in_one_line(serve):
    async def talk(connection):
        await connection.send("first\nsecond \x1b[31m")
        await connection.send("x" * 10_000)
        await connection.wait_closed()

    async with serve_websockets(talk, "127.0.0.1", 0) as upstream:
        port = upstream.sockets[0].getsockname()[1]
        url = f"ws://127.0.0.1:{port}"
        server = await serve("--log-level", "info", "--upstreams", url)

        async def both():
            return [line for line in server.lines if "sent:" in line][1:]

        await until(both)
    said = [line for line in server.lines if "sent:" in line]
    assert said[0] == f"INFO:     upstream {url} sent: first\\nsecond \\x1b[31m\n"
    assert said[1] == f"INFO:     upstream {url} sent: {'x' * 198} …\n"


@given(st.text() | st.binary(), st.integers(2, 50))
def test_a_line_of_the_log_is_short_and_safe_whatever_is_in_it(text, characters):
    line = one_line(text, characters)
    assert line.isprintable()
    assert len(line) <= characters
    if isinstance(text, str) and text.isprintable() and len(text) <= characters:
        assert line == text


def test_a_fault_of_ours_that_looks_like_a_clients_is_told():
    record = logging.LogRecord("uvicorn.error", logging.ERROR, "", 1, "broken", None, None)
    assert ClientFaults().filter(record)
    try:
        b"\xff".decode()
    except UnicodeDecodeError as error:
        record.exc_info = (type(error), error, None)
    assert ClientFaults().filter(record), "an endpoint of ours that cannot decode is our fault"


# Large messages

LARGE = 2**24
"""Bytes: the largest message that is read unless it is set otherwise."""


def in_a_group(message):
    try:
        message.decode()
    except UnicodeDecodeError as error:
        raise ExceptionGroup("tasks", [error]) from None


NOT_READ = {
    "no UTF-8": (bytes.decode, b"\xff"),
    "no UTF-8 for JSON": (json.loads, b"\xff"),
    "no UTF-8 for a task": (in_a_group, b"\xff"),
    "halves of surrogate pairs": (str.encode, "\ud800"),
    "no JSON": (json.loads, "x"),
    "more than JSON": (json.loads, '"'),
    "nested too deeply": (json.loads, "["),
    "too many digits": (json.loads, "9"),
}


def error_of(read, character):
    with pytest.raises((ValueError, RecursionError, ExceptionGroup)) as raised:
        read(LARGE * character)
    return raised.value


def unreadable(error):
    """Return what the server underneath logs of a message that is no UTF-8."""
    told = "Invalid UTF-8 sequence received from client."
    where = ("uvicorn.error", logging.ERROR, "", 1)
    about = (type(error), error, None)
    return logging.LogRecord(*where, told, (), about, "send_receive_event_to_app")


@pytest.fixture
def memory():
    """Yield what returns the most bytes that were held at once since this fixture was used."""
    tracemalloc.start()
    yield lambda: tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()


@pytest.mark.parametrize(("read", "character"), NOT_READ.values(), ids=NOT_READ)
def test_an_error_is_described_without_the_message_that_it_is_about(read, character, memory):
    error = error_of(read, character)
    tracemalloc.reset_peak()
    held_before, _ = tracemalloc.get_traced_memory()
    told = described(error)
    assert memory() - held_before < 10_000
    assert type(error).__name__ in told
    assert len(told) < 200


def test_an_error_without_words_is_described_by_its_kind():
    assert described(TimeoutError()) == "TimeoutError"
    assert described(KeyError("text")) == "KeyError: 'text'"


def test_a_large_message_that_is_no_utf_8_is_a_short_line(memory, caplog):
    caplog.set_level(logging.INFO, "uvicorn.error")
    record = unreadable(error_of(bytes.decode, b"\xff"))
    tracemalloc.reset_peak()
    held_before, _ = tracemalloc.get_traced_memory()
    assert ClientFaults().filter(record)
    assert memory() - held_before < 10_000
    assert record.getMessage() == (
        "Invalid UTF-8 sequence received from client.: UnicodeDecodeError: "
        "'utf-8' codec can't decode byte 0xff in position 0: invalid start byte"
    )


def test_no_line_is_made_that_is_not_written(caplog):
    class UntoldError(UnicodeDecodeError):
        def __str__(self):
            raise AssertionError("it was described")

        __repr__ = __str__

    caplog.set_level(logging.WARNING, "uvicorn.error")
    assert not ClientFaults().filter(unreadable(UntoldError("utf-8", b"\xff", 0, 1, "wrong")))


@pytest.mark.parametrize("level", [logging.INFO, logging.WARNING])
def test_a_large_message_that_an_endpoint_does_not_read_is_not_copied(level, memory, caplog):
    caplog.set_level(level, "target_app")
    app = create_app(Settings(heartbeat_seconds=0))

    @app.websocket("/reads-json-as-bytes")
    async def read(websocket: WebSocket) -> None:
        await websocket.accept()
        await websocket.receive_json("binary")

    sent = LARGE * b"\xff"
    with TestClient(app) as client, client.websocket_connect("/reads-json-as-bytes") as websocket:
        tracemalloc.reset_peak()
        held_before, _ = tracemalloc.get_traced_memory()
        websocket.send_bytes(sent)
        with pytest.raises(WebSocketDisconnect) as closed:
            websocket.receive_text()
        # Trying to decode takes twice its size.
        assert memory() - held_before < 3 * LARGE
    assert closed.value.code == 1007
    lines = [line for line in caplog.messages if "sent what is not read there" in line]
    assert len(lines) == (level == logging.INFO)
    assert all("UnicodeDecodeError" in line and len(line) < 300 for line in lines)


# Tokens

HIDDEN = "what-nobody-may-see"
CODED = st.sampled_from(["token", "%74oken", "t%6Fken", "%74%6f%6b%65%6E"])
URL_TEXT = st.text(st.characters(min_codepoint=0x21, max_codepoint=0x7E, exclude_characters="&#"))


@SERVERS
async def test_no_token_stands_in_the_log_at_any_level(serve, how, tmp_path):
    options = dict(STARTED[how])
    flags = (*options.pop("flags", ()), "--log-level", "trace")
    if "uvicorn" in options.values():
        # As it is, but for the access log, which goes to standard output.
        config = copy.deepcopy(LOGGING_CONFIG)
        config["handlers"]["access"]["stream"] = "ext://sys.stderr"
        (tmp_path / "logging.json").write_text(json.dumps(config))
        flags += ("--log-config", str(tmp_path / "logging.json"))
    server = await serve(*flags, **options, TARGET_TOKEN=HIDDEN, PYTHONWARNINGS="ignore")
    client = await server.connect(f"/ws?room=a&token={HIDDEN}&x=1")
    await client.close()
    bearer = {"Authorization": f"Bearer {HIDDEN}"}
    client = await server.connect("/ws", additional_headers=bearer)
    await client.close()
    assert await server.refused(f"/nowhere?%74oken={HIDDEN}") == 404
    assert (await server.http.get(f"/stats?token={HIDDEN}")).status_code == 200
    assert (await server.http.get("/stats", headers=bearer)).status_code == 200
    await server.says('"WebSocket /ws?room=a&token=***&x=1" [accepted]')
    await server.says('"WebSocket /nowhere?%74oken=***" 404')
    if "uvicorn" in options.values():
        await server.says('"GET /stats?token=*** HTTP/1.1" 200')
    assert not any(HIDDEN in line for line in server.lines)


@given(
    before=st.lists(st.tuples(URL_TEXT, URL_TEXT)),
    name=CODED,
    after=st.lists(st.tuples(URL_TEXT, URL_TEXT)),
    around=URL_TEXT,
    carried=st.sampled_from(["arguments", "access", "message", "mapping", "bytes"]),
)
def test_no_token_survives_wherever_it_stands_in_a_query(before, name, after, around, carried):
    token = f"{around}{HIDDEN}{around}"
    query = "&".join(f"{k}={v}" for k, v in [*before, (name, token), *after])
    path = f"/ws?{query}"
    record = logging.LogRecord("uvicorn.error", logging.INFO, "", 1, *records(path)[carried], None)
    assert Tokens().filter(record)
    assert HIDDEN not in record.getMessage()
    if carried == "access":
        assert len(record.args) == 5


def records(path):
    return {
        "arguments": ('%s - "WebSocket %s" [accepted]', ("127.0.0.1:1", path)),
        "access": ('%s - "%s %s HTTP/%s" %d', ("127.0.0.1:1", "GET", path, "1.1", 200)),
        "message": (f'127.0.0.1:1 - "WebSocket {path}" [accepted]', ()),
        "mapping": ("%(path)s", ({"path": path},)),
        "bytes": ("%s scope=%s", ("x", {"query_string": path.partition("?")[2].encode()})),
    }


@given(st.text())
def test_what_has_no_token_is_told_as_it_is(text):
    if "token" not in text.lower() and "bearer" not in text.lower() and "%" not in text:
        assert without_tokens(text) == text


def test_what_is_said_without_a_standard_error_is_not_said_elsewhere(monkeypatch, capsys):
    monkeypatch.setattr(sys, "stderr", None)
    say("nobody is told")
    monkeypatch.undo()
    assert capsys.readouterr().out == ""
