"""Some stop reading: the others are timed before and beside them, and they themselves counted."""

import asyncio
from time import perf_counter_ns

import pytest

from loadtests.measure.load_window import LoadWindow
from loadtests.plan.target_source import TargetSource
from loadtests.scenarios.slow_consumer import SlowConsumer, SlowConsumerParameters
from tests.loadtests.conftest import DEADLINE_SECONDS, REFERENCE, Run, broadcasting, in_this_process

URL = "ws://127.0.0.1:{port}/ws"


# Of two megabytes a second, a client that is only late, for all that others have of the machine,
# stays within two and those that the kernel holds; one that does not read for ten seconds does not,
# if the kernel may not hold for it what it would for one that has read fast.
BYTES = ("--slow-consumer-bytes", "2097152", "--slow-consumer-seconds", "1000")


async def slow(run: Run, policy: str, **parameters: str) -> dict[str, float]:
    summary = await run(
        URL,
        "slow-consumer",
        source=TargetSource((*REFERENCE, "--slow-consumer-policy", policy, *BYTES)),
        connections=8,
        processes=2,
        rate=16.0,
        duration_seconds=20.0,
        payload_bytes=131_072,
        parameters={"share": 0.1, "receive_buffer": "1MB", **parameters},
    )
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    figures = dict(summary.figures)
    assert figures["slow-consumer.slow"] == 2
    # Nobody else lost anything, and they alone were timed, on both sides.
    assert figures["integrity.lost"] == figures["integrity.duplicated"] == 0
    assert figures["integrity.expected"] == figures["messages.sent"] * 6
    before, beside = (figures[f"delivered_{when}.count"] for when in ("before", "beside_slow"))
    assert before + beside == figures["integrity.expected"]
    assert min(before, beside) > 0
    return figures


async def test_a_server_that_disconnects_slow_consumers_is_seen_to(run: Run) -> None:
    figures = await slow(run, "disconnect")
    assert figures["slow-consumer.ended"] == 2
    assert figures["slow-consumer.withheld"] > 0


async def test_a_server_that_drops_messages_of_slow_consumers_is_seen_to(run: Run) -> None:
    figures = await slow(run, "drop-oldest")
    assert "slow-consumer.ended" not in figures
    assert figures["slow-consumer.withheld"] > 0


async def test_slow_reading_is_not_the_same_as_none(run: Run) -> None:
    # Of two megabytes a second each takes a tenth: what nobody can hold is dropped, the rest comes.
    figures = await slow(run, "drop-oldest", read="200kB")
    assert 0 < figures["slow-consumer.withheld"] < figures["messages.sent"] / 2 * 2


async def test_it_ends_on_a_server_that_never_falls_silent(run: Run) -> None:
    heartbeats = ("--heartbeat-seconds", "0.1")
    summary = await run(
        URL,
        "slow-consumer",
        source=TargetSource((*REFERENCE, *heartbeats)),
        connections=8,
        rate=20.0,
        duration_seconds=2.0,
    )
    assert summary.valid, summary.reasons
    assert summary.figures["slow-consumer.slow"] == 1
    assert summary.figures["integrity.lost"] == 0


@pytest.mark.parametrize(
    ("who", "ended", "errors"),
    [("server", 1, {}), ("client", 0, {}), ("client, for a fault", 0, {"protocol:1002": 1})],
)
async def test_one_is_ended_that_the_server_ends_however_late_and_none_that_we_do(
    who: str, ended: int, errors: dict[str, int]
) -> None:
    async with broadcasting() as (port, clients):
        scenario, pool, recorder = in_this_process(
            lambda share, recorder: SlowConsumer(share, SlowConsumerParameters(), recorder),
            port=port,
            connections=3,
            scenario="slow-consumer",
            rate=20.0,
        )
        await pool.open_planned(3)
        scenario.prepare(pool)
        now_ns = perf_counter_ns()
        published = await scenario.measure(pool, LoadWindow(now_ns, now_ns + 10**9))
        (slow,) = (it for it in pool.open_connections() if it.state.is_chosen)
        socket = slow.transport.underlying_transport.get_extra_info("sockname")
        (peer,) = (it for it in clients if it.remote_address == socket)
        if who == "server":
            await peer.close(1013)
        elif who == "client, for a fault":
            peer.transport.write(b"\x80\x00")  # the rest of a message that has not begun
        else:
            slow.close()
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not recorder.closed or scenario.outstanding(published):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        scenario.account(published)
        pool.abort_all()
    assert recorder.counts["slow-consumer.ended"] == ended
    assert recorder.counts["slow-consumer.withheld"] == recorder.integrity["lost"] == 0
    assert recorder.errors == errors
