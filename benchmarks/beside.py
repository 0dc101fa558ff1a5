"""Several servers under one load, in turn, and one judged by another: by a ratio, never by itself.

How fast a machine is, and what else it does at the time, is in every figure of a round alike, and
cancels in their ratio. Judged is the interval over the rounds, so that neither a lucky round nor
an unlucky one decides.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.judging.statistics import ratio_interval, verdict
from reports.units import significant
from reports.verdict import Estimate, Verdict

Figures = Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Bound:
    """What a ratio has to be."""

    at_least: float = 0.0
    at_most: float = math.inf

    def __str__(self) -> str:
        least = f"at least {self.at_least:g}" if self.at_least else ""
        most = f"at most {self.at_most:g}" if self.at_most < math.inf else ""
        return ", ".join(filter(None, (least, most))) or "not bounded"


@dataclass(frozen=True, slots=True)
class Comparison:
    """How many times a figure of one server is that of another, round by round."""

    name: str
    bound: Bound
    estimate: Estimate

    @property
    def verdict(self) -> Verdict:
        """What the interval says of the bound."""
        return verdict(self.estimate, self.bound.at_least, self.bound.at_most)

    def __str__(self) -> str:
        told = self.estimate
        value, low, high = map(significant, (told.value, told.low, told.high))
        return f"{self.name}: {value} times ({low} to {high}; {self.bound}): {self.verdict}"


class Beside:
    """What each of several servers measured, round after round.

    Attributes:
        figures: the figures of each round, by server.
    """

    def __init__(self, servers: Sequence[str], measure: Callable[[str], Figures]) -> None:
        self._measure = measure
        self.figures: dict[str, list[Figures]] = {name: [] for name in servers}

    def round(self) -> None:
        """Measure each once; every second time backwards, lest a drift favour one of them."""
        order = list(self.figures)
        if len(self.figures[order[0]]) % 2:
            order.reverse()
        for name in order:
            self.figures[name].append(self._measure(name))

    def values(self, server: str, figure: str) -> list[float]:
        """Return a figure of each round. Raise :class:`KeyError` if a round has none."""
        return [figures[figure] for figures in self.figures[server]]

    def compare(self, figure: str, server: str, reference: str, bound: Bound) -> Comparison:
        """Compare a figure of two servers, each round's with that of the same round.

        Raises:
            KeyError: a round has no such figure.
            ValueError: there are fewer than two rounds, or a figure is not above 0.
        """
        estimate = ratio_interval(self.values(server, figure), self.values(reference, figure))
        return Comparison(f"{figure}, {server} beside {reference}", bound, estimate)
