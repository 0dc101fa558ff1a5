"""What a stranger copies first works as it stands."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_the_example_script_talks_to_the_reference_server(tmp_path: Path) -> None:
    target = f"{sys.executable} -m target_app --port {{port}} --announce-limit 0"
    done = subprocess.run(
        [
            *(sys.executable, "-m", "benchmarks", "run", "ws://127.0.0.1:{port}/ws", "4", "-q"),
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
