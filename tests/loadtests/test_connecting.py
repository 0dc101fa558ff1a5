"""How connections are made: what the server is sent, what was agreed on, over what; both clients.

The server here runs in the test's own process, so that it can be asked what it saw.
"""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import trustme
from websockets.asyncio.server import Server, ServerConnection, serve, unix_serve

from loadtests.clients.dial import Dialer
from loadtests.clients.pool import ConnectionPool
from loadtests.errors import UsageError
from loadtests.measure.recorder import Recorder
from loadtests.plan.connect_options import Client, ConnectOptions
from loadtests.plan.plan import Endpoint, Plan, ProcessPlan
from loadtests.plan.template import fill
from loadtests.scenarios.hold import Hold
from loadtests.scenarios.parameters import Parameters
from reports.terminal import summary_text
from tests.loadtests.conftest import (
    DEADLINE_SECONDS,
    LOSSY_COLLECT_SECONDS,
    Run,
    in_this_process,
)
from tests.loadtests.diary import Diary, accepted
from tests.servers.launch import known

CLIENTS = pytest.mark.parametrize("client", [Client.PICOWS, Client.WEBSOCKETS])


@dataclass
class Seen:
    """What a server saw of its clients."""

    port: int = 0
    headers: list[dict[str, str]] = field(default_factory=list)
    addresses: set[str] = field(default_factory=set)
    paths: set[str] = field(default_factory=set)


@asynccontextmanager
async def echo(
    start: Callable[..., Any] = serve, *where: Any, **options: Any
) -> AsyncIterator[Seen]:
    """Echo in this process."""
    seen = Seen()

    async def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.headers.append(dict(connection.request.headers.raw_items()))
        seen.paths.add(connection.request.path)
        seen.addresses.add(str((connection.remote_address or ("",))[0]))
        async for message in connection:
            await connection.send(message)

    server: Server
    async with start(handle, *(where or ("127.0.0.1", 0)), **options) as server:
        if start is serve:
            seen.port = next(iter(server.sockets)).getsockname()[1]
        yield seen


async def load(run: Run, url: str, client: Client = Client.AUTO, **options: Any) -> Any:
    options = {"client": client} | options
    plan = options.pop("plan", {})
    return await run(url, rate=40.0, options=ConnectOptions(**options), **plan)


def is_clean(summary: Any) -> bool:
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    assert summary.figures["latency.count"] == 40
    assert summary.figures["integrity.lost"] == summary.figures["integrity.corrupted"] == 0
    return True


@CLIENTS
async def test_headers_and_all_that_is_sent_in_them(
    run: Run, tmp_path: Path, client: Client
) -> None:
    feed = tmp_path / "users.csv"
    feed.write_text("user,token\nann,t-1\nbob,t-2\n")
    async with echo() as seen:
        summary = await load(
            run,
            f"ws://127.0.0.1:{seen.port}/{{feed.user}}?room={{n%5}}",
            client,
            headers=("X-Number: {n}", "X-Words: a b"),
            cookies=("a=1", "b={n}"),
            bearer="{feed.token}",
            origin="https://example.org",
            plan={"feed": str(feed), "processes": 2},
        )
    assert is_clean(summary)
    assert {headers["X-Number"] for headers in seen.headers} == {str(n) for n in range(10)}
    for headers in seen.headers:
        number = int(headers["X-Number"])
        assert headers["X-Words"] == "a b"
        assert headers["Cookie"] == f"a=1; b={number}"
        assert headers["Authorization"] == f"Bearer t-{number % 2 + 1}"
        assert headers["Origin"] == "https://example.org"
    assert seen.paths == {f"/{('ann', 'bob')[n % 2]}?room={n % 5}" for n in range(10)}


@CLIENTS
async def test_a_subprotocol_is_agreed_on_and_on_the_record(run: Run, client: Client) -> None:
    async with echo(subprotocols=["b"]) as seen:  # type: ignore[arg-type]
        url = f"ws://127.0.0.1:{seen.port}/"
        summary = await load(run, url, client, subprotocols=("a", "b"))
    assert is_clean(summary)
    assert summary.negotiated == {"no extension, subprotocol b": 10}
    assert "subprotocol b × 10" in summary_text(summary)


