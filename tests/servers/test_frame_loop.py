"""The loop that idle connections are compared with sends what it says it sends."""

import asyncio

import pytest
from websockets.asyncio.client import connect

from benchmarks.cost.frame_loop import PHASES, Round
from tests.servers.launch import START_SECONDS, launch


async def test_every_client_gets_heartbeats_and_pings_and_its_pongs_are_read() -> None:
    with launch("benchmarks.cost.frame_loop", "0", "0.2", "0.1") as server:
        async with (
            asyncio.timeout(START_SECONDS),
            connect(server.url("/ws"), proxy=None, ping_interval=None) as one,
            connect(server.url("/ws"), proxy=None, ping_interval=None) as other,
        ):
            # By the third heartbeat there have been pings, and pongs that ended nothing.
            for client in (one, other):
                assert [await client.recv() for _ in range(3)] == ["Server is running..."] * 3
            await one.close()
            assert one.close_code == 1000
            assert await other.recv() == "Server is running..."
            assert server.process.poll() is None


def test_each_phase_has_its_turn_once_an_interval() -> None:
    heartbeat = Round(b"", interval_seconds=10.0, due_seconds=100.0)
    turns = [(round(heartbeat.due_seconds, 6), heartbeat.next_phase()) for _ in range(PHASES + 1)]
    assert [phase for _, phase in turns] == [*range(PHASES), 0]
    assert turns[1][0] - turns[0][0] == pytest.approx(0.1)
    assert turns[PHASES][0] - turns[0][0] == pytest.approx(10.0)
