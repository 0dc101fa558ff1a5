"""A figure: what is known about a measured quantity, apart from its value."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from reports.units import unit_of


class Better(StrEnum):
    """The direction in which a figure is better."""

    LOWER = "lower"
    HIGHER = "higher"
    NEITHER = "neither"


class Subject(StrEnum):
    """What a figure is about."""

    TARGET = "target"
    GENERATOR = "generator"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class Figure:
    """What is known about a figure, or about a kind of duration before its statistic.

    Attributes:
        key: its name, which ends in its unit.
        label: its human-readable name, for a table.
        better: whether lower or higher is better; neither for figures that only describe.
        meaning: what it is, in one sentence.
        how: how it is measured, in one or two sentences.
        subject: what it is about.
    """

    key: str
    label: str
    better: Better
    meaning: str
    how: str
    subject: Subject = Subject.TARGET

    @property
    def unit(self) -> str:
        """The unit: seconds, bytes, ratio, per_second, or none for a count."""
        return unit_of(self.key)

    @property
    def title(self) -> str:
        """The label as it appears at the beginning of a line."""
        return self.label[:1].upper() + self.label[1:]


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic that each kind of duration has."""

    key: str
    label: str
    meaning: str


STATISTICS: Final = {
    statistic.key: statistic
    for statistic in (
        Statistic("count", "count", "how many there were"),
        Statistic("mean_seconds", "mean", "their mean"),
        Statistic("max_seconds", "max", "the longest"),
        Statistic("p50_seconds", "p50", "the median"),
        Statistic("p90_seconds", "p90", "90 % took no longer"),
        Statistic("p99_seconds", "p99", "99 % took no longer"),
        Statistic("p999_seconds", "p99.9", "99.9 % took no longer"),
    )
}
"""The statistics of each kind of duration, as in ``latency.p99_seconds``."""

Row = tuple[str, str, Better, str]
"""A figure's key, label, direction and meaning."""


def measured_alike(
    how: str, rows: Iterable[Row], subject: Subject = Subject.TARGET
) -> tuple[Figure, ...]:
    """Return figures that are measured the same way, which ``how`` describes."""
    return tuple(Figure(*row, how=how, subject=subject) for row in rows)
