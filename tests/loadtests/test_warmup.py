"""A warm-up is the same load on the same server, of which nothing is kept."""

from typing import Any

import pytest

from loadtests.plan.rate_profile import parse_profile
from loadtests.plan.stages import parse_stages
from loadtests.plan.target_source import TargetSource
from tests.loadtests.conftest import Run
from tests.servers.launch import launch

WARM_SECONDS = 0.5


@pytest.mark.parametrize(
    ("load", "warm"),
    [
        ({"connections": 4, "rate": 40.0}, 20),
        (
            {
                "connections": 4,
                "profile": parse_profile("20/s for 500ms, 60/s for 500ms"),
                "rate": 40.0,
            },
            20,
        ),
        (
            {"connections": 4, "population": parse_stages("0..4 in 500ms, 4 for 500ms")}
            | {"live": True, "rate": 40.0},
            20,
        ),
    ],
)
async def test_the_server_has_had_more_than_the_record_shows(
    run: Run, load: dict[str, Any], warm: int
) -> None:
    with launch("tests.servers.plain_websockets", "0") as server:
        summary = await run(
            server.url(),
            source=TargetSource(pids=(server.pid,)),
            warmup_seconds=WARM_SECONDS,
            **load,
        )
        counted = server.stop()
    assert summary.valid, summary.reasons
    sent = summary.figures["messages.sent"]
    assert sent == summary.figures["latency.count"] > 0
    assert counted["received"] == pytest.approx(sent + warm, abs=1)
    assert counted["handshakes"] == summary.figures["connections.opened"] + 4
