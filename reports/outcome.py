"""The words for how anything that was judged ended: verdict, outcome and exit status.

Runs, claims, gates, capacities and projections all end with one of these exit statuses, and what
weighs most is the same for all: what cannot be judged, then what failed, then what is undecided.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final


class ExitStatus(IntEnum):
    """The meaning of a command's exit status."""

    HELD = 0
    """Everything that was checked holds."""
    FAILED = 1
    """The target, a script, a threshold, a claim or a gate failed."""
    USAGE = 2
    """The command was wrong; nothing was run."""
    INVALID = 3
    """The run cannot be judged: the generator was saturated, or hit a limit of its machine."""
    INCONCLUSIVE = 4
    """The measurements were made, but the figures do not decide."""
    INTERRUPTED = 130
    """A user or a signal ended it; the record is complete up to then."""


class Verdict(StrEnum):
    """What measurements say about a statement."""

    HOLDS = "holds"
    REFUTED = "refuted"
    INCONCLUSIVE = "inconclusive"
    NOT_MEASURED = "not measured"


# Which status takes precedence when there are several runs.
_WEIGHT: Final = (
    ExitStatus.INTERRUPTED,
    ExitStatus.USAGE,
    ExitStatus.INVALID,
    ExitStatus.FAILED,
    ExitStatus.INCONCLUSIVE,
    ExitStatus.HELD,
)


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended.

    Attributes:
        status: the exit status.
        problems: why, each as a sentence without a full stop.
    """

    status: ExitStatus
    problems: tuple[str, ...] = ()

    @property
    def line(self) -> str:
        """The name of the status, and why."""
        return f"{self.status.name}: {'; '.join(self.problems) or 'nothing went wrong'}"


def outcome_from(
    *,
    invalid: Sequence[str] = (),
    failed: Sequence[str] = (),
    undecided: Sequence[str] = (),
    held: str = "",
) -> Outcome:
    """Return the outcome of several judgements, with the reasons of the kind that weighs most.

    Args:
        invalid: what could not be measured or judged.
        failed: what does not hold.
        undecided: what the figures do not decide.
        held: what to say if there is none of these.
    """
    reasons = {
        ExitStatus.INVALID: invalid,
        ExitStatus.FAILED: failed,
        ExitStatus.INCONCLUSIVE: undecided,
        ExitStatus.HELD: (held,) if held else (),
    }
    status = worst([status for status, each in reasons.items() if each])
    return Outcome(status, tuple(reasons[status]))


def worst(statuses: Sequence[ExitStatus]) -> ExitStatus:
    """Return the status that takes precedence; held if there are none."""
    return next((status for status in _WEIGHT if status in statuses), ExitStatus.HELD)
