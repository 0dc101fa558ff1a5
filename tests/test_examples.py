"""What a stranger copies first works as it stands."""

import asyncio
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from websockets.asyncio.client import connect

from reports.record import read_record
from reports.summary import Summary, summarise
from tests.loadtests.locust.driver import has, headless_until
from tests.servers.launch import START_SECONDS, Launched, launch

ROOT = Path(__file__).parents[1]


def test_the_example_script_talks_to_the_reference_server(tmp_path: Path) -> None:
    target = f"{sys.executable} -m target_app --port {{port}} --announce-limit 0"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "tests.patient_swarmgate", "run"),
            *("ws://127.0.0.1:{port}/ws", "4", "-q"),
            *("--scenario", "examples/talkers.py", "--param", "pause=100ms", "-d", "1s"),
            *("--target-cmd", target, "-o", str(tmp_path / "a.run.jsonl")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "heard:" in done.stdout
    assert "said" in done.stdout


def test_the_script_in_the_documentation_is_the_example() -> None:
    example = (ROOT / "examples" / "talkers.py").read_text()
    body = example[example.index("async def script") :].strip()
    for page in ("README.md", "docs/scripting.md"):
        assert body in (ROOT / page).read_text(), page


def test_the_example_locustfile_talks_to_the_reference_server(tmp_path: Path) -> None:
    with launch("target_app", "--port", "0", "--announce-limit", "0") as server:

        def has_talked(found: Sequence[Summary]) -> bool:
            # Of ten who talk, one has talked twice by then, and so has heard what it said.
            counts = httpx.get(f"http://127.0.0.1:{server.port}/stats", timeout=60).json()
            return counts["messages_received"] > 10 and has("connections.opened", 10)(found)

        done = headless_until(
            has_talked,
            *(tmp_path, server.url(""), "-u", "20", "-r", "50", "--swarm-flags"),
            "--threshold 'say and hear hello.p50_seconds<=30s' --threshold 'errors<=0'",
            locustfile="examples/locustfile.py",
        )
    assert done.status == 0, done.stdout + done.stderr
    assert "WS       say and hear hello" in done.stdout + done.stderr
    assert done.summary.figures["connections.opened"] == 10


def test_the_locustfile_in_the_documentation_is_the_example() -> None:
    example = (ROOT / "examples" / "locustfile.py").read_text()
    page = (ROOT / "docs/locust.md").read_text()
    for line in example.splitlines():
        if line.strip() and '"""' not in line:
            assert line in page, line


@pytest.fixture(scope="module")
def tutorial() -> Iterator[Launched]:
    with launch([sys.executable, "examples/tutorial_server.py", "0"]) as server:
        yield server


@pytest.mark.parametrize(
    ("scenario", "path"), [("broadcast", "/ws"), ("echo", "/echo"), ("hold", "/ws/{n}")]
)
def test_the_tutorial_server_bears_a_load(
    tutorial: Launched, scenario: str, path: str, tmp_path: Path
) -> None:
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "run", tutorial.url(path), "8", "-q"),
            *("--scenario", scenario, "-d", "1s", "-o", str(tmp_path / "a.run.jsonl")),
        ],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    record = read_record(tmp_path / "a.run.jsonl")
    figures = summarise(record).figures
    assert (figures["connections.opened"], figures["errors"]) == (8, 0), done.stdout + done.stderr
    assert figures.get("integrity.lost", 0) == 0


async def test_the_tutorial_server_has_the_faults_that_it_names() -> None:
    with launch([sys.executable, "examples/tutorial_server.py", "0"]) as server:
        async with (
            asyncio.timeout(START_SECONDS),
            connect(server.url("/ws/1"), proxy=None) as one,
            connect(server.url("/ws"), proxy=None) as other,
        ):
            await one.send("hello")
            assert await one.recv() == await other.recv() == "Client #1 says: hello"
            await other.send(b"binary")
            await other.wait_closed()
            await one.send("hello?")
            await one.wait_closed()


def test_the_tutorial_server_is_as_short_as_tutorials_are() -> None:
    assert len((ROOT / "examples" / "tutorial_server.py").read_text().splitlines()) <= 60
