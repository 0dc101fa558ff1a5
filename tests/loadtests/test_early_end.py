"""A load that ends before its time, whoever ended it, is accounted for up to then."""

import asyncio
import os
import signal
from collections.abc import Callable
from typing import Any

import pytest

from loadtests.errors import UsageError
from loadtests.plan.plan import Plan
from loadtests.plan.replay import replay_command
from loadtests.plan.target_source import TargetSource
from reports.outcome import ExitStatus
from reports.record import Event, Interval, Line
from reports.run_outcome import outcome_of
from tests.loadtests.conftest import LOSSY_COLLECT_SECONDS, Run, broadcasting
from tests.servers.launch import known

LONG_SECONDS = 600.0
"""Of a load that only its early end can keep from failing the test by its timeout."""


def interrupt_once(when: Callable[[Line], bool]) -> Callable[[Line], None]:
    sent: list[Line] = []

    def look(line: Line) -> None:
        # Once: the second one would end the test itself.
        if not sent and when(line):
            sent.append(line)
            os.kill(os.getpid(), signal.SIGINT)

    return look


@pytest.mark.parametrize(
    ("scenario", "changes"),
    [
        ("echo", {}),
        ("echo", {"rate": 50.0}),
        ("broadcast", {"rate": 20.0}),
        ("chat", {"rate": 20.0}),
        ("storm", {"rate": 20.0, "parameters": {"at": "500s"}}),
        ("slow-consumer", {"rate": 20.0}),
        ("drain", {"rate": 20.0}),
    ],
)
async def test_ctrl_c_in_a_load_keeps_its_ledger(
    run: Run, broadcaster: TargetSource, scenario: str, changes: dict[str, Any]
) -> None:
    received = 0

    def has_measured(line: Line) -> bool:
        nonlocal received
        if isinstance(line, Interval) and line.phase == "measure":
            received += line.received
        return received > 0

    summary = await run(
        "ws://127.0.0.1:{port}/ws",
        scenario,
        source=broadcaster,
        connections=1 if scenario == "echo" else 4,
        duration_seconds=LONG_SECONDS,
        observe=interrupt_once(has_measured),
        **changes,
    )
    assert summary.interrupted
    assert outcome_of(summary).status is ExitStatus.INTERRUPTED
    assert summary.errors == {}
    figures = summary.figures
    receivers = {"echo": 1, "slow-consumer": 3}.get(scenario, 4)
    assert figures["integrity.expected"] == receivers * figures["messages.sent"] > 0
    assert figures["integrity.lost"] == figures["integrity.duplicated"] == 0


async def test_ctrl_c_while_connections_open_ends_at_once(run: Run) -> None:
    def opens(line: Line) -> bool:
        return isinstance(line, Event) and line.detail.get("phase") == "open"

    with known() as server:
        summary = await run(
            server.url("/echo"), ramp_seconds=LONG_SECONDS, observe=interrupt_once(opens)
        )
    assert summary.interrupted
    assert summary.figures["messages.sent"] == 0


async def test_a_figure_that_the_run_aborts_on_ends_it_early_as_failed(run: Run) -> None:
    with known() as server:
        summary = await run(
            server.url("/echo"),
            rate=50.0,
            duration_seconds=LONG_SECONDS,
            abort_on=("errors>0", "messages.received >= 30"),
        )
        injected = server.stop()
    assert summary.valid, summary.reasons
    (failure,) = summary.failures
    assert failure.startswith("aborted on messages.received >= 30, found ")
    assert outcome_of(summary).status is ExitStatus.FAILED
    assert injected is not None
    assert summary.figures["integrity.expected"] == injected["messages"] >= 30
    assert summary.figures["integrity.lost"] == 0


async def test_a_run_may_abort_while_its_connections_open(run: Run) -> None:
    with known("--refuse-every", "2", "--refuse-status", "503") as server:
        summary = await run(
            server.url("/echo"),
            connections=1_000,
            ramp_seconds=LONG_SECONDS,
            abort_on=("connections.failed>=1",),
        )
    assert summary.failures[0].startswith("aborted on connections.failed >= 1")
    assert set(summary.errors) == {"upgrade:http-503"}


@pytest.mark.parametrize(
    ("condition", "complaint"),
    [
        ("errors", "--abort-on: 'errors' is not a threshold"),
        ("eror>1", "--abort-on 'eror>1': .*errors"),
    ],
)
async def test_a_condition_that_can_never_be_is_refused_before_anything_runs(
    run: Run, condition: str, complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        await run("ws://127.0.0.1:1/", abort_on=(condition,))


async def test_a_target_that_ends_everybody_has_failed_with_a_whole_ledger(run: Run) -> None:
    ending: list[asyncio.Task[None]] = []
    async with broadcasting() as (port, clients):

        def end_all(line: Line) -> None:
            if isinstance(line, Interval) and line.phase == "measure" and line.received:
                ending.extend(asyncio.create_task(client.close(4000)) for client in clients)

        summary = await run(
            f"ws://127.0.0.1:{port}/",
            "broadcast",
            connections=3,
            rate=20.0,
            duration_seconds=LONG_SECONDS,
            collect_seconds=LOSSY_COLLECT_SECONDS,
            observe=end_all,
        )
        await asyncio.gather(*ending)
    assert "ended every connection" in summary.failures[0]
    assert summary.close_codes == {4000: 3}
    assert summary.valid, summary.reasons
    assert outcome_of(summary).status is ExitStatus.FAILED
    assert summary.figures["integrity.expected"] == 3 * summary.figures["messages.sent"] > 0


async def test_a_run_that_ends_by_itself_is_none_of_these(run: Run) -> None:
    with known() as server:
        summary = await run(server.url("/echo"), rate=50.0, abort_on=("errors>0",))
    assert outcome_of(summary).status is ExitStatus.HELD
    assert summary.failures == ()


def test_a_plan_made_again_aborts_on_the_same() -> None:
    plan = Plan("ws://h/", 1, "hold", {}, abort_on=("errors>10",))
    assert "--abort-on errors>10" in " ".join(replay_command(plan, TargetSource()))
