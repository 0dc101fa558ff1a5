"""Our own modules as processes: these, whatever lies in the directory in which a person is."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# After so long without a word a swarm process hangs: it is stopped, or its script does not let go.
MOST_SILENT_SECONDS: Final = 60

_ROOT: Final = Path(__file__).resolve().parents[2]


def own_module(name: str) -> tuple[str, ...]:
    """Return the command that runs one of our modules.

    Without ``-P`` a folder ``reports`` or a file ``uvloop.py`` in the working directory would be
    imported instead of what is meant (``sys.flags.safe_path``).
    """
    return (sys.executable, "-P", "-m", name)


@contextmanager
def sheltered() -> Iterator[None]:
    """Keep Ctrl-C from what is started meanwhile, until it has said how it takes that.

    A terminal sends it to every process, and one that still imports would die of it. What is
    blocked stays so in a process that is started (sigprocmask(2)): it calls :func:`ignore_ctrl_c`.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def ignore_ctrl_c() -> None:
    """Leave Ctrl-C to the process that started this one."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def own_environment() -> dict[str, str]:
    """Return the environment in which it is found where this process has found it."""
    path = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
