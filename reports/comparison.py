"""What two sets of records say beside each other, as data: each figure, and whether it differs."""

from dataclasses import dataclass
from enum import StrEnum

from reports.figure import Figure


class Difference(StrEnum):
    """How one figure of the head compares with the base's."""

    WORSE = "worse"
    BETTER = "better"
    CHANGED = "changed"
    EQUAL = "equal"
    NONE_TOLD = "~"


@dataclass(frozen=True, slots=True)
class Ratio:
    """Head over base, with the ends of its 95 % interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Row:
    """One figure, compared.

    Attributes:
        base, head: what each run measured.
        ratio: None where there are too few runs, or where a value is not above 0.
        is_judged: whether there were runs enough for an interval, of ratio or of difference.
    """

    figure: Figure
    base: tuple[float, ...]
    head: tuple[float, ...]
    difference: Difference
    ratio: Ratio | None
    is_judged: bool


@dataclass(frozen=True, slots=True)
class Side:
    """The runs of one side that measured the same.

    Attributes:
        runs: how many.
        server: the command that started the target, or where it was.
        commits, versions: of whatever was checked out and installed, each there was.
    """

    runs: int
    server: str
    commits: tuple[str, ...]
    versions: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class GroupComparison:
    """What runs of one load say of base and head.

    Attributes:
        what: the load, in a few words.
        rows: the figures that are not the same in every run; ``equal`` are the others.
        notes: what a reader should know, a sentence each.
        forced: what differs between the sides though it should not.
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
        left_out: records that judge nothing, and why; those that have no like on the other side.
    """

    groups: tuple[GroupComparison, ...]
    left_out: tuple[str, ...]

    @property
    def judged(self) -> int:
        """How many figures have an interval."""
        rows = [row for group in self.groups for row in (*group.rows, *group.equal)]
        return sum(row.is_judged for row in rows)
