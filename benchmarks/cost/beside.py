"""Several subjects under one load, in turn, and one judged against another by their ratio.

How fast a machine is, and what else it does at the time, affects all figures of a round alike, and
cancels out in their ratio. Only what no machine changes, such as the bytes of a connection, is
judged by itself. What is judged is the interval over the rounds, so that neither a lucky round nor
an unlucky one decides.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.judging.statistics import level_interval, ratio_interval, verdict
from reports.claim_result import Estimate
from reports.outcome import Verdict
from reports.units import format_figure, significant

FEWEST_ROUNDS: Final = 5
"""The fewest to judge: with fewer, the interval is so wide that chance decides what it shows."""

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Bound:
    """What a ratio, or a figure that no machine changes, has to be."""

    at_least: float = 0.0
    at_most: float = math.inf

    def text(self, write: Callable[[float], str]) -> str:
        """Return it in words, with its numbers formatted by ``write``."""
        least = f"at least {write(self.at_least)}" if self.at_least > 0 else ""
        most = f"at most {write(self.at_most)}" if self.at_most < math.inf else ""
        return ", ".join(filter(None, (least, most))) or "not bounded"


@dataclass(frozen=True, slots=True)
class Comparison:
    """The ratio of one subject's figure to another's, or a figure by itself.

    Attributes:
        figure: the figure that is judged by itself; empty if a ratio is judged.
    """

    name: str
    bound: Bound
    estimate: Estimate
    figure: str = ""

    @property
    def verdict(self) -> Verdict:
        """What the interval says about the bound."""
        return verdict(self.estimate, self.bound.at_least, self.bound.at_most)

    def __str__(self) -> str:
        estimate = self.estimate
        value, low, high = map(self._written, (estimate.value, estimate.low, estimate.high))
        what = value if self.figure else f"{value} times"
        bound = self.bound.text(self._written)
        verdict = "reported" if self.bound == Bound() else self.verdict
        return f"{self.name}: {what} ({low} to {high}; {bound}): {verdict}"

    def _written(self, value: float) -> str:
        return format_figure(self.figure, value) if self.figure else significant(value)


class Beside:
    """The measurements of several subjects, round after round.

    Attributes:
        figures: the figures of each complete round, by subject.
    """

    def __init__(self, subjects: Sequence[str], measure: Callable[[str], Figures]) -> None:
        self._measure = measure
        self._begun = 0
        self.figures: dict[str, list[Figures]] = {name: [] for name in subjects}

    def round(self) -> None:
        """Measure each once; every second time backwards, so that drift favours none of them.

        Raises whatever measuring one of them raises; nothing of such a round is kept.
        """
        order = list(self.figures)
        if self._begun % 2:
            order.reverse()
        self._begun += 1
        measured = {name: self._measure(name) for name in order}
        for name, figures in measured.items():
            self.figures[name].append(figures)

    @property
    def whole_rounds(self) -> int:
        """The number of rounds in which each was measured."""
        return min(map(len, self.figures.values()))

    def values(self, subject: str, figure: str) -> list[float]:
        """Return a figure of each round. Raise :class:`KeyError` if a round has none."""
        return [figures[figure] for figures in self.figures[subject]]

    def compare(self, figure: str, subject: str, reference: str, bound: Bound) -> Comparison:
        """Compare a figure of two subjects, round by round.

        Raises:
            KeyError: a round has no such figure.
            ValueError: there are too few rounds, or a figure is not above 0.
        """
        self._check_rounds()
        estimate = ratio_interval(self.values(subject, figure), self.values(reference, figure))
        return Comparison(f"{figure}, {subject} beside {reference}", bound, estimate)

    def by_itself(self, figure: str, subject: str, bound: Bound) -> Comparison:
        """Judge a figure that is the same on every machine.

        Raises:
            KeyError: a round has no such figure.
            ValueError: there are too few rounds, or a figure is not finite.
        """
        self._check_rounds()
        estimate = level_interval(self.values(subject, figure))
        return Comparison(f"{figure}, {subject}", bound, estimate, figure)

    def _check_rounds(self) -> None:
        if self.whole_rounds < FEWEST_ROUNDS:
            raise ValueError(
                f"{self.whole_rounds} rounds are too few; judged are at least {FEWEST_ROUNDS}"
            )
