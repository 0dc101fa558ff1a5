"""The swarm processes of a load, and what each has reported so far; no I/O."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from loadtests.plan.plan import ProcessPlan
from loadtests.scenarios.scenario import Published, merged


@dataclass(slots=True)
class Member:
    """One swarm process.

    Attributes:
        process: its number in the run.
        name: its name for display.
        share: its share of the plan.
        clock_ns: by how much its clock is ahead of the leader's.
        reports: its reports that have not been taken yet, by name.
        is_lost: whether it ended unexpectedly; ``has_ended`` is for an expected end.
        open, pending: in a live load, its connections, and those that it is opening.
        order, ordered: the last order that it has taken, and the last that it was given.
        part: its part of the rate.
        is_measuring: whether it was given a load that is not closed yet.
        is_held: whether changes to its number of connections are held back.
    """

    process: int
    name: str
    share: ProcessPlan
    clock_ns: int = 0
    reports: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    is_lost: bool = False
    has_ended: bool = False
    open: int = 0
    pending: int = 0
    order: int = 0
    ordered: int = 0
    part: float = 0.0
    is_measuring: bool = False
    is_held: bool = False

    @property
    def is_living(self) -> bool:
        """Whether it still runs, as far as is known."""
        return not (self.is_lost or self.has_ended)

    @property
    def is_settled(self) -> bool:
        """Whether it has all the connections that it was ordered to have."""
        return self.order == self.ordered and not self.pending

    def receive(self, name: str, detail: Mapping[str, Any]) -> None:
        """Take one of its reports."""
        if name == "population":
            self.open, self.pending = detail["open"], detail["pending"]
            self.order = detail["order"]
        else:
            self.reports[name] = detail


class Roster:
    """All swarm processes of a load, by their numbers."""

    def __init__(self) -> None:
        self.members: dict[int, Member] = {}

    def add(self, member: Member) -> None:
        """Add a member."""
        self.members[member.process] = member

    def living(self) -> Iterator[Member]:
        """Yield the members that still run."""
        # One may be added during the iteration.
        return (it for it in tuple(self.members.values()) if it.is_living)

    def measuring(self) -> Iterator[Member]:
        """Yield the members that have a load."""
        return (it for it in self.living() if it.is_measuring)

    def all_reported(self, name: str) -> bool:
        """Return whether every process that still runs has reported ``name``."""
        return all(name in it.reports for it in self.living())

    def all_measuring_reported(self, name: str) -> bool:
        """Return whether every process that has a load has reported ``name``."""
        return all(name in it.reports for it in self.measuring())

    def take(self, name: str) -> list[tuple[Member, Mapping[str, Any]]]:
        """Return and remove each report of this name, even of processes that have ended since."""
        return [(it, it.reports.pop(name)) for it in self.members.values() if name in it.reports]

    def published(self, name: str) -> dict[str, Published]:
        """Return what all have published with their reports ``name``, by kind of users."""
        taken = self.take(name)
        users = {it.share.user for it in self.members.values()}
        return {
            user: merged(
                report["published"] for member, report in taken if member.share.user == user
            )
            for user in users
        }
