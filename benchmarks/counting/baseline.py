"""Counts that were committed, which may be held beside those of any machine.

Counts are the same on every machine that has the same interpreter and uvicorn. Instructions are
not, for those of the C library are among them.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.counting.count import Count
from benchmarks.counting.figures import FIGURES

_OF_A_MACHINE: Final = "instructions"


class BaselineError(ValueError):
    """A baseline cannot be read, or does not tell of what is counted; the message says why."""


@dataclass(frozen=True, slots=True)
class Baseline:
    """What was counted of an application before.

    Attributes:
        python: the version of the interpreter that ran it, ``uvicorn`` that of its server.
        figures: by name (:data:`benchmarks.counting.figures.FIGURES`).
    """

    python: str
    uvicorn: str
    figures: dict[str, float]

    def against(self, counted: Count) -> str:
        """Say why a count cannot be held beside this one; nothing if it can."""
        mine, other = (_minor(it) for it in (self.python, counted.python))
        if mine != other:
            return f"the baseline is of Python {mine}, counted was on {other}"
        if self.uvicorn != counted.uvicorn:
            return f"the baseline is of uvicorn {self.uvicorn}, counted was on {counted.uvicorn}"
        return ""

    def ratios(self, counted: Count) -> dict[str, float]:
        """Give each figure of a count divided by what it was, but for instructions."""
        return {
            name: counted.figures[name] / before
            for name, before in self.figures.items()
            if name in counted.figures and FIGURES[name][0] != _OF_A_MACHINE
        }


def read_baseline(path: Path) -> Baseline:
    """Read what ``swarmgate count --json`` wrote.

    Raises:
        BaselineError: it is not there, or no such document.
    """
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
        figures = {name: float(value) for name, value in document["figures"].items()}
        found = Baseline(document["python"], document["uvicorn"], figures)
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BaselineError(f"{path} is no document of swarmgate count --json: {error}") from None
    for name, value in found.figures.items():
        if name not in FIGURES:
            raise BaselineError(f"{path}: {name} is nothing that is counted")
        if not value > 0:
            raise BaselineError(f"{path}: {name} is {value:g}; a figure without a ratio is no use")
    return found


def _minor(version: str) -> str:
    return ".".join(version.split(".")[:2])
