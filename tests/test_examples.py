"""What a stranger copies first works as it stands."""

import subprocess
import sys
from pathlib import Path

from reports.record import read_record
from reports.summary import summarise
from tests.servers.launch import launch

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
        done = subprocess.run(
            [
                *(sys.executable, "-m", "locust", "-f", "examples/locustfile.py", "--headless"),
                *("--host", server.url(""), "-u", "20", "-r", "50", "-t", "12s"),
                *("--swarm-record", str(tmp_path)),
                *("--swarm-thresholds", "say and hear hello.p50_seconds<=30s, errors<=0"),
            ],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "WS       say and hear hello" in done.stdout + done.stderr
    (path,) = tmp_path.glob("*.run.jsonl")
    assert summarise(read_record(path)).figures["connections.opened"] == 10


def test_the_locustfile_in_the_documentation_is_the_example() -> None:
    example = (ROOT / "examples" / "locustfile.py").read_text()
    said = (ROOT / "docs/locust.md").read_text()
    for line in example.splitlines():
        if line.strip() and '"""' not in line:
            assert line in said, line
