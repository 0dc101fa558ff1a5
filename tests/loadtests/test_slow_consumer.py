"""Some stop reading: the others are timed before and beside them, and they themselves counted."""

from loadtests.target import TargetSource
from tests.loadtests.conftest import REFERENCE, Run

URL = "ws://127.0.0.1:{port}/ws"


# Of two megabytes a second, a client that is only late, for all that others have of the machine,
# stays within two and the several that the kernel holds; one that does not read for ten seconds
# does not.
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
        parameters={"share": 0.1, **parameters},
    )
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    figures = dict(summary.figures)
    assert figures["slow-consumer.slow"] == 2
    # Nobody else lost anything, and they were timed on both sides.
    assert figures["integrity.lost"] == figures["integrity.duplicated"] == 0
    assert figures["integrity.expected"] == figures["messages.sent"] * 6
    timed = figures["delivered_before.count"] + figures["delivered_beside_slow.count"]
    # The slow ones were like the others until half way.
    expected = figures["integrity.expected"]
    assert expected <= timed <= expected + figures["messages.sent"] * 2
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
