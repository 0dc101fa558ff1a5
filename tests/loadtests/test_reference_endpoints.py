"""Every endpoint of the reference server can be loaded, with an exact ledger."""

import sys
from pathlib import Path
from typing import Any

import pytest

from loadtests.plan.target_source import TargetSource
from loadtests.plan.template import fill
from tests.loadtests.conftest import Run

SERVER = TargetSource(
    (
        *(sys.executable, "-m", "target_app", "--port", "{port}"),
        *("--answer-seconds", "0", "--heartbeat-seconds", "0"),
    )
)
CLEAN = {
    "integrity.lost": 0,
    "integrity.duplicated": 0,
    "integrity.reordered": 0,
    "integrity.corrupted": 0,
}


async def load(run: Run, path: str, scenario: str, **changes: Any) -> dict[str, float]:
    url = f"ws://127.0.0.1:{{port}}{path}"
    summary = await run(url, scenario, source=SERVER, connections=12, **changes)
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    figures = dict(summary.figures)
    if scenario != "hold":
        assert {name: figures[name] for name in CLEAN} == CLEAN
    return figures


@pytest.mark.parametrize(
    ("path", "scenario"),
    [("/echo", "echo"), ("/ws/py_client", "events"), ("/ws/s-{n}", "session")],
)
@pytest.mark.parametrize("rate", [None, 60.0])
async def test_replies_are_timed_wherever_the_server_puts_them(
    run: Run, path: str, scenario: str, rate: float | None
) -> None:
    figures = await load(run, path, scenario, rate=rate, processes=2)
    assert figures["latency.count"] == figures["messages.sent"] == figures["integrity.expected"]
    assert figures["messages.sent"] >= 12


@pytest.mark.parametrize(
    ("path", "scenario"), [("/ws/py_client", "events"), ("/ws/s-{n}", "session")]
)
async def test_messages_of_any_text_and_size_come_back(
    run: Run, path: str, scenario: str, tmp_path: Path
) -> None:
    lines = tmp_path / "lines.txt"
    lines.write_text('say "hi"\nback\\slash\nünïcödé\n' + "long" * 400)
    figures = await load(run, path, scenario, rate=60.0, payload_file=str(lines))
    assert figures["latency.count"] == figures["messages.sent"] == 60
    assert figures["messages.unsolicited"] == 0


async def test_events_are_addressed_by_what_a_step_has_kept(run: Run) -> None:
    figures = await load(run, "/ws/py_client", "events", rate=60.0)
    assert figures["ready.received"] == figures["ready.count"] == 12


async def test_an_acknowledgement_is_timed_beside_the_answer(run: Run) -> None:
    figures = await load(run, "/ws/s-{n}", "session", rate=60.0)
    assert figures["acknowledgement.count"] == figures["latency.count"]
    assert figures["acknowledgement.p50_seconds"] <= figures["latency.p50_seconds"]


@pytest.mark.parametrize(
    ("path", "receivers"), [("/ws", 12), ("/ws/{n}", 12), ("/ws?room=blue", 12), ("/ws/7", 12)]
)
async def test_broadcasts_are_recognised_with_a_name_before_them(
    run: Run, path: str, receivers: int
) -> None:
    figures = await load(run, path, "broadcast", rate=10.0, processes=2)
    assert figures["integrity.expected"] == figures["delivery.messages"] * receivers


async def test_connections_in_rooms_of_their_own_hear_nobody_else(run: Run) -> None:
    figures = await load(run, "/ws?room=r{n}", "hold")
    # Each hears that it came itself, and of nobody else.
    assert figures["messages.received"] == figures["messages.unsolicited"] == 12


def test_each_connection_has_a_number_of_its_own() -> None:
    assert fill("ws://h:1/ws/s-{n}?x={n}", 7) == "ws://h:1/ws/s-7?x=7"
    assert fill("ws://h:1/ws", 7) == "ws://h:1/ws"
