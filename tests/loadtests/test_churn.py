"""A churning pool stays the same in number, and every arrival is timed."""

import asyncio
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

from websockets.asyncio.server import Request, Response, ServerConnection, serve

from loadtests.plan.target_source import TargetSource
from tests.loadtests.conftest import Run

URL = "ws://127.0.0.1:{port}/ws"

Answer = Callable[[ServerConnection, Request], Response | Awaitable[Response | None] | None]


@asynccontextmanager
async def listening(answer: Answer) -> AsyncIterator[str]:
    """Listen to clients in this process, whose handshakes are answered so; give the address."""

    async def listen(connection: ServerConnection) -> None:
        await connection.wait_closed()

    async with serve(listen, "127.0.0.1", 0, process_request=answer) as server:
        yield f"ws://127.0.0.1:{next(iter(server.sockets)).getsockname()[1]}/"


async def test_as_many_come_as_go(run: Run, broadcaster: TargetSource) -> None:
    # More than there are arrivals: those who leave are of them, however late the arrivals are.
    summary = await run(URL, "churn", source=broadcaster, connections=200, processes=2, rate=80.0)
    figures = summary.figures
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    assert figures["churn.arrived"] == figures["churn.arrivals"] == figures["arrival.count"] == 80
    assert figures["churn.left"] == 80
    assert figures["connections.opened"] == figures["connections.open"] == 200
    assert figures["connections.opened_later"] == 80
    # About half of those who left did so without a closing handshake.
    assert 10 < summary.close_codes[1006] < 70
    assert summary.close_codes[1000] + summary.close_codes[1006] == 280


async def test_as_many_go_where_those_who_come_are_long_on_their_way(run: Run) -> None:
    async def wait(_connection: ServerConnection, _request: Request) -> None:
        await asyncio.sleep(0.2)

    # Ten come while one is on its way, so that often nobody is there who could leave.
    async with listening(wait) as url:
        summary = await run(url, "churn", connections=2, rate=50.0)
    figures = summary.figures
    assert summary.valid, summary.reasons
    assert (summary.errors, summary.failures) == ({}, ())
    assert figures["churn.arrived"] == figures["churn.left"] == 50
    assert figures["connections.open"] == 2


async def test_a_server_that_refuses_for_a_while_has_as_many_as_before_in_the_end(run: Run) -> None:
    asked = 0

    def refuse(connection: ServerConnection, _request: Request) -> Response | None:
        nonlocal asked
        asked += 1
        # The ten that come first are let in, the fifty after them are not.
        return connection.respond(503, "busy") if 10 < asked <= 60 else None

    async with listening(refuse) as url:
        summary = await run(url, "churn", connections=10, rate=150.0)
    figures = summary.figures
    assert summary.errors == {"upgrade:http-503": 50}
    assert figures["churn.arrivals"] == 150
    assert figures["churn.arrived"] == 100
    # Where nobody was left, nobody could leave either; who came afterwards stayed.
    assert figures["connections.open"] == 10


async def test_who_cannot_arrive_takes_nobody_s_place(run: Run, broadcaster: TargetSource) -> None:
    summary = await run(
        *(URL, "churn"),
        source=broadcaster,
        connections=5,
        rate=2000.0,
        duration_seconds=0.2,
        parameters={"at_once": 1},
    )
    figures = summary.figures
    assert summary.errors["churn:too many under way"] > 0
    assert figures["churn.arrived"] == figures["churn.left"]
    assert figures["connections.open"] == 5


async def test_arrivals_at_a_server_that_refuses_them_are_errors(run: Run) -> None:
    command = (sys.executable, "-m", "target_app", "--port", "{port}", "--max-connections", "10")
    source = TargetSource(command)
    summary = await run(
        URL, "churn", source=source, connections=10, rate=40.0, parameters={"leave": "close"}
    )
    refused = summary.errors.get("upgrade:http-503", 0)
    assert summary.figures["churn.arrived"] + refused == summary.figures["churn.arrivals"] == 40
