"""``swarmgate scaling`` as a process, and what it says as a document."""

import subprocess
import sys
from pathlib import Path
from typing import Any

from tests.servers.launch import ROOT

DEADLINE_SECONDS = 240.0


def scaling(*arguments: str, cwd: Path | None = None) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        [sys.executable, "-m", "benchmarks", "scaling", *arguments],
        cwd=cwd or ROOT,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def laws(document: dict[str, Any]) -> dict[str, Any]:
    return {it["law"]: it for part in document["series"] for it in part["laws"]}