@pytest.mark.parametrize(("deflate", "extensions"), [(True, "permessage-deflate"), (False, "")])
async def test_deflate_is_offered_only_when_asked_for(
    run: Run, deflate: bool, extensions: str
) -> None:
    async with echo() as seen:
        summary = await load(run, f"ws://127.0.0.1:{seen.port}/", deflate=deflate)
    assert is_clean(summary)
    assert all(
        extensions in headers.get("Sec-WebSocket-Extensions", "") for headers in seen.headers
    )
    assert ("permessage-deflate" in next(iter(summary.negotiated))) == deflate
    assert any("Sec-WebSocket-Extensions" in headers for headers in seen.headers) == deflate


@CLIENTS
async def test_tls_with_an_authority_and_a_certificate_of_our_own(
    run: Run, tmp_path: Path, client: Client
) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    authority.configure_trust(context)
    context.verify_mode = ssl.CERT_REQUIRED
    ours = authority.issue_cert("client@example.org")
    authority.cert_pem.write_to_path(str(tmp_path / "ca.pem"))
    ours.cert_chain_pems[0].write_to_path(str(tmp_path / "cert.pem"))
    ours.private_key_pem.write_to_path(str(tmp_path / "key.pem"))
    trusted = {
        "ca": str(tmp_path / "ca.pem"),
        "cert": str(tmp_path / "cert.pem"),
        "key": str(tmp_path / "key.pem"),
    }
    async with echo(ssl=context) as seen:
        url = f"wss://127.0.0.1:{seen.port}/"
        summary = await load(run, url, client, **trusted)
    assert is_clean(summary)
    figures = summary.figures
    assert figures["tls.count"] == figures["upgrade.count"] == figures["tcp_connect.count"] == 10
    parts = sum(figures[f"{part}.mean_seconds"] for part in ("tcp_connect", "tls", "upgrade"))
    assert parts == pytest.approx(figures["open.mean_seconds"], rel=0.05)


@CLIENTS
async def test_a_certificate_that_is_missing_or_unknown_is_reported(
    run: Run, tmp_path: Path, client: Client
) -> None:
    authority = trustme.CA()
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    context.verify_mode = ssl.CERT_REQUIRED
    async with echo(ssl=context) as seen:
        url = f"wss://127.0.0.1:{seen.port}/"
        unknown = await load(run, url, client)
        (tmp_path / "run.run.jsonl").unlink()
        missing = await load(run, url, client, insecure=True)
    assert set(unknown.errors) == {"tls:bad-certificate"}
    # TLS 1.3 lets a client believe that it is done before the server has looked (RFC 8446, 4.4.2).
    assert set(missing.errors) <= {"tls:refused-by-server", "upgrade:closed", "upgrade:reset"}
    assert missing.errors


@CLIENTS
async def test_connections_come_from_the_sources_in_turn(run: Run, client: Client) -> None:
    async with echo() as seen:
        url = f"ws://127.0.0.1:{seen.port}/"
        summary = await load(run, url, client, sources=("127.0.0.8/30", "127.1.2.3"))
    assert is_clean(summary)
    assert seen.addresses == {"127.0.0.9", "127.0.0.10", "127.1.2.3"}


async def test_a_unix_socket(run: Run, tmp_path: Path) -> None:
    path = str(tmp_path / "socket")
    async with echo(unix_serve, path):
        summary = await load(run, "ws://localhost/", unix_socket=path)
    assert is_clean(summary)


@CLIENTS
async def test_ipv6(run: Run, client: Client) -> None:
    async with echo(serve, "::1", 0) as seen:
        summary = await load(run, f"ws://[::1]:{seen.port}/", client)
    assert is_clean(summary)
    assert seen.addresses == {"::1"}


