"""The workflows are linted as ``nox -s lint`` does it, offline; a broken one is refused."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

WORKFLOWS = Path(".github/workflows")
PERFORMANCE = WORKFLOWS / "performance.yml"


def linted(folder: Path) -> "subprocess.CompletedProcess[str]":
    """Lint the workflows of a folder; no address is reached, were one asked for."""
    zizmor = shutil.which("zizmor", path=os.pathsep.join([str(Path(sys.executable).parent)]))
    assert zizmor, "zizmor is of the group lint, which every environment here has"
    return subprocess.run(
        [zizmor, "--offline", "--no-progress", "--strict-collection", "--color=never", str(folder)],
        capture_output=True,
        encoding="utf-8",
        check=False,
        env={"PATH": os.defpath, "HTTPS_PROXY": "http://127.0.0.1:9"},
    )


def broken(folder: Path, old: str, new: str) -> Path:
    """Write the workflow with one thing changed."""
    text = PERFORMANCE.read_text(encoding="utf-8")
    assert text.count(old) == 1, old
    workflows = folder / WORKFLOWS
    workflows.mkdir(parents=True)
    (workflows / PERFORMANCE.name).write_text(text.replace(old, new), encoding="utf-8")
    return workflows


def test_the_workflows_of_the_project_are_in_order() -> None:
    done = linted(WORKFLOWS)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ("    steps:", "    stepz:", "'stepz' was unexpected"),
        ("runs-on: ubuntu-24.04", "runs_on: ubuntu-24.04", "runs_on"),
        ("jobs:", "\tjobs:", "performance.yml"),
        ('"$BASE"', '"origin/${{ github.base_ref }}"', "template-injection"),
        ("          persist-credentials: false", "", "artipacked"),
    ],
)
def test_a_broken_workflow_is_refused(tmp_path: Path, old: str, new: str, complaint: str) -> None:
    done = linted(broken(tmp_path, old, new))
    assert done.returncode != 0
    assert complaint in done.stdout + done.stderr


def test_the_sessions_that_workflows_run_exist() -> None:
    asked = re.findall(r"\bnox -s ([\w-]+)", PERFORMANCE.read_text(encoding="utf-8"))
    noxfile = Path("noxfile.py").read_text(encoding="utf-8")
    assert asked
    for session in asked:
        assert f"\ndef {session.replace('-', '_')}(session" in noxfile, session
