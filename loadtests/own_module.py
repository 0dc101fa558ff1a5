"""Our own modules as processes: these, whatever lies in the directory in which a person is."""

import os
import sys
from pathlib import Path
from typing import Final

# After so long without a word a swarm process hangs: it is stopped, or its script does not let go.
MOST_SILENT_SECONDS: Final = 60

_ROOT: Final = Path(__file__).resolve().parents[1]


def own_module(name: str) -> tuple[str, ...]:
    """Give the command that runs one of our modules.

    Without ``-P`` a folder ``reports`` or a file ``uvloop.py`` in the working directory would be
    imported instead of what is meant (``sys.flags.safe_path``).
    """
    return (sys.executable, "-P", "-m", name)


def own_environment() -> dict[str, str]:
    """Give the environment in which it is found where this process has found it."""
    path = [str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {**os.environ, "PYTHONPATH": os.pathsep.join(path)}
