"""Our own modules as processes, regardless of what is in the user's working directory."""

import os
import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

# A swarm process that is silent for this long hangs: it is stopped, or its script blocks.
MOST_SILENT_SECONDS: Final = 60

_ROOT: Final = Path(__file__).resolve().parents[2]


def own_module(name: str) -> tuple[str, ...]:
    """Return the command that runs one of our modules.

    Without ``-P`` a folder ``reports`` or a file ``uvloop.py`` in the working directory would be
    imported instead of the intended module (``sys.flags.safe_path``).
    """
    return (sys.executable, "-P", "-m", name)


@contextmanager
def sheltered() -> Iterator[None]:
    """Shield processes started meanwhile from Ctrl-C, until they set how they handle it.

    A terminal sends it to every process, and one that is still importing would die of it. A blocked
    signal stays blocked in a process that is started (sigprocmask(2)), until that process calls
    :func:`ignore_ctrl_c`.
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
    """Return an environment in which our modules are found where this process found them."""
    path = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
