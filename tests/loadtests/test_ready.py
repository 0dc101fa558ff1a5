"""What is done on a connection before the load: it logs in, subscribes, joins, and then counts."""

import asyncio
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.clients.ready import kept_names, parse_steps
from loadtests.errors import UsageError
from loadtests.plan.connect_options import Client, ConnectOptions
from loadtests.scenarios.parameters import Parameters
from tests.loadtests.conftest import DEADLINE_SECONDS, Run, in_this_process
from tests.loadtests.diary import Diary, accepted
from tests.servers.launch import launch

INIT = '{"type": "connection_init", "payload": {"token": "t-{n}"}} => "connection_ack"'
SUBSCRIBE = '{"id": "s{n}", "type": "subscribe", "payload": {"query": "subscription { said }"}}'
# What is answered in order says that all before it is done.
PING = '{"type": "ping"} => "pong"'
SAY = (
    '{"id": "say", "type": "subscribe", "payload": {"query": "mutation Say($text: String!) '
    '{ say(text: $text) }", "variables": {"text": "{}"}}}'
)
clients = pytest.mark.parametrize("client", [Client.PICOWS, Client.WEBSOCKETS])


def graphql(client: Client = Client.AUTO) -> ConnectOptions:
    return ConnectOptions(subprotocols=("graphql-transport-ws",), client=client)


@clients
@pytest.mark.parametrize("scenario", ["broadcast", "chat", "storm"])
async def test_those_who_have_subscribed_are_measured(
    run: Run, scenario: str, client: Client
) -> None:
    with launch("tests.servers.graphql_ws", "0") as server:
        summary = await run(
            server.url("/graphql"),
            scenario,
            rate=20.0,
            processes=2,
            ready=(INIT, SUBSCRIBE, PING),
            options=graphql(client),
            parameters={"wrap": SAY} | ({"drop": "none"} if scenario == "storm" else {}),
        )
        done = server.stop()
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    assert done is not None
    assert summary.figures["connections.open"] == summary.figures["ready.count"] == 10
    assert done["handshakes"] == done["subscribed"] == 10
    assert done["said"] == summary.figures["messages.sent"] == 20
    assert done["deliveries"] == summary.figures["integrity.expected"] == 200
    assert summary.figures["integrity.lost"] == 0
    # What makes ready is not of the load; here that is what closes each mutation.
    assert summary.figures["messages.unsolicited"] == 20
    assert summary.figures["messages.received"] == 220
    assert (summary.figures["ready.sent"], summary.figures["ready.received"]) == (30, 20)
    assert done["received"] == 50


async def test_who_comes_back_is_made_ready_again(run: Run) -> None:
    with launch("tests.servers.graphql_ws", "0") as server:
        summary = await run(
            server.url("/graphql"),
            "storm",
            rate=20.0,
            duration_seconds=2.0,
            ready=(INIT, SUBSCRIBE, PING),
            options=graphql(),
            parameters={"wrap": SAY, "backoff": "none"},
        )
        done = server.stop()
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    assert done is not None
    assert summary.figures["storm.back"] == 9
    assert done["subscribed"] == 19
    assert summary.figures["ready.count"] + summary.figures["ready_later.count"] == 19
    assert summary.figures["integrity.lost"] == 0


@pytest.mark.parametrize(
    ("step", "flags", "error", "waits"),
    [
        (INIT.replace("t-", "x-"), [], "ready:closed-4403", 60.0),
        (PING, [], "ready:closed-4401", 60.0),
        (INIT, ["--silent"], "ready:no answer", 0.5),
    ],
)
async def test_a_connection_that_is_not_ready_is_not_open(
    run: Run, step: str, flags: list[str], error: str, waits: float
) -> None:
    with launch("tests.servers.graphql_ws", "0", *flags) as server:
        summary = await run(
            server.url(),
            "hold",
            connections=4,
            ready=(step,),
            options=graphql(),
            handshake_timeout_seconds=waits,
        )
        done = server.stop()
    assert summary.errors == {error: 4}
    assert summary.figures["connections.open"] == 0
    assert summary.figures["connections.failed"] == 4
    assert done is not None
    assert done["handshakes"] == 4


