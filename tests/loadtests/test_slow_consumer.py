"""Some stop reading: the others are timed before and beside them, and they themselves counted."""

from loadtests.target import TargetSource
from tests.loadtests.conftest import REFERENCE, Run

URL = "ws://127.0.0.1:{port}/ws"


# A client that is only late, for all that others have of the machine, stays far within this; one
# that does not read for three seconds has twice as much to come.
BYTES = ("--slow-consumer-bytes", "4194304", "--slow-consumer-seconds", "1000")


async def slow(run: Run, policy: str, **parameters: str) -> dict[str, float]:
    summary = await run(
        URL,
        "slow-consumer",
        source=TargetSource((*REFERENCE, "--slow-consumer-policy", policy, *BYTES)),
        connections=8,
        processes=2,
        rate=50.0,
        duration_seconds=6.0,
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
    # Of 6.5 MB a second each takes 1: what nobody can hold is dropped, the rest arrives.
    figures = await slow(run, "drop-oldest", read="1MB")
    assert 0 < figures["slow-consumer.withheld"] < figures["messages.sent"] / 2 * 2
