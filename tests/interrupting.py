"""A command of the command line that a person ends in the middle."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from tests.servers.launch import ROOT

DEADLINE_SECONDS = 240.0


def interrupted(*words: str, when: str, cwd: Path = ROOT) -> "subprocess.CompletedProcess[str]":
    """Run a command, end it as Ctrl-C does once it has printed something, and return how it ended.

    Args:
        words: of the command, without ``swarmgate``.
        when: a part of the line on standard error after which it is ended.
        cwd: where it is run.

    Raises:
        AssertionError: it ended before that.
    """
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "benchmarks", *words],
        cwd=cwd,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stderr is not None
    printed = ""
    while when not in (line := process.stderr.readline()):
        assert line, f"it ended before it printed {when!r}: {printed}"
        printed += line
    # As a terminal does it: to every process of the group.
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=DEADLINE_SECONDS)
    return subprocess.CompletedProcess(words, process.returncode, output, errors)
