"""A reconnect storm: all come back, and what they missed is counted apart from what was lost."""

import asyncio
import sys
from time import perf_counter_ns
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve
from websockets.datastructures import Headers
from websockets.http11 import Request, Response

from loadtests.clients.backoff import Backoff, BackoffKind
from loadtests.measure.ledger import Ledger
from loadtests.measure.load_window import LoadWindow
from loadtests.plan.target_source import TargetSource
from loadtests.scenarios.storm import Guest, Storm, StormParameters
from reports.record import read_record
from reports.terminal import summary_text
from tests.loadtests.conftest import (
    DEADLINE_SECONDS,
    LOSSY_COLLECT_SECONDS,
    Run,
    broadcasting,
    in_this_process,
)

URL = "ws://127.0.0.1:{port}/ws"
QUICK = {"first": "10ms", "longest": "50ms"}


@pytest.mark.parametrize("drop", ["abort", "close"])
async def test_everybody_comes_back_and_misses_what_was_sent_meanwhile(
    run: Run, broadcaster: TargetSource, drop: str, tmp_path: Any
) -> None:
    parameters = {"drop": drop, "backoff": "fixed", "first": "1s", "jitter": "none"}
    summary = await run(
        URL,
        "storm",
        source=broadcaster,
        connections=20,
        processes=2,
        rate=50.0,
        duration_seconds=2.5,
        parameters=parameters,
    )
    figures = summary.figures
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    assert figures["storm.dropped"] == figures["storm.back"] == figures["back.count"] == 19
    assert figures["storm.attempts"] >= 19
    assert figures["back.p50_seconds"] >= 1.0
    # 1 s at 50 a second, for each of those who were away: some 50, and none of them is lost.
    assert figures["integrity.missed"] >= 19 * 10
    assert figures["integrity.lost"] == figures["integrity.duplicated"] == 0
    accounted = figures["delivered.count"] + figures["integrity.missed"]
    assert accounted == figures["integrity.expected"] == figures["messages.sent"] * 20
    names = [event.name for event in read_record(tmp_path / "run.run.jsonl").events]
    assert names.count("storm") == names.count("all back") == 2
    assert "Back after" in summary_text(summary)


async def test_tries_are_counted_however_long_their_backoff(
    run: Run, broadcaster: TargetSource
) -> None:
    """Longer than an interval of the record, in which counts begin anew."""
    parameters = {"backoff": "fixed", "first": "1200ms", "jitter": "none"}
    summary = await run(
        URL, "storm", source=broadcaster, connections=6, rate=20.0, parameters=parameters
    )
    assert summary.figures["storm.attempts"] == summary.figures["storm.back"] == 5


async def test_a_share_can_be_dropped(run: Run, broadcaster: TargetSource) -> None:
    summary = await run(
        URL, "storm", source=broadcaster, connections=21, parameters={"share": 0.25, **QUICK}
    )
    assert summary.errors == {}
    assert summary.figures["storm.dropped"] == summary.figures["storm.back"] == 5


async def test_who_was_dropped_and_never_gets_back_ends_no_run_late(run: Run) -> None:
    """On a server that takes each client once."""
    seen: set[str] = set()

    async def refuse(_connection: ServerConnection, request: Request) -> Response | None:
        number = request.path
        if number in seen:
            return Response(503, "", Headers())
        seen.add(number)
        return None

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    async with serve(echo, "127.0.0.1", 0, process_request=refuse) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        summary = await run(
            f"ws://127.0.0.1:{port}/{{n}}",
            "storm",
            connections=5,
            rate=20.0,
            parameters={"within": "0.5s", "backoff": "fixed", "first": "20ms"},
            collect_seconds=LOSSY_COLLECT_SECONDS,
        )
    assert summary.errors["storm:not back"] == summary.figures["storm.dropped"] == 4
    assert summary.figures["storm.failed_attempts[upgrade:http-503]"] >= 4


async def test_a_server_that_is_gone_for_good_is_an_error(run: Run) -> None:
    """One that ends every connection, and its own process, in the middle of the load."""
    lines = """
import asyncio, sys
from websockets.asyncio.server import serve

async def main():
    async def echo(connection):
        async for message in connection:
            if int(message[8:20], 16) >= 5:
                server.close()
            await connection.send(message)
    async with serve(echo, "127.0.0.1", int(sys.argv[1])) as server:
        await asyncio.Event().wait()

asyncio.run(main())
"""
    summary = await run(
        URL,
        "storm",
        source=TargetSource((sys.executable, "-c", lines, "{port}")),
        connections=4,
        rate=20.0,
        parameters={"drop": "none", "within": "1s", "backoff": "fixed", "first": "20ms"},
    )
    assert summary.errors["storm:not back"] == 4
    assert summary.figures["storm.failed_attempts"] > 4
    assert summary.figures["storm.failed_attempts[connect:refused]"] > 0


@given(st.integers(0, 200), st.floats(0, 1))
def test_a_backoff_stays_within_its_bounds(failures: int, draw: float) -> None:
    exponential = Backoff(BackoffKind.EXPONENTIAL, 0.1, 5.0, jitter=True)
    assert 0 <= exponential.seconds(failures, draw) <= min(5.0, 0.1 * 2**failures)
    full = Backoff(BackoffKind.EXPONENTIAL, 0.1, 5.0, jitter=False)
    assert full.seconds(failures, draw) == full.seconds(failures, 0) <= 5.0
    assert full.seconds(failures + 1, draw) >= full.seconds(failures, draw)
    assert Backoff(BackoffKind.NONE, 0.1, 5.0, jitter=True).seconds(failures, draw) == 0
    assert Backoff(BackoffKind.FIXED, 0.1, 5.0, jitter=False).seconds(failures, draw) == 0.1


def test_only_what_was_sent_while_a_client_was_away_is_missed() -> None:
    guest = Guest()
    guest.ledger = Ledger()
    # It had all up to 9, was away until time 100, and waited for 20 when it went again for good.
    guest.gaps = [(10, 100), (20, 2**63)]
    assert not guest.missed(9, 50), "sent before it went, so it was lost"
    assert guest.missed(10, 50)
    assert not guest.missed(11, 101), "it was back by then"
    assert guest.missed(20, 500)


async def test_an_end_after_the_storm_is_an_error() -> None:
    async with broadcasting() as (port, clients):
        scenario, pool, recorder = in_this_process(
            lambda share, recorder: Storm(share, StormParameters(share=0.5, first=0.01), recorder),
            port=port,
            connections=3,
            scenario="storm",
            rate=20.0,
        )
        await pool.open_planned(3)
        now_ns = perf_counter_ns()
        await scenario.measure(pool, LoadWindow(now_ns, now_ns + 10**9))
        assert recorder.counts["storm.back"] == 1
        for client in list(clients):
            await client.close(1012)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while recorder.open:  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
    assert recorder.errors == {"closed:1012": 3}
