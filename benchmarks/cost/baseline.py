"""Committed counts, to compare those of other machines with.

Counts depend on the interpreter, on uvicorn and on the load, and not on how fast a machine is.
Instructions are left out, because they include those of the machine's C library.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.counting.count import Count
from benchmarks.counting.figures import FIGURES
from benchmarks.counting.process import Load

_OF_A_MACHINE: Final = "instructions"


class BaselineError(ValueError):
    """A baseline cannot be read, or is not about what is counted; the message says why."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """Earlier counts of an application.

    Attributes:
        python: the version of the interpreter that ran it; ``uvicorn`` is that of its server.
        connections: how many there were; ``messages`` is how many there were of each kind.
        figures: the figures by name (:data:`benchmarks.counting.figures.FIGURES`).
    """

    python: str
    uvicorn: str
    connections: int
    messages: int
    figures: Mapping[str, float]

    def against(self, counted: Count, load: Load) -> str:
        """Return why a count under a load cannot be compared with this one; empty if it can."""
        for what, mine, other in (
            ("Python", _minor(self.python), _minor(counted.python)),
            ("uvicorn", self.uvicorn, counted.uvicorn),
            ("connections", self.connections, load.connections),
            ("messages", self.messages, load.messages),
        ):
            if mine != other:
                return f"{what}: {mine} in the baseline, {other} here"
        return ""

    def ratios(self, counted: Count) -> dict[str, float]:
        """Return each figure of a count, except instructions, divided by what it was before."""
        return {
            name: counted.figures[name] / before
            for name, before in self.figures.items()
            if name in counted.figures and FIGURES[name][0] != _OF_A_MACHINE
        }


def read_baseline(path: Path) -> Baseline:
    """Read what ``swarmgate count --json`` wrote.

    Raises:
        BaselineError: it does not exist, or is not such a document.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        figures = {name: float(value) for name, value in document["figures"].items()}
        numbers = int(document["connections"]), int(document["messages"])
        found = Baseline(document["python"], document["uvicorn"], *numbers, figures)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaselineError(
            f"{path} is not a document of swarmgate count --json: {error}"
        ) from None
    for name, value in found.figures.items():
        if name not in FIGURES:
            raise BaselineError(f"{path}: {name} is not a counted figure")
        if not value > 0:
            raise BaselineError(f"{path}: {name} is {value:g}; a ratio needs a figure above 0")
    return found


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
