"""What becomes of connections for which a feed has no row any more is chosen, and reported."""

import json
from pathlib import Path

import pytest
from websockets.asyncio.server import ServerConnection, serve

from loadtests.errors import UsageError
from loadtests.plan.connect_options import ConnectOptions
from loadtests.plan.feed import FeedPolicy, NoRowError, row_of
from tests.loadtests.conftest import LOSSY_COLLECT_SECONDS, Run
from tests.servers.launch import launch

BEARER = ConnectOptions(bearer="{feed.token}")


@pytest.fixture
def feed(tmp_path: Path) -> str:
    path = tmp_path / "users.csv"
    path.write_text("token\nt-0\nt-1\nt-2\n")
    return str(path)


async def test_rows_that_are_given_again_are_warned_of(run: Run, feed: str) -> None:
    with launch("tests.servers.plain_websockets", "0") as server:
        summary = await run(server.url("/ws"), "hold", connections=4, feed=feed, options=BEARER)
        enough = await run(
            server.url("/ws"), "hold", connections=3, feed=feed, options=BEARER, name="enough"
        )
    assert summary.warnings == (
        f"{feed} has 3 rows for 4 connections, so rows were reused (--feed-policy)",
    )
    assert enough.warnings == ()


async def test_no_more_connections_than_rows_may_be_opened(run: Run, feed: str) -> None:
    with launch("tests.servers.plain_websockets", "0") as server:
        summary = await run(
            server.url("/ws"),
            "hold",
            connections=10,
            processes=5,
            feed=feed,
            feed_policy=FeedPolicy.STOP,
        )
    assert summary.figures["connections.requested"] == summary.figures["connections.opened"] == 3
    assert summary.warnings == ()
    assert summary.errors == {}


async def test_more_connections_than_rows_may_be_refused(run: Run, feed: str) -> None:
    with pytest.raises(UsageError, match=r"users\.csv has 3 rows for 4 connections; use"):
        await run(
            "ws://127.0.0.1:9/", "hold", connections=4, feed=feed, feed_policy=FeedPolicy.ONCE
        )


async def test_clients_that_come_later_have_no_row_left(run: Run, feed: str) -> None:
    with launch("tests.servers.plain_websockets", "0") as server:
        summary = await run(
            server.url("/ws"),
            "churn",
            connections=2,
            rate=10.0,
            feed=feed,
            feed_policy=FeedPolicy.STOP,
        )
    figures = summary.figures
    assert figures["churn.arrived"] == 1
    assert summary.errors == {"feed:no row": figures["churn.arrivals"] - 1}


def test_a_row_is_given_once_or_again() -> None:
    rows = ({"a": 1}, {"a": 2})
    assert [row_of(rows, number, FeedPolicy.CYCLE) for number in range(3)] == [*rows, rows[0]]
    for policy in (FeedPolicy.STOP, FeedPolicy.ONCE):
        assert row_of(rows, 1, policy) == rows[1]
        with pytest.raises(NoRowError):
            row_of(rows, 2, policy)
    assert row_of((), 7, FeedPolicy.ONCE) is None


@pytest.mark.parametrize("scenario", ["echo", "chat"])
async def test_each_sender_fills_its_own_row_into_what_it_sends(
    run: Run, tmp_path: Path, scenario: str
) -> None:
    path = tmp_path / "users.csv"
    path.write_text("user\nann\nbob\n")
    received: list[tuple[str, str]] = []

    async def hear(connection: ServerConnection) -> None:
        assert connection.request is not None
        async for message in connection:
            received.append((connection.request.path, json.loads(message)["by"]))
            await connection.send(message)

    async with serve(hear, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        summary = await run(
            f"ws://127.0.0.1:{port}/{{n}}",
            scenario,
            connections=2,
            rate=10.0,
            feed=str(path),
            parameters={"wrap": '{"by": "{feed.user}", "text": "{}"}'}
            | ({"publishers": "2"} if scenario == "chat" else {}),
            collect_seconds=LOSSY_COLLECT_SECONDS,
        )
    assert len(received) == summary.figures["messages.sent"] == 10
    assert set(received) == {("/0", "ann"), ("/1", "bob")}


async def test_a_row_that_lacks_what_is_sent_is_refused(run: Run, feed: str) -> None:
    with pytest.raises(UsageError, match=r"feed.user. is not in the feed, which has token"):
        await run(
            "ws://127.0.0.1:9/", feed=feed, parameters={"wrap": '{"by": "{feed.user}", "t": "{}"}'}
        )
