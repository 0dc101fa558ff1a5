"""A server that is weighed down does what it did, and costs as much more as it was told to."""

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.counting.count import count
from benchmarks.counting.process import Load, Subject
from benchmarks.gate_power.burden import VARIABLE
from loadtests.plan.plan import Plan
from loadtests.plan.target_source import TargetSource
from loadtests.run.run import execute
from reports.summary import Summary
from tests.loadtests.conftest import PATIENT
from tests.servers.launch import ROOT

LOAD = Load(connections=40, messages=10, broadcasts=False, echo_path="/")
APP = """
async def app(scope, receive, send):
    if scope["type"] != "websocket":
        return
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({"type": "websocket.send", "text": message["text"]})
"""


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """Where an application stands beside what weighs it down."""
    (tmp_path / "plain_app.py").write_text(APP)
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(ROOT)
    yield tmp_path
    os.environ.pop(VARIABLE, None)
    if before is None:
        del os.environ["PYTHONPATH"]
    else:
        os.environ["PYTHONPATH"] = before


def figures(folder: Path, burden: str) -> dict[str, float]:
    os.environ[VARIABLE] = f"{burden},plain_app:app"
    subject = Subject("benchmarks.gate_power.burden:application", sys.executable, folder)
    return dict(count(subject, LOAD).figures)


def test_memory_a_connection_is_that_much_more(folder: Path) -> None:
    name = "counts.memory_per_connection_bytes"
    assert figures(folder, "0,2048,0")[name] - figures(folder, "0,0,0")[name] == pytest.approx(
        2048, rel=0.05
    )


@pytest.mark.skipif(not shutil.which("strace"), reason="strace is not installed")
def test_a_system_call_a_message_is_one_more(folder: Path) -> None:
    name = "counts.system_calls_per_echo"
    assert figures(folder, "0,0,1")[name] - figures(folder, "0,0,0")[name] == pytest.approx(1)


def run(folder: Path, loops: int) -> Summary:
    words = (sys.executable, "-m", "benchmarks.gate_power.burden", str(loops), "0", "0")
    command = (*words, "uvicorn", "plain_app:app", "--port", "{port}", "--log-level", "warning")
    source = TargetSource(command, directory=str(folder))
    plan = Plan(
        "ws://127.0.0.1:{port}/",
        connections=4,
        scenario="echo",
        parameters={},
        rate=100.0,
        duration_seconds=1.0,
        bounds=PATIENT,
    )
    return asyncio.run(execute(plan, source, folder / f"{loops}.run.jsonl", lambda _line: None))


def test_a_whole_server_answers_as_before_and_takes_more(folder: Path) -> None:
    plain, burdened = run(folder, 0), run(folder, 200_000)
    for summary in (plain, burdened):
        assert summary.valid, summary.reasons
        assert summary.figures["integrity.lost"] == 0
    name = "server.cpu_per_message_seconds"
    # Ten times what a message costs is more than any machine's noise.
    assert burdened.figures[name] > 3 * plain.figures[name]


def test_a_module_that_is_not_there_is_told(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.gate_power.burden", "0", "0", "0", "no_such_module"],
        cwd=folder,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert "no_such_module" in done.stderr
