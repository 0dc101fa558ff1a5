"""Look up what is known about a figure by its name: the only way into the catalogue."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Final

from reports.catalogue import APART, DURATION_GROUPS, GROUPS, Group
from reports.figure import STATISTICS, Better, Figure
from reports.measures import Measures
from reports.record import Header

_CLOSED: Final = re.compile(r"drain\.closed_(?P<part>\d{4})")
_CLOSED_WITH: Final = Figure(
    "",
    "closed with",
    Better.NEITHER,
    "Connections that ended with that close code.",
    "Counted by the swarm processes at each end.",
)
_PART: Final = re.compile(r"(?P<whole>[^\[]+)\[(?P<part>.+)\]")
_SCRIPT: Final = "script."
_MOST_NEAR: Final = 3


def _by_key(groups: Iterable[Group]) -> Mapping[str, Figure]:
    return {figure.key: figure for group in groups for figure in group.figures}


_APART: Final = _by_key(APART)


@dataclass(frozen=True, slots=True)
class Catalogue:
    """The figures that a run may have.

    Attributes:
        durations: the kinds of durations, each with every statistic.
        single: all other figures.
    """

    durations: Mapping[str, Figure]
    single: Mapping[str, Figure]

    def with_those_of(self, *measures: Measures) -> "Catalogue":
        """Return this catalogue extended with what scenarios declare."""
        durations = {it.key: it for declared in measures for it in declared.durations}
        single = {it.key: it for declared in measures for it in declared.figures}
        return Catalogue({**self.durations, **durations}, {**self.single, **single})

    def figure(self, name: str) -> Figure:
        """Return what is known about a figure.

        A name may be prefixed with that of a kind of users, as in ``talker.latency.p99_seconds``.
        An undeclared name is taken to be a script's own: its durations are better when they are
        shorter, and nothing is known about anything else.
        """
        if (known := self._listed(name) or _APART.get(name)) is not None:
            return known
        user, _, rest = name.partition(".")
        if user != "script" and (self._listed(rest) is not None or rest.startswith(_SCRIPT)):
            own = self.figure(rest)
            return replace(own, key=name, label=f"{user}: {own.label}")
        kind, _, statistic = name.rpartition(".")
        if kind and statistic in STATISTICS:
            return _with_statistic(_timed_by_script(kind), statistic)
        label = name.removeprefix(_SCRIPT).replace("_", " ")
        return Figure(
            name, label, Better.NEITHER, f"What the script counts as {label}.", "By the script."
        )

    def duration(self, kind: str) -> Figure:
        """Return what is known about a kind of duration."""
        return self.durations.get(kind) or _timed_by_script(kind)

    def headings(self, kinds: Iterable[str]) -> dict[str, str]:
        """Return the heading of each of these kinds of durations, in the catalogue's order.

        A script's own come last, under the names it gave them.
        """
        wanted = set(kinds)
        known = {kind: held.title for kind, held in self.durations.items() if kind in wanted}
        return known | {kind: kind for kind in sorted(wanted - known.keys())}

    def has(self, name: str) -> bool:
        """Return whether a run may have a figure with this name."""
        return self._listed(name) is not None

    def against(self, name: str) -> str:
        """Return why a run has no such figure, with similar names; empty if it may have it."""
        if self.has(name):
            return ""
        timed = (f"{kind}.{statistic}" for kind in self.durations for statistic in STATISTICS)
        near = nearest(name, (*self.single, *timed))
        return f"no figure is called {name!r}{near} (docs/figures.md lists them)"

    def _listed(self, name: str) -> Figure | None:
        if name in self.single:
            return self.single[name]
        kind, _, statistic = name.rpartition(".")
        if kind in self.durations and statistic in STATISTICS:
            return _with_statistic(self.durations[kind], statistic)
        if match := _CLOSED.fullmatch(name):
            return _of_part(_CLOSED_WITH, name, match["part"])
        # A figure with a cause in brackets covers a part.
        if (match := _PART.fullmatch(name)) and (whole := self.single.get(match["whole"])):
            return _of_part(whole, name, match["part"])
        return None


CATALOGUE: Final = Catalogue(_by_key(DURATION_GROUPS), _by_key(GROUPS))
"""The figures that any run may have, whatever its scenario declares."""


def figure(name: str) -> Figure:
    """Return what is known about a figure that is not a scenario's own."""
    return CATALOGUE.figure(name)


def catalogue_of(*headers: Header) -> Catalogue:
    """Return the figures that these runs may have, including those of their scenarios."""
    declared = (
        measures
        for header in headers
        for measures in (header.measures, *(user.measures for user in header.users))
    )
    return CATALOGUE.with_those_of(*declared)


def against_apart(name: str, subject: str) -> str:
    """Return why a subject, such as a thread, has no such figure of its own; empty if it has."""
    known = [key for key in _APART if key.startswith(f"{subject}.")]
    return "" if name in known else f"no figure is called {name!r}; there are {', '.join(known)}"


def against_measures(measures: Measures) -> str:
    """Return what is wrong with what a scenario declares; empty if it is sound."""
    for kind in measures.durations:
        if not kind.key.isidentifier():
            return f"a duration is called {kind.key!r}; its name must be like a variable's"
        if kind.key in CATALOGUE.durations:
            return f"a duration is called {kind.key!r}, which every run has; choose another name"
    for other in measures.figures:
        if "." not in other.key:
            return f"a figure is called {other.key!r}; its name must be like 'mine.received'"
        if CATALOGUE.has(other.key):
            return f"a figure is called {other.key!r}, which every run has; choose another name"
    declared = CATALOGUE.with_those_of(measures)
    for kind_name in measures.main:
        if kind_name not in declared.durations:
            near = nearest(kind_name, declared.durations)
            return f"main is {kind_name!r}, which is not a kind of duration{near}"
    return ""


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the names similar to one, as ``; did you mean a, b?``; empty if there are none."""
    near = difflib.get_close_matches(name, tuple(known), n=_MOST_NEAR)
    return f"; did you mean {', '.join(near)}?" if near else ""


def _of_part(whole: Figure, name: str, part: str) -> Figure:
    return replace(whole, key=name, label=f"{whole.label} {part}")


def _timed_by_script(kind: str) -> Figure:
    meaning = f"What the script measures as {kind}."
    return Figure(kind, kind, Better.LOWER, meaning, "Timed by the script.")


def _with_statistic(kind: Figure, statistic: str) -> Figure:
    """Return a statistic of a kind of duration; neither direction is better for a count."""
    described = STATISTICS[statistic]
    return replace(
        kind,
        key=f"{kind.key}.{statistic}",
        label=f"{kind.label} {described.label}",
        better=Better.NEITHER if statistic == "count" else kind.better,
        meaning=f"{kind.meaning.removesuffix('.')}: {described.meaning}.",
    )
