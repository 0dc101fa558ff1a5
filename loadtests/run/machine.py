"""The machine and the software that a run was made with, as described in its record."""

import platform
import socket
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Final

import psutil

from reports.record import Machine

_PACKAGES: Final = ("swarmgate", "picows", "uvloop", "uvicorn", "websockets", "fastapi", "numpy")


def describe_machine() -> Machine:
    """Describe this machine."""
    return Machine(
        hostname=socket.gethostname(),
        kernel=platform.release(),
        cpu_model=_cpu_model(),
        cores=psutil.cpu_count() or 1,
        memory_bytes=psutil.virtual_memory().total,
        python=platform.python_version(),
    )


def package_versions() -> dict[str, str]:
    """Return the versions of those installed packages that affect a figure."""
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def git_commit() -> str | None:
    """Return the commit checked out here, followed by ``+`` if files differ; None outside git."""
    try:
        commit = _git("rev-parse", "HEAD")
        return commit + "+" if _git("status", "--porcelain") else commit
    except (OSError, subprocess.SubprocessError):
        return None


def _git(*arguments: str) -> str:
    finished = subprocess.run(
        ["git", *arguments],  # noqa: S607 - whichever git the user has
        capture_output=True,
        check=True,
        text=True,
        timeout=5,
    )
    return finished.stdout.strip()


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()
