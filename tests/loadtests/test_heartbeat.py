"""A heartbeat is timed against what was promised, and silent clients are seen to be found."""

import sys

import pytest

from loadtests.errors import UsageError
from loadtests.plan.target_source import TargetSource
from tests.loadtests.conftest import PLAIN, Run

URL = "ws://127.0.0.1:{port}/ws"


def reference(*flags: str) -> TargetSource:
    return TargetSource((sys.executable, "-m", "target_app", "--port", "{port}", *flags))


async def test_beats_pings_and_half_open_peers_of_the_reference_server(run: Run) -> None:
    # Those who do answer have far longer for it than a busy machine takes.
    flags = ("--heartbeat-seconds", "1", "--ws-ping-interval", "0.8", "--ws-ping-timeout", "5")
    summary = await run(
        URL,
        "heartbeat",
        source=reference("--announce-limit", "0", *flags),
        connections=20,
        processes=2,
        rate=12.5,
        # A quarter of the beats may be missing, for which the machine would stand still for 2 s.
        duration_seconds=8.0,
        parameters={"interval": "1s", "ping_interval": "800ms", "half_open": 0.2},
    )
    figures = summary.figures
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    assert figures["heartbeat.detected"] == figures["detected.count"] == 4
    assert figures["detected.max_seconds"] > 5.0, "not before the ping had its time"
    assert figures["heartbeat.expected"] == 16 * 8
    assert figures["heartbeat.beats"] >= 16 * 6
    assert figures["heartbeat.pongs"] == figures["heartbeat.pings_sent"] == 100
    assert figures["ping_round_trip.count"] == 100
    assert figures["heartbeat.pings_received"] >= 16 * 6
    assert figures["heartbeat_jitter.count"] == figures["heartbeat_interval.count"] > 0
    assert figures["ping_jitter.count"] == figures["ping_interval.count"] > 0


async def test_a_server_without_heartbeat_that_leaves_the_dead_alone_is_reported(run: Run) -> None:
    summary = await run(
        URL,
        "heartbeat",
        source=TargetSource(PLAIN),
        connections=4,
        parameters={"interval": "100ms", "half_open": 0.5, "within": "3s"},
    )
    assert summary.errors == {
        "heartbeat:half open not detected": 2,
        "heartbeat:too few beats": 20,
    }
    # The library answers pings by itself.
    assert summary.figures["heartbeat.pongs"] == 10


async def test_a_duration_that_shows_no_interval_is_refused(run: Run) -> None:
    with pytest.raises(
        UsageError, match="1 s is too short for an interval of 10 s; use --duration 30s"
    ):
        await run(URL, "heartbeat", source=TargetSource(PLAIN))