async def test_an_http_proxy(run: Run) -> None:
    asked = []

    async def tunnel(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        asked.append(head.split()[:2])
        host, _, port = head.split()[1].decode().rpartition(":")
        inner, outer = await asyncio.open_connection(host, int(port))
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

        async def pump(source: asyncio.StreamReader, sink: asyncio.StreamWriter) -> None:
            while data := await source.read(65536):
                sink.write(data)
            sink.close()

        await asyncio.gather(pump(reader, outer), pump(inner, writer), return_exceptions=True)

    proxy = await asyncio.start_server(tunnel, "127.0.0.1", 0)
    port = proxy.sockets[0].getsockname()[1]
    async with proxy, echo() as seen:
        url = f"ws://127.0.0.1:{seen.port}/"
        summary = await load(run, url, proxy=f"http://127.0.0.1:{port}")
    assert is_clean(summary)
    assert asked == [[b"CONNECT", f"127.0.0.1:{seen.port}".encode()]] * 10


@CLIENTS
@pytest.mark.parametrize(
    ("handshake", "seconds", "error"),
    [
        ("garbage", 60.0, "upgrade:not-http"),
        ("mute", 0.5, "upgrade:timeout"),
        ("hang-up", 60.0, "upgrade:closed"),
    ],
)
async def test_a_handshake_that_fails_is_named_by_its_cause(
    run: Run, client: Client, handshake: str, seconds: float, error: str
) -> None:
    with known("--handshake", handshake) as server:
        summary = await run(
            server.url(),
            concurrent=5,
            handshake_timeout_seconds=seconds,
            options=ConnectOptions(client=client),
        )
    assert set(summary.errors) == {error}


@CLIENTS
async def test_refusals_and_close_codes(run: Run, client: Client) -> None:
    options = ConnectOptions(client=client)
    with known("--refuse-every", "2", "--close-after", "3", "--close-code", "4001") as server:
        summary = await run(server.url("/echo"), rate=100.0, options=options)
        server.stop()
    assert summary.errors["upgrade:http-403"] == 5
    assert summary.close_codes == {4001: 5}
    assert summary.errors["closed:4001"] == 5


@CLIENTS
async def test_faults_are_counted_the_same(run: Run, client: Client) -> None:
    options = ConnectOptions(client=client)
    with known("--lose-every", "7", "--duplicate-every", "11") as server:
        summary = await run(
            server.url("/echo"),
            rate=200.0,
            options=options,
            collect_seconds=LOSSY_COLLECT_SECONDS,
        )
        injected = server.stop()
    assert summary.figures["integrity.duplicated"] == injected["duplicated"] > 0
    assert summary.figures["integrity.lost"] == injected["lost"] > 0


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"headers": ("no colon",)}, "header 'no colon' is not of the form"),
        ({"headers": ("A: b\r\nC: d",)}, "has a control character"),
        ({"headers": ("Upgrade: h2c",)}, "header Upgrade is set by the handshake"),
        ({"cookies": ("a",)}, "cookie 'a' is not of the form name=value"),
        ({"subprotocols": ("a b",)}, "subprotocol 'a b' is not a token"),
        ({"bearer": "a\nb"}, "bearer 'a\\\\nb' has a control character"),
        ({"key": "k.pem"}, "a key without a certificate"),
        ({"ca": "nowhere.pem"}, "cannot use the certificates in nowhere.pem"),
        ({"ca": "x", "insecure": True}, "--insecure accepts any certificate"),
        ({"sources": ("127.0.0.300",)}, "source '127.0.0.300'"),
        ({"unix_socket": "/nowhere"}, "there is no Unix socket /nowhere"),
        ({"proxy": "127.0.0.1:3128"}, "expected something like http"),
        ({"deflate": True, "client": Client.PICOWS}, "picows does not support permessage-deflate"),
        ({"deflate": True, "proxy": "http://h:1"}, "no client supports both a proxy and"),
    ],
)
async def test_an_option_that_cannot_be_is_refused(
    run: Run, options: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        await run("ws://127.0.0.1:9/", options=ConnectOptions(**options))


async def test_a_value_that_the_feed_lacks_is_refused_before_anything_starts(
    run: Run, tmp_path: Path
) -> None:
    feed = tmp_path / "a.csv"
    feed.write_text("user\nann\n")
    with pytest.raises(UsageError, match=r"\{feed.token\} is not in the feed, which has user"):
        await run("ws://127.0.0.1:9/{feed.token}", feed=str(feed))
    feed.write_text('user\n"ann\nX-Evil: 1"\n')
    with pytest.raises(UsageError, match="control character"):
        await run("ws://127.0.0.1:9/", feed=str(feed), options=ConnectOptions(bearer="{feed.user}"))


def test_places_are_filled_in() -> None:
    assert fill("a{n}b{n%3}c{feed.x}{y}", 7, {"x": 5}) == "a7b1c5{y}"
    assert fill("plain", 7) == "plain"


async def test_a_wrong_accept_key_is_reported(run: Run) -> None:
    """RFC 6455 section 4.1: the client must fail such a connection."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        head = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        writer.write(f"{head}Sec-WebSocket-Accept: d3Jvbmc=\r\n\r\n".encode())
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    seen = set()
    async with server:
        for number, client in enumerate((Client.PICOWS, Client.WEBSOCKETS)):
            options = ConnectOptions(client=client)
            url = f"ws://127.0.0.1:{port}/"
            summary = await run(url, connections=2, options=options, name=f"{number}")
            seen |= set(summary.errors)
    assert seen == {"upgrade:bad-sec-websocket-accept"}


@CLIENTS
async def test_an_answer_in_the_moment_of_the_timeout_is_an_opening_or_a_failure_and_not_both(
    client: Client,
) -> None:
    with known("--handshake", "late") as server:
        # It answers after a second, and the time is over after half of one; both happen while
        # nobody looks.
        plan = Plan(
            server.url(),
            1,
            "hold",
            {},
            handshake_timeout_seconds=0.5,
            options=ConnectOptions(client=client),
        )
        share = ProcessPlan(plan, 0, Endpoint("127.0.0.1", server.port), (), 0)
        recorder = Recorder(0, 0, 64)
        scenario, dialer = Hold(share, Parameters(), recorder), Dialer(share, recorder)
        pool = ConnectionPool(share, scenario, dialer, recorder, lambda *_, **__: None)
        opening = asyncio.create_task(pool.open_planned(1))
        for _ in range(20):
            await asyncio.sleep(0.001)
        time.sleep(2.0)  # noqa: ASYNC251 - this is what is tested
        await opening
        assert recorder.opened + recorder.failed == 1
        pool.abort_all()


@CLIENTS
@pytest.mark.parametrize("moment", ["unanswered", "answering", "answered"])
async def test_an_opening_that_is_cancelled_does_not_open_unknown_to_anybody(
    client: Client, moment: str
) -> None:
    """Whoever closes all connections would not know of it, and wait for it to time out."""
    asked, answer = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()

    async def wait(*_: Any) -> None:
        asked.set()
        await answer.wait()

    def stop(connection: ServerConnection, *_: Any) -> None:
        if moment == "answering":
            opening.cancel()
        elif moment == "answered":
            loop.call_soon(opening.cancel)

    async def handle(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0, process_request=wait, process_response=stop) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        _, pool, recorder = in_this_process(
            lambda share, recorder: Hold(share, Parameters(), recorder),
            port=port,
            connections=2,
            scenario="hold",
            options=ConnectOptions(client=client),
        )
        opening = asyncio.create_task(pool.open(0))
        async with asyncio.timeout(DEADLINE_SECONDS):
            await asked.wait()
            if moment == "unanswered":
                opening.cancel()
                await asyncio.wait((opening,))
            answer.set()
            await asyncio.wait((opening,))
            # Answered after the first one.
            await pool.open(1)
            # One that has opened is known, and can be closed in order.
            assert len(pool.open_connections()) == recorder.open == recorder.opened
            assert moment != "unanswered" or recorder.opened == 1
            await pool.close_all()
            while recorder.open:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
    assert opening.cancelled()
    assert set(recorder.close_codes) == {1000}
    assert recorder.errors == {}


@CLIENTS
async def test_a_scenario_learns_of_an_opening_before_all_else(client: Client) -> None:
    """Also where a message and the end come in one piece with the answer to the handshake."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        asked = await reader.readuntil(b"\r\n\r\n")
        writer.write(accepted(asked) + b"\x81\x05hello" + b"\x88\x02\x03\xe8")
        await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        diary, pool, recorder = in_this_process(
            lambda share, recorder: Diary(share, Parameters(), recorder),
            port=server.sockets[0].getsockname()[1],
            connections=1,
            scenario="hold",
            options=ConnectOptions(client=client),
        )
        async with asyncio.timeout(DEADLINE_SECONDS):
            await pool.open(0)
            while not recorder.closed:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
    assert diary.entries == ["opened", "hello", "closed"]


async def test_a_connection_whose_state_cannot_be_made_is_known_all_the_same() -> None:
    class Broken(Diary):
        def new_state(self, number: int) -> Any:
            raise LookupError(number)

    async with echo() as server:
        diary, pool, recorder = in_this_process(
            lambda share, recorder: Broken(share, Parameters(), recorder),
            port=server.port,
            connections=1,
            scenario="hold",
        )
        await pool.open(0)
        assert len(pool.open_connections()) == recorder.open == 1
        pool.serve(diary)
        await pool.close_all()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while recorder.open:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
    assert diary.entries == ["closed"]
    assert recorder.errors == {"script:LookupError: 0": 2}
