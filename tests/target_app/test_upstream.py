"""The server as a client: real upstream servers that come, go and misbehave."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from http import HTTPStatus

import pytest
from websockets.asyncio.server import serve as websocket_server

from target_app.backoff import Backoff
from target_app.upstream import Upstream, without_secrets
from tests.target_app.conftest import until as eventually

SOON = Backoff(0.002, 0.01)


async def until(condition):
    async with asyncio.timeout(60):
        while not condition():  # noqa: ASYNC110 - the state is another server's
            await asyncio.sleep(0.002)


@pytest.fixture
async def follow():
    """Run an upstream client, and return it with what it has passed on."""
    async with contextlib.AsyncExitStack() as stack:

        async def start(url, *, on_message=None, backoff=SOON, **options):
            got = []

            async def passed_on(message):
                got.append(message)
                if on_message is not None:
                    on_message(message)

            upstream = Upstream(url, passed_on, backoff=backoff, **options)
            task = asyncio.create_task(upstream.run())

            async def stop():
                task.cancel()
                await asyncio.wait([task])
                assert task.cancelled()

            stack.push_async_callback(stop)
            return upstream, got

        yield start


@contextlib.asynccontextmanager
async def server(handler, port=0, **options):
    async with websocket_server(handler, "127.0.0.1", port, **options) as running:
        yield f"ws://127.0.0.1:{running.sockets[0].getsockname()[1]}/"


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as free:
        return free.getsockname()[1]


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


@pytest.mark.parametrize("ending", [clean, going_away, error, cut, too_big])
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
        assert upstream.status().last_error


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


class Waits:
    """A backoff that notes how many failures it was told of, and waits for next to nothing."""

    def __init__(self, longest_seconds):
        self.longest_seconds = longest_seconds
        self.failures = []

    def seconds(self, failures, draw):
        self.failures.append(failures)
        return 0.001


@pytest.mark.parametrize(("longest", "counted"), [(1000.0, [0, 1, 2, 3]), (0.0, [0, 0, 0, 0])])
async def test_only_a_connection_that_has_lasted_makes_up_for_failures(follow, longest, counted):
    waits = Waits(longest)
    async with server(clean) as url:
        await follow(url, backoff=waits)
        await until(lambda: len(waits.failures) >= 4)
    assert waits.failures[:4] == counted


async def test_a_server_that_is_not_there_yet_is_found_when_it_is(follow):
    port = free_port()
    upstream, got = await follow(f"ws://127.0.0.1:{port}/")
    await until(lambda: upstream.status().last_error)
    assert upstream.status().connections == 0

    async def handler(connection):
        await connection.send("here")
        await connection.wait_closed()

    async with server(handler, port):
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
    running.close()


async def test_a_server_that_never_answers_is_given_up_and_tried_again(follow):
    accepted = []
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.setblocking(False)
        url = f"ws://127.0.0.1:{silent.getsockname()[1]}/"
        upstream, _ = await follow(url, open_seconds=0.02)
        assert upstream.status().connections == 0
        async with asyncio.timeout(60):
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


async def test_cancelling_ends_it_whatever_it_is_doing(follow):
    async def handler(connection):
        await connection.wait_closed()

    with socket.create_server(("127.0.0.1", 0)) as silent:
        connecting, _ = await follow(f"ws://127.0.0.1:{silent.getsockname()[1]}/")
        waiting, _ = await follow(f"ws://127.0.0.1:{free_port()}/", backoff=Backoff(1000.0))
        async with server(handler) as url:
            connected, _ = await follow(url)
            await until(lambda: connecting.status().state == "connecting")
            await until(lambda: waiting.status().state == "waiting")
            await until(lambda: connected.status().state == "connected")
    # The fixture cancels all three and asserts that they have ended by it.


@pytest.mark.parametrize("url", ["http://localhost", "localhost:80", "", "ws://"])
def test_what_is_no_websocket_url_is_told_by_name(url):
    with pytest.raises(ValueError, match=f"upstream {url!r}"):
        Upstream(url, print, backoff=SOON)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("wss://user:secret@host:1/path?token=secret", "wss://host:1/path"),
        ("ws://[::1]:80/", "ws://[::1]:80/"),
    ],
)
def test_secrets_are_not_shown(url, shown):
    assert without_secrets(url) == shown


async def test_the_server_rebroadcasts_what_its_upstreams_say_and_goes_on_serving(serve):
    said = asyncio.Event()

    async def handler(connection):
        await said.wait()
        await connection.send("news")
        await connection.wait_closed()

    async with server(handler) as url:
        gone = f"ws://127.0.0.1:{free_port()}/"
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
