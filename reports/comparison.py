"""The comparison of two sets of records, as data: each figure, and whether it differs."""

from dataclasses import dataclass
from enum import StrEnum

from reports.figure import Figure


class Difference(StrEnum):
    """How one figure of the head compares with the base's."""

    WORSE = "worse"
    BETTER = "better"
    CHANGED = "changed"
    EQUAL = "equal"
    NONE_DETECTED = "none detected"


@dataclass(frozen=True, slots=True)
class Ratio:
    """Head over base, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """One compared figure.

    Attributes:
        base, head: what each run measured.
        ratio: None if there are too few runs, or if a value is not above 0.
        is_judged: whether there were enough runs for an interval, of the ratio or the difference.
    """

    figure: Figure
    base: tuple[float, ...]
    head: tuple[float, ...]
    difference: Difference
    ratio: Ratio | None
    is_judged: bool


@dataclass(frozen=True, slots=True)
class Side:
    """The runs of one side that measured the same thing.

    Attributes:
        runs: how many there are.
        server: the command that started the target, or where it was.
        commits, versions: every distinct one that was checked out or installed.
    """

    runs: int
    server: str
    commits: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """What the runs of one load show about base and head.

    Attributes:
        what: the load, in a few words.
        rows: the figures that are not the same in every run; ``equal`` lists the others.
        notes: what a reader should know, one sentence each.
        forced: what differs between the sides although it should not.
    """

    what: str
    base: Side
    head: Side
    rows: tuple[Row, ...]
    equal: tuple[Row, ...]
    notes: tuple[str, ...]
    forced: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Comparison:
    """A whole comparison.

    Attributes:
        left_out: records that cannot be judged, and why, and those without a counterpart on the
            other side.
    """

    groups: tuple[GroupComparison, ...]
    left_out: tuple[str, ...]

    @property
    def judged(self) -> int:
        """The number of figures that have an interval."""
        rows = [row for group in self.groups for row in (*group.rows, *group.equal)]
        return sum(row.is_judged for row in rows)