async def test_what_an_answer_says_is_filled_in_later(run: Run) -> None:
    """The reference server gives each client an id, by which it can be sent to."""
    with launch("tests.servers.json_chat", "0") as server:
        summary = await run(
            server.url("/ws?token=t-{n}"),
            "echo",
            rate=40.0,
            ready=(
                r'=> regex:"you": "(?P<name>[^"]+)"',
                '{"type": "ping", "id": "{saved.name}"} => "pong", "id": "{saved.name}"',
                # In a pattern what is filled in stands for itself: t.1 is not t-1.
                '{"type": "ping", "id": "t.{n}"} => regex:"pong".*"t.{n}"',
                '{"type": "ping", "id": "({n})"} => regex:"pong", "id": "[({]{n}[)}]"',
            ),
            parameters={"wrap": '{"type": "echo", "as": "{saved.name}", "text": "{}"}'},
        )
        done = server.stop()
    assert summary.errors == {}
    assert done is not None
    assert done["echoed"] == summary.figures["latency.count"] == 40
    assert done["pongs"] == 30
    assert summary.figures["messages.unsolicited"] == 0


@given(st.text(alphabet="ab.*+?(){}[]^$|\\-\n", min_size=1))
def test_what_is_filled_into_a_pattern_stands_for_itself(value: str) -> None:
    (keeps, waits) = parse_steps(["=> regex:(?P<x>.)", "=> regex:^<{saved.x}{feed.y}{n%7}>$"])
    assert kept_names(keeps) == {"x"}
    assert kept_names(waits) == set()
    pattern = waits.pattern(12, {"y": value}, {"x": value})
    assert pattern.search(f"<{value}{value}5>".encode())
    assert not pattern.search(f"<{value}{value}12>".encode())


async def test_a_row_of_the_feed_is_filled_in(run: Run, tmp_path: Path) -> None:
    feed = tmp_path / "users.csv"
    feed.write_text("token\nt-ann\nt-bob\n")
    with launch("tests.servers.graphql_ws", "0") as server:
        summary = await run(
            server.url(),
            "hold",
            feed=str(feed),
            ready=(INIT.replace("t-{n}", "{feed.token}"),),
            options=graphql(),
        )
    assert summary.errors == {}
    with pytest.raises(UsageError, match=r"feed.name. is not in the feed, which has token"):
        await run("ws://127.0.0.1:9/", feed=str(feed), ready=("{feed.name}",), name="refused")


@pytest.mark.parametrize(
    ("ready", "parameters", "complaint"),
    [
        ((" ",), {}, "--ready: ' ' is not a step"),
        (("=> ",), {}, "is not a step"),
        (("a => regex:(",), {}, "unterminated subpattern"),
        (("login =>",), {}, "is not a step"),
        (("=> {saved.id}",), {}, "refers to {saved.id}, which no step before it keeps"),
        ((), {"wrap": "{feed.user} {}"}, "feed.user. is not in the feed, which has no feed"),
        ((), {"wrap": "${NOT_SET_ANYWHERE} {}"}, "the variable NOT_SET_ANYWHERE is not set"),
        (("{saved.id}",), {}, "refers to {saved.id}, which no step before it keeps"),
        ((), {"wrap": "{saved.id} {}"}, "wrap refers to {saved.id}, which no step"),
    ],
)
async def test_steps_that_cannot_be_are_refused(
    run: Run, ready: tuple[str, ...], parameters: dict[str, str], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        await run("ws://127.0.0.1:9/", ready=ready, parameters=parameters)


@clients
async def test_what_comes_with_the_last_answer_is_of_the_load(client: Client) -> None:
    """Also where both come in one read, before the connection counts as open."""

    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(accepted(await reader.readuntil(b"\r\n\r\n")))
        await writer.drain()
        # The step that is answered.
        await reader.read(1)
        writer.write(b"\x81\x03ack" + b"\x81\x05first" + b"\x81\x06second")
        with suppress(ConnectionError):
            await reader.read()
        writer.close()
        ended.set()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        diary, pool, recorder = in_this_process(
            lambda share, recorder: Diary(share, Parameters(), recorder),
            port=server.sockets[0].getsockname()[1],
            connections=1,
            scenario="hold",
            ready=("hello => ack",),
            options=ConnectOptions(client=client),
        )
        await pool.open(0)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(diary.entries) < 3:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        assert diary.entries == ["opened", "first", "second"]
        assert (recorder.received, recorder.received_bytes) == (2, 11)
        interval = recorder.take("open")
        assert {"first_message", "ready"} <= set(interval.histograms)
        pool.abort_all()
        await ended.wait()


TEXTS = st.text(min_size=1).filter(lambda text: text.strip() == text and "=>" not in text)


@given(TEXTS, TEXTS)
def test_a_step_says_what_is_sent_and_what_is_waited_for(send: str, expect: str) -> None:
    if "{saved." in send or expect.startswith("regex:"):
        return
    (both,) = parse_steps([f"{send} => {expect}"])
    assert both.send == send
    assert both.expect == expect
    (alone,) = parse_steps([send])
    assert alone.send == send
    assert alone.expect is None
    (waits,) = parse_steps([f"=> {expect}"])
    assert waits.send is None
    assert waits.expect == expect
