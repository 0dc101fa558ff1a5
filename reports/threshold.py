"""Thresholds: conditions on a figure of a run, written like ``latency.p99_seconds<=5ms``."""

import math
import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reports.units import format_figure, parse_figure

_FORM: Final = re.compile(r"\s*([^\s<>=][^<>=]*?)\s*(<=|>=|<|>)\s*([^\s=].*?)\s*")
_HOLDS: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<=": operator.le,
    "<": operator.lt,
    ">=": operator.ge,
    ">": operator.gt,
}


@dataclass(frozen=True, slots=True)
class Threshold:
    """A condition on one figure.

    Attributes:
        figure: its name, with its unit.
        relation: ``<=``, ``<``, ``>=`` or ``>``.
        value: the value to compare it with, in the figure's unit.
    """

    figure: str
    relation: str
    value: float

    def __str__(self) -> str:
        return f"{self.figure} {self.relation} {format_figure(self.figure, self.value)}"


def parse_threshold(text: str) -> Threshold:
    """Parse one threshold. Raises ValueError."""
    match = _FORM.fullmatch(text)
    if match is None:
        raise ValueError(
            f"{text!r} is not a threshold; write it like latency.p99_seconds<=5ms or errors<=0"
        )
    figure, relation, value = match.groups()
    return Threshold(figure, relation, parse_figure(figure, value))


def holds(threshold: Threshold, figures: Mapping[str, float]) -> bool:
    """Return whether a threshold holds; one on a figure that was not measured does not."""
    found = figures.get(threshold.figure)
    return found is not None and _HOLDS[threshold.relation](found, threshold.value)


def failures(
    thresholds: Sequence[Threshold], figures: Mapping[str, float]
) -> Iterator[tuple[Threshold, str]]:
    """Yield each threshold that does not hold, with what was found; an unmeasured figure fails."""
    for threshold in thresholds:
        found = figures.get(threshold.figure)
        if found is None or math.isnan(found):
            yield threshold, "not measured"
        elif not holds(threshold, figures):
            yield threshold, format_figure(threshold.figure, found)
