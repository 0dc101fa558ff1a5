"""A churning population stays the same in number, and every arrival is timed."""

import sys

from loadtests.target import TargetSource
from tests.loadtests.conftest import Run

URL = "ws://127.0.0.1:{port}/ws"


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


async def test_arrivals_at_a_server_that_refuses_them_are_errors(run: Run) -> None:
    command = (sys.executable, "-m", "target_app", "--port", "{port}", "--max-connections", "10")
    source = TargetSource(command)
    summary = await run(
        URL, "churn", source=source, connections=10, rate=40.0, parameters={"leave": "close"}
    )
    refused = summary.errors.get("upgrade:http-503", 0)
    assert summary.figures["churn.arrived"] + refused == summary.figures["churn.arrivals"] == 40
