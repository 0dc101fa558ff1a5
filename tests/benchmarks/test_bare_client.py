"""The bare client does what the swarm does beside which it stands, and counts all of it."""

import asyncio
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from loadtests.plan.target_source import TargetSource
from loadtests.run.target import running

CONNECTIONS = 20


async def bare_client(source: TargetSource, folder: Path, *rate: str) -> dict[str, Any]:
    async with running(source, folder / "server.log") as server:
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "benchmarks.cost.bare_client"),
            *(str(server.port), str(CONNECTIONS), "1", *rate),
            stdout=asyncio.subprocess.PIPE,
        )
        output, _ = await process.communicate()
    assert process.returncode == 0
    return json.loads(output)


@pytest.mark.parametrize("rate", [(), ("50",)])
async def test_what_comes_is_counted_with_the_time_that_it_took(
    tmp_path: Path, rate: tuple[str, ...]
) -> None:
    """The known server counts what it delivers, so that no message is counted twice."""
    command = (sys.executable, "-m", "benchmarks.calibration.known_server", "{port}")
    told = await bare_client(TargetSource(command), tmp_path, *rate)
    injected = json.loads((tmp_path / "server.log").read_text().splitlines()[-1])
    assert injected["handshakes"] == CONNECTIONS
    assert 0 < told["received"] <= injected["deliveries"]
    assert injected["deliveries"] == injected["messages"] * (CONNECTIONS if rate else 1)
    assert told["cpu_seconds"] > 0
    assert told["opening_cpu_seconds"] > 0
