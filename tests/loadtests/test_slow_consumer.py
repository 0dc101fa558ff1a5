"""Some stop reading: the others are timed before and beside them, and they themselves counted."""

import asyncio

from websockets.asyncio.server import ServerConnection, broadcast, serve

from loadtests.target import TargetSource
from tests.loadtests.conftest import REFERENCE, Run

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


async def test_one_that_is_ended_long_after_it_has_read_all_is_counted(run: Run) -> None:
    sent = 160
    clients: set[ServerConnection] = set()
    seen = 0
    ending: list[asyncio.Task[None]] = []

    async def end(slow: set[ServerConnection], last: str | bytes) -> None:
        broadcast(slow, last)
        for connection in slow:
            while connection.transport.get_write_buffer_size():  # noqa: ASYNC110 - it reads on when it does
                await asyncio.sleep(0.05)
        await asyncio.sleep(1)
        for connection in slow:
            await connection.close(1013)
        broadcast(clients - slow, last)

    async def server(connection: ServerConnection) -> None:
        nonlocal seen
        clients.add(connection)
        async for message in connection:
            seen += 1
            if seen < sent:
                broadcast(clients, message)
            else:
                slow = {it for it in clients if it.transport.get_write_buffer_size()}
                ending.append(asyncio.create_task(end(slow, message)))

    async with serve(server, "127.0.0.1", 0, ping_interval=None, max_size=None) as listening:
        port = listening.sockets[0].getsockname()[1]
        summary = await run(
            f"ws://127.0.0.1:{port}",
            "slow-consumer",
            connections=4,
            rate=sent / 4,
            duration_seconds=4.0,
            payload_bytes=2**18,
            parameters={"receive_buffer": "256kB"},
        )
    assert summary.valid, summary.reasons
    assert summary.figures["integrity.lost"] == 0
    assert summary.figures["slow-consumer.ended"] == 1
    assert summary.errors == {}
