"""A load of which nothing came back, or whose generator had no time for it, never simply passes."""

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import psutil
import pytest

from loadtests.plan.bounds import Bounds
from loadtests.plan.target_source import TargetSource
from loadtests.scenarios.registry import SCENARIOS
from reports.outcome import ExitStatus
from reports.record import Event, Line
from reports.run_outcome import outcome_of
from reports.summary import Summary
from reports.terminal import summary_text
from tests.loadtests.conftest import REFERENCE, Run

SILENT = """
import asyncio, logging, signal, sys
from websockets.asyncio.server import serve

async def main():
    async def take(connection):
        async for message in connection:
            pass
    logging.disable(logging.CRITICAL)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    async with serve(take, "127.0.0.1", int(sys.argv[1])):
        await stopped.wait()

asyncio.run(main())
"""
SILENT_SERVER = TargetSource((sys.executable, "-c", SILENT, "{port}"))

# What each is asked to do, for as long as a second, on a server that only listens.
LOADS: dict[str, dict[str, Any]] = {
    "hold": {},
    "echo": {"rate": 20.0},
    "events": {"rate": 20.0},
    "session": {"rate": 20.0},
    "broadcast": {"rate": 20.0},
    "chat": {"rate": 20.0},
    "storm": {"rate": 20.0, "parameters": {"within": "5s"}},
    "churn": {"rate": 20.0},
    "slow-consumer": {"rate": 20.0},
    "heartbeat": {"parameters": {"interval": "0.2s"}},
    "drain": {"rate": 20.0, "parameters": {"within": "5s"}},
}
# What a silent server does right, for nothing is to come back.
SILENCE_WILL_DO = {"hold", "churn"}
# Whose connections wait for a word of the server's before they count.
WORD_FIRST = {"events"}


def test_every_scenario_is_looked_at() -> None:
    assert set(LOADS) == set(SCENARIOS)


@pytest.mark.parametrize("scenario", LOADS)
async def test_a_server_that_answers_nothing_fails_with_the_reason(run: Run, scenario: str) -> None:
    summary = await run(
        "ws://127.0.0.1:{port}/",
        scenario,
        source=SILENT_SERVER,
        connections=4,
        collect_seconds=0.5,
        **({"handshake_timeout_seconds": 1.0} if scenario in WORD_FIRST else {}),
        **LOADS[scenario],
    )
    outcome, text = outcome_of(summary), summary_text(summary)
    assert summary.valid, summary.reasons
    assert outcome.status is (ExitStatus.HELD if scenario in SILENCE_WILL_DO else ExitStatus.FAILED)
    if summary.figures.get("integrity.expected"):
        # What was sent while a client of a storm was away is counted apart, as missed.
        gone = summary.figures["integrity.lost"] + summary.figures["integrity.missed"]
        assert gone == summary.figures["integrity.expected"]
        assert "messages lost" in outcome.line
        assert "\nMessages: " in text
        assert "\nLedger: " in text
    elif scenario in WORD_FIRST:
        assert summary.errors == {"ready:no answer": 4}
        assert "could be opened" in outcome.line
    else:
        assert scenario in {*SILENCE_WILL_DO, "heartbeat"}


async def test_a_closed_model_on_a_silent_server_counts_every_message(run: Run) -> None:
    summary = await run(
        "ws://127.0.0.1:{port}/",
        source=SILENT_SERVER,
        connections=4,
        collect_seconds=0.5,
        reply_timeout_seconds=0.3,
    )
    assert summary.errors["reply:timeout"] >= 4
    assert "messages lost" in outcome_of(summary).line


@contextmanager
def starving() -> Iterator[Callable[[Line], None]]:
    """Yield an observer that lets the swarm have only what a busy process leaves of one core.

    Both are bound to one core, so that whatever else runs has the others.
    """
    every = os.sched_getaffinity(0)
    core = {max(every)}
    hogs: list[subprocess.Popen[bytes]] = []

    def end_hogs() -> None:
        while hogs:
            hog = hogs.pop()
            hog.kill()
            hog.wait()

    def starve(line: Line) -> None:
        if not (isinstance(line, Event) and line.name == "phase"):
            return
        measures = line.detail["phase"] == "measure"
        if measures:
            hogs.append(subprocess.Popen([sys.executable, "-c", "while True: pass"]))
            os.sched_setaffinity(hogs[-1].pid, core)
        else:
            end_hogs()
        for child in psutil.Process().children():
            if "loadtests.run.swarm" in child.cmdline():
                for thread in child.threads():
                    os.sched_setaffinity(thread.id, core if measures else every)
                    policy = os.SCHED_IDLE if measures else os.SCHED_OTHER
                    os.sched_setscheduler(thread.id, policy, os.sched_param(0))

    try:
        yield starve
    finally:
        end_hogs()


def is_shown(summary: Summary) -> bool:
    return not summary.valid or "bounded by the generator" in " ".join(summary.warnings)


@pytest.mark.parametrize("scenario", [name for name in LOADS if name != "hold"])
async def test_a_generator_that_gets_no_core_is_never_a_silent_pass(
    run: Run, scenario: str
) -> None:
    with starving() as starve:
        summary = await run(
            "ws://127.0.0.1:{port}"
            + {"events": "/ws/py_client", "session": "/ws/s-{n}"}.get(scenario, "/ws"),
            scenario,
            source=TargetSource(REFERENCE),
            connections=4,
            duration_seconds=2.0,
            bounds=Bounds(),
            observe=starve,
            **LOADS[scenario],
        )
    assert summary.figures["connections.opened"] == 4
    assert outcome_of(summary).status is not ExitStatus.HELD or is_shown(summary), summary.figures


async def test_a_closed_model_whose_generator_gets_no_core_is_bounded_by_it(run: Run) -> None:
    with starving() as starve:
        summary = await run(
            "ws://127.0.0.1:{port}/echo",
            source=TargetSource(REFERENCE),
            connections=4,
            duration_seconds=2.0,
            bounds=Bounds(),
            observe=starve,
        )
    assert is_shown(summary), summary.figures
    assert "closed model, bounded by the " in summary_text(summary)
