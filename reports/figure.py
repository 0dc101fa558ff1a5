"""A figure: what is known of something that is measured, beside its value."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from reports.units import unit_of


class Better(StrEnum):
    """In which direction a figure is better."""

    LOWER = "lower"
    HIGHER = "higher"
    NEITHER = "neither"


class Subject(StrEnum):
    """What a figure says something about."""

    TARGET = "target"
    GENERATOR = "generator"
    MACHINE = "machine"


@dataclass(frozen=True, slots=True)
class Figure:
    """What is known of a figure, or of a kind of duration before its statistic.

    Attributes:
        key: its name, whose end is its unit.
        label: as a person says it in a table.
        better: whether it is better lower or higher; neither of what only says what there was.
        meaning: what it is, one sentence.
        how: how it is measured, one sentence or two.
        subject: what it says something about.
    """

    key: str
    label: str
    better: Better
    meaning: str
    how: str
    subject: Subject = Subject.TARGET

    @property
    def unit(self) -> str:
        """The unit: seconds, bytes, ratio, per_second, or none of a count."""
        return unit_of(self.key)

    @property
    def title(self) -> str:
        """The label as it begins a line."""
        return self.label[:1].upper() + self.label[1:]


@dataclass(frozen=True, slots=True)
class Statistic:
    """A statistic of each kind of duration."""

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
    """Return figures that are measured in the same way, which ``how`` describes."""
    return tuple(Figure(*row, how=how, subject=subject) for row in rows)
