"""The server as a client: real upstream servers that come, go and misbehave."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import re
import socket
import ssl
import traceback
from http import HTTPStatus

import pytest
import trustme
from websockets.asyncio.server import serve as websocket_server
from websockets.protocol import State
from websockets.server import ServerProtocol

from target_app.backoff import Backoff
from target_app.lifecycle import upstream as upstream_module
from target_app.lifecycle.upstream import Upstream, without_secrets
from tests.servers.ports import nobody_listens
from tests.target_app.conftest import DEADLINE_SECONDS
from tests.target_app.conftest import until as eventually

SOON = Backoff(0.002, 0.01)


async def until(condition):
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - the state is another server's
            await asyncio.sleep(0.002)


@pytest.fixture
async def follow():
    """Run an upstream client, and return it with what it has passed on."""
    followed = []

    async def start(url, *, on_message=None, backoff=SOON, **options):
        got = []

        async def passed_on(message):
            got.append(message)
            if on_message is not None:
                on_message(message)

        upstream = Upstream(url, passed_on, backoff=backoff, **options)
        upstream.task = asyncio.create_task(upstream.run())
        followed.append(upstream)
        return upstream, got

    yield start
    await cancelled(*followed)


@pytest.fixture
def nobody():
    """A port that nobody listens on."""
    with nobody_listens() as port:
        yield port


async def cancelled(*upstreams):
    """Cancel them, wait for their end, and make sure that nothing of theirs is left running.

    A server that they come back to again and again is stopped only after that: it could have
    accepted one of them in the moment it stops.
    """
    for upstream in upstreams:
        upstream.task.cancel()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.gather(*(upstream.task for upstream in upstreams), return_exceptions=True)
    assert all(upstream.task.cancelled() for upstream in upstreams)
    left = {task.get_coro().__qualname__ for task in asyncio.all_tasks()}
    assert not {name for name in left if name.startswith(("Upstream.", "Connection.keepalive"))}


@contextlib.asynccontextmanager
async def server(handler, held=None, **options):
    # Without pings, so that a task that pings is the client's.
    settings = {"ping_interval": None} | options
    where = {"sock": held} if held else {"host": "127.0.0.1", "port": 0}
    async with websocket_server(handler, **where, **settings) as running:
        yield f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}/"


async def test_what_arrives_is_passed_on_as_text_or_binary_in_order(follow):
    async def handler(connection):
        for message in ("one", b"two", "", "grün"):
            await connection.send(message)
        await connection.wait_closed()

    async with server(handler) as url:
        upstream, got = await follow(url)
        await until(lambda: got == ["one", b"two", "", "grün"])
        assert upstream.status().state == "connected"
        assert (upstream.status().connections, upstream.status().messages) == (1, 4)


async def clean(connection):
    await connection.close(1000)


async def going_away(connection):
    await connection.close(1001)


async def error(connection):
    await connection.close(1011, "broken")


async def cut(connection):
    connection.transport.abort()


async def too_big(connection):
    await connection.send("x" * (2**20 + 1))
    await connection.wait_closed()


TOLD = {
    clean: "received 1000 (OK)",
    going_away: "received 1001 (going away)",
    error: "received 1011 (internal error) broken",
    cut: "no close frame received or sent",
    too_big: "sent 1009 (message too big)",
}


@pytest.mark.parametrize("ending", TOLD)
async def test_it_connects_again_after_every_ending(follow, ending):
    visits = 0

    async def handler(connection):
        nonlocal visits
        visits += 1
        if visits < 3:
            await ending(connection)
        else:
            await connection.send("at last")
            await connection.wait_closed()

    async with server(handler) as url:
        upstream, got = await follow(url)
        await until(lambda: got == ["at last"])
        assert upstream.status().connections == 3
        assert TOLD[ending] in upstream.status().last_error


@pytest.mark.parametrize("status", [HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND, 503])
async def test_a_refused_handshake_is_tried_again(follow, status):
    refusals = 0

    def refuse(connection, _request):
        nonlocal refusals
        refusals += 1
        return connection.respond(HTTPStatus(status), "no\n") if refusals < 3 else None

    async def handler(connection):
        await connection.send("at last")
        await connection.wait_closed()

    async with server(handler, process_request=refuse) as url:
        upstream, got = await follow(url)
        await until(lambda: got == ["at last"])
        assert upstream.status().connections == 1
        assert str(int(status)) in upstream.status().last_error


async def test_a_server_that_is_not_there_yet_is_found_when_it_is(follow):
    async def handler(connection):
        await connection.send("here")
        await connection.wait_closed()

    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        upstream, got = await follow(f"ws://127.0.0.1:{held.getsockname()[1]}/")
        await until(lambda: upstream.status().last_error)
        assert upstream.status().connections == 0
        async with server(handler, held):
            await until(lambda: got == ["here"])


async def test_something_that_is_no_websocket_server_is_tried_again(follow):
    async def garbage(reader, writer):
        writer.write(b"220 smtp.example.org\r\n")
        writer.close()

    running = await asyncio.start_server(garbage, "127.0.0.1", 0)
    port = running.sockets[0].getsockname()[1]
    waits = []

    def draw():
        waits.append(1)
        return 0.0

    upstream, _ = await follow(f"ws://127.0.0.1:{port}/", draw=draw)
    await until(lambda: len(waits) >= 3)
    assert upstream.status().connections == 0
    await cancelled(upstream)
    running.close()


async def test_a_server_that_never_answers_is_given_up_and_tried_again(follow):
    accepted = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/"
        upstream, _ = await follow(url, open_seconds=0.02)
        assert upstream.status().connections == 0
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(accepted) < 2:
                accepted.append((await asyncio.get_running_loop().sock_accept(silent))[0])
        for client in accepted:
            client.close()


async def test_an_error_in_passing_on_ends_nothing(follow):
    def fails(message):
        if message == "bad":
            raise RuntimeError("expected in this test")

    async def handler(connection):
        for message in ("good", "bad", "good again"):
            await connection.send(message)
        await connection.wait_closed()

    async with server(handler) as url:
        upstream, got = await follow(url, on_message=fails)
        await until(lambda: got == ["good", "bad", "good again"])
        assert upstream.status().connections == 1


async def test_each_upstream_is_followed_whatever_becomes_of_the_others(follow, nobody):
    others_have_failed = asyncio.Event()

    async def steady(connection):
        await connection.send("before")
        await others_have_failed.wait()
        await connection.send("after")
        await connection.wait_closed()

    async with server(clean) as fickle, server(steady) as good:
        gone, nothing = await follow(f"ws://127.0.0.1:{nobody}/")
        ended, _ = await follow(fickle)
        followed, got = await follow(good)
        await until(lambda: ended.status().connections >= 3 and gone.status().last_error)
        others_have_failed.set()
        await until(lambda: got == ["before", "after"])
        assert followed.status().connections == 1
        await cancelled(gone, ended, followed)
    assert (gone.status().connections, nothing) == (0, [])


class Failures:
    """A backoff that tells nothing but how many failures it was asked about."""

    def __init__(self, forgiving):
        self.asked = []
        self.forgiving = forgiving

    def seconds(self, failures, _draw):
        self.asked.append(failures)
        return 0.0

    def forgives(self, _lasted_seconds):
        return self.forgiving


@pytest.mark.parametrize(("forgiving", "asked"), [(False, [0, 1, 2, 3]), (True, [0, 0, 0, 0])])
async def test_a_connection_that_did_not_last_counts_as_a_failure(follow, forgiving, asked):
    failures = Failures(forgiving)
    async with server(clean) as url:
        upstream, _ = await follow(url, backoff=failures)
        await until(lambda: len(failures.asked) >= 4)
        await cancelled(upstream)
    assert failures.asked[:4] == asked


async def test_how_long_a_connection_lasted_is_what_makes_up_for_failures(follow):
    now = 0.0
    lasted = []

    class Recording(Failures):
        def forgives(self, lasted_seconds):
            lasted.append(lasted_seconds)
            return False

    async def for_an_hour(connection):
        nonlocal now
        await connection.send("hello")
        await until(lambda: upstream.status().messages)
        now += 3600.0
        await connection.close()

    async with server(for_an_hour) as url:
        upstream, _ = await follow(url, backoff=Recording(False), clock=lambda: now)
        await until(lambda: lasted)
        await cancelled(upstream)
    assert lasted[0] == 3600.0


async def test_the_status_tells_for_how_long_it_is_connected_and_waits(follow):
    now = 100.0

    def clock():
        return now

    async with server(lambda connection: connection.wait_closed()) as url:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            connecting, _ = await follow(f"ws://127.0.0.1:{silent.getsockname()[1]}/", clock=clock)
            connected, _ = await follow(url, backoff=Backoff(40.0), draw=lambda: 1.0, clock=clock)
            await until(lambda: connecting.status().state == "connecting")
            await until(lambda: connected.status().state == "connected")
            now = 107.0
            assert times(connecting) == (None, None)
            assert times(connected) == (7.0, None)
    await until(lambda: connected.status().state == "waiting")
    assert times(connected) == (None, 40.0)
    now = 117.0
    assert times(connected) == (None, 30.0)


def times(upstream):
    status = upstream.status()
    return status.connected_seconds, status.next_try_seconds


@contextlib.asynccontextmanager
async def mute_server():
    """Shake hands, and then never say a word, not even to a ping or a closing handshake."""
    heard = []
    ended = []

    async def mute(reader, writer):
        protocol = ServerProtocol()
        heard.append(protocol)
        with contextlib.suppress(ConnectionResetError):
            while data := await reader.read(65536):
                shaking_hands = protocol.state is State.CONNECTING
                protocol.receive_data(data)
                for event in protocol.events_received() if shaking_hands else ():
                    protocol.send_response(protocol.accept(event))
                    writer.write(b"".join(protocol.data_to_send()))
        writer.close()
        ended.append(protocol)

    async with await asyncio.start_server(mute, "127.0.0.1", 0) as running:
        yield f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}/", heard
        await until(lambda: len(ended) == len(heard))


async def test_a_server_that_no_longer_answers_is_left_and_tried_again(follow):
    async with mute_server() as (url, heard):
        upstream, _ = await follow(url, ping_seconds=0.01)
        await until(lambda: len(heard) >= 2)
        assert "keepalive ping timeout" in upstream.status().last_error
        await cancelled(upstream)


async def test_a_message_may_be_as_large_as_it_is_told(follow):
    async def handler(connection):
        await connection.send(b"x" * 1000)
        await connection.send(b"x" * 1001)
        await connection.wait_closed()

    async with server(handler) as url:
        upstream, got = await follow(url, message_bytes=1000)
        await until(lambda: upstream.status().last_error)
        assert "1009" in upstream.status().last_error
        assert set(got) == {b"x" * 1000}
        await cancelled(upstream)


async def test_cancelling_while_it_connects_ends_it(follow):
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        upstream, _ = await follow(f"ws://127.0.0.1:{silent.getsockname()[1]}/")
        client, _ = await asyncio.get_running_loop().sock_accept(silent)
        assert upstream.status().state == "connecting"
        await cancelled(upstream)
        with client:
            async with asyncio.timeout(DEADLINE_SECONDS):
                while await asyncio.get_running_loop().sock_recv(client, 65536):
                    pass  # its request, and then the end


async def test_cancelling_while_it_waits_ends_it(follow, nobody):
    upstream, _ = await follow(f"ws://127.0.0.1:{nobody}/", backoff=Backoff(1000.0))
    await until(lambda: upstream.status().last_error)
    assert upstream.status().state == "waiting"
    await cancelled(upstream)
    assert upstream.status().next_try_seconds is None


@pytest.mark.parametrize("busy", [False, True])
async def test_cancelling_while_it_is_connected_says_that_it_goes_away(busy):
    codes = []
    entered = asyncio.Event()

    async def passed_on(_message):
        entered.set()
        if busy:
            await asyncio.Event().wait()

    async def handler(connection):
        await connection.send("hello")
        await connection.wait_closed()
        codes.append(connection.close_code)

    async with server(handler) as url:
        upstream = Upstream(url, passed_on, backoff=SOON)
        upstream.task = asyncio.create_task(upstream.run())
        await entered.wait()
        await cancelled(upstream)
        await until(lambda: codes)
    assert codes == [1001]
    assert upstream.status().state == "waiting"


async def test_cancelling_leaves_no_task_to_be_ended_by_somebody_else():
    begun = []

    def factory(loop, coroutine, **options):
        begun.append(coroutine)
        return asyncio.Task(coroutine, loop=loop, **options)

    async with server(lambda connection: connection.send("hello")) as url:
        entered = asyncio.Event()

        async def stuck(_message):
            entered.set()
            await asyncio.Event().wait()

        task = asyncio.create_task(Upstream(url, stuck, backoff=SOON).run())
        await entered.wait()
        asyncio.get_running_loop().set_task_factory(factory)
        task.cancel()
        await asyncio.wait([task])
        await asyncio.sleep(0)
        asyncio.get_running_loop().set_task_factory(None)
    assert begun == []


@pytest.mark.parametrize("times", [1, 2])
async def test_a_server_that_does_not_answer_the_closing_handshake_holds_nothing(follow, times):
    async with mute_server() as (url, heard):
        upstream, _ = await follow(url)
        await until(lambda: upstream.status().state == "connected")
        if times == 2:  # the second one while it waits for the answer
            upstream.task.cancel()
            await until(lambda: heard[0].close_rcvd)
            assert not upstream.task.done()
        await cancelled(upstream)
        assert heard[0].close_rcvd.code == 1001


async def test_a_name_that_is_not_known_is_tried_again(follow, monkeypatch):
    asked = []

    async def unknown(host, *_arguments, **_options):
        asked.append(host)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
    upstream, _ = await follow("ws://upstream.invalid/")
    await until(lambda: len(asked) >= 3)
    assert "Name or service not known" in upstream.status().last_error


async def test_an_error_that_nobody_foresaw_is_one_more_failure(follow, monkeypatch):
    def fails(*_arguments, **_options):
        raise RuntimeError("never seen before")

    monkeypatch.setattr(upstream_module, "connect", fails)
    waits = itertools.count()
    drawn = []
    upstream, _ = await follow("ws://localhost/", draw=lambda: drawn.append(next(waits)) or 0.0)
    await until(lambda: len(drawn) >= 3)
    assert upstream.status().last_error == "RuntimeError: never seen before"


async def test_over_tls_only_a_server_that_is_trusted_is_followed(follow):
    authority = trustme.CA()
    theirs = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(theirs)
    trusting = ssl.create_default_context()
    authority.configure_trust(trusting)

    async def handler(connection):
        await connection.send("secret")
        await connection.wait_closed()

    async with server(handler, ssl=theirs) as url:
        secure = url.replace("ws://", "wss://")
        trusted, got = await follow(secure, tls=trusting)
        distrusting, nothing = await follow(secure)
        await until(lambda: got == ["secret"])
        await until(lambda: distrusting.status().last_error)
        assert "certificate verify failed" in distrusting.status().last_error
        assert nothing == []
        await cancelled(trusted, distrusting)


async def test_user_and_password_are_sent_but_not_shown(follow):
    seen = []

    def note(_connection, request):
        seen.append(request.headers["Authorization"])

    async with server(clean, process_request=note) as url:
        upstream, _ = await follow(url.replace("//", "//user:hidden@") + "?token=hidden")
        await until(lambda: seen and upstream.status().last_error)
        assert seen[0] == f"Basic {base64.b64encode(b'user:hidden').decode()}"
        assert upstream.status().url == url
        assert "hidden" not in repr(upstream.status())
        await cancelled(upstream)


@pytest.mark.parametrize(
    ("answer", "told"),
    [
        (
            b"HTTP/1.1 302 Found\r\nLocation: http://user:hidden@x/y?hidden\r\n\r\n",
            "InvalidURI: http://x/y isn't a valid URI: scheme isn't ws or wss",
        ),
        (b"HTTP/1.1 302 Found\r\nLocation: ws://[::1\r\n\r\n", "ValueError: Invalid IPv6 URL"),
        (
            b"HTTP/1.1 101 \r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: " + b"wrong " * 1000 + b"\r\n\r\n",
            "InvalidHeaderValue: invalid Sec-WebSocket-Accept header: wrong wrong",
        ),
        (b"\x00\xff\r\n" * 1000, "InvalidMessage: did not receive a valid HTTP response"),
    ],
)
async def test_a_hostile_answer_is_tried_again_and_told_in_one_short_line(follow, answer, told):
    tries = 0

    async def hostile(reader, writer):
        nonlocal tries
        tries += 1
        writer.write(answer)
        writer.close()

    async with await asyncio.start_server(hostile, "127.0.0.1", 0) as running:
        upstream, _ = await follow(f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}/")
        await until(lambda: tries >= 3)
        error = upstream.status().last_error
        assert error.startswith(told)
        assert error.isprintable()
        assert len(error) <= 200
        await cancelled(upstream)


async def test_what_a_server_gives_as_its_reason_cannot_write_to_a_terminal(follow):
    async def handler(connection):
        await connection.close(4000, "\x1b[31m\nred")

    async with server(handler) as url:
        upstream, _ = await follow(url)
        await until(lambda: upstream.status().last_error)
        assert upstream.status().last_error.isprintable()
        await cancelled(upstream)


@pytest.mark.parametrize(
    "url",
    [
        *("http://localhost", "localhost:80", "", "ws://", "ws://host name/", "ws://host/\n"),
        *("ws://host:99999/", "ws://host:port/", "ws://[::1", f"ws://{'ä' * 70}/"),
    ],
)
def test_what_is_no_websocket_url_is_told_by_name(url):
    with pytest.raises(ValueError, match=re.escape(f"upstream {url!r}")):
        Upstream(url, print, backoff=SOON)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("ws://user:hidden@host/#part", "ws://host/"),
        ("ws://user:hidden/hidden@host/", "ws://host/"),
        ("http://user:hidden@host/?hidden", "http://host/"),
        ("user:hidden@localhost:80", "localhost:80"),
    ],
)
def test_the_error_about_a_url_has_none_of_its_secrets(url, shown):
    with pytest.raises(ValueError, match=re.escape(f"upstream {shown!r}")) as told:
        Upstream(url, print, backoff=SOON)
    assert "hidden" not in "".join(traceback.format_exception(told.value))


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://user:secret@host:1/path?token=secret", "wss://host:1/path"),
        ("ws://[::1]:80/", "ws://[::1]:80/"),
        ("ws://host/@room", "ws://host/@room"),
        ("ws://host/@room#part", "ws://host/@room"),
    ],
)
def test_secrets_are_not_shown(url, shown):
    assert without_secrets(url) == shown


async def test_the_server_rebroadcasts_what_its_upstreams_say_and_goes_on_serving(serve, nobody):
    said = asyncio.Event()

    async def handler(connection):
        await said.wait()
        await connection.send("news")
        await connection.wait_closed()

    async with server(handler) as url:
        gone = f"ws://127.0.0.1:{nobody}/"
        under_test = await serve("--upstreams", f"{url},{gone}", "--upstream-room", "news")
        reader = await under_test.connect("/ws?room=news")
        other = await under_test.connect("/ws")

        async def settled():
            upstreams = (await under_test.stats())["workers"][0]["upstreams"]
            states = {upstream["url"]: upstream["state"] for upstream in upstreams}
            return states == {url: "connected", gone: "waiting"}

        await eventually(settled)
        said.set()
        assert await reader.recv() == "news"
        await other.send("not news")
        assert await other.recv() == "not news"
        assert (await under_test.get("/healthz"))["status"] == "ok"
