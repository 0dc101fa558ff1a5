"""What is known of a figure, looked up by its name: the one way into the catalogue."""

import difflib
import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Final

from reports.catalogue import (
    APART,
    DURATION_GROUPS,
    GROUPS,
    STATISTICS,
    Better,
    Figure,
    Group,
)


def _by_key(groups: Iterable[Group]) -> Mapping[str, Figure]:
    return {figure.key: figure for group in groups for figure in group.figures}


DURATIONS: Final = _by_key(DURATION_GROUPS)
"""The kinds of durations, each to be had with every statistic."""
SINGLE: Final = _by_key(GROUPS)
"""The other figures of a run."""
_APART: Final = _by_key(APART)

# Figures with a code or a cause in their names, and those without that they are parts of.
_PATTERNS: Final = (
    (
        re.compile(r"drain\.closed_(?P<part>\d{4})"),
        Figure(
            "",
            "closed with",
            Better.NEITHER,
            "Connections that ended with that close code.",
            "Counted by the swarm processes at each end.",
        ),
    ),
    (re.compile(r"storm\.failed_attempts\[(?P<part>.+)\]"), SINGLE["storm.failed_attempts"]),
    (re.compile(r"drain\.failed_attempts\[(?P<part>.+)\]"), SINGLE["drain.failed_attempts"]),
)
_SCRIPT: Final = "script."
_MOST_NEAR: Final = 3


def figure(name: str) -> Figure:
    """Return what is known of a figure.

    A name may have that of a kind of users in front, as ``talker.latency.p99_seconds``. What is not
    in the catalogue is taken for a script's own: its durations are better when they are shorter,
    and of anything else nothing is known.
    """
    if (known := _listed(name) or _APART.get(name)) is not None:
        return known
    user, _, rest = name.partition(".")
    if user != "script" and (_listed(rest) is not None or rest.startswith(_SCRIPT)):
        own = figure(rest)
        return replace(own, key=name, label=f"{user}: {own.label}")
    kind, _, statistic = name.rpartition(".")
    if kind and statistic in STATISTICS:
        return _with_statistic(_timed_by_script(kind), statistic)
    label = name.removeprefix(_SCRIPT).replace("_", " ")
    return Figure(
        name, label, Better.NEITHER, f"What the script counts as {label}.", "By the script."
    )


def headings(kinds: Iterable[str]) -> dict[str, str]:
    """Return what stands before each of these kinds of durations, as the catalogue orders them.

    A script's own come last, under the names that it gave them.
    """
    told = set(kinds)
    known = {kind: held.title for kind, held in DURATIONS.items() if kind in told}
    return known | {kind: kind for kind in sorted(told - known.keys())}


def is_known(name: str) -> bool:
    """Return whether a run of a built-in scenario may have a figure of that name."""
    return _listed(name) is not None


def against_figure(name: str, scenario: str) -> str:
    """Return why a run of a scenario has no such figure, and near names; nothing if it may.

    A script, whose scenario is a file, has whatever figures it likes.
    """
    if scenario.endswith(".py") or is_known(name):
        return ""
    every = [*SINGLE, *(f"{kind}.{statistic}" for kind in DURATIONS for statistic in STATISTICS)]
    return f"no figure is called {name!r}{nearest(name, every)} (docs/figures.md lists them)"


def nearest(name: str, known: Iterable[str]) -> str:
    """Return the names that come near one, as ``; did you mean a, b?``; nothing if none does."""
    near = difflib.get_close_matches(name, tuple(known), n=_MOST_NEAR)
    return f"; did you mean {', '.join(near)}?" if near else ""


def _listed(name: str) -> Figure | None:
    """Find a figure of a run in the catalogue."""
    if name in SINGLE:
        return SINGLE[name]
    kind, _, statistic = name.rpartition(".")
    if kind in DURATIONS and statistic in STATISTICS:
        return _with_statistic(DURATIONS[kind], statistic)
    for pattern, known in _PATTERNS:
        if match := pattern.fullmatch(name):
            return replace(known, key=name, label=f"{known.label} {match['part']}")
    return None


def _timed_by_script(kind: str) -> Figure:
    meaning = f"What the script measures as {kind}."
    return Figure(kind, kind, Better.LOWER, meaning, "Timed by the script.")


def _with_statistic(kind: Figure, statistic: str) -> Figure:
    """Return a statistic of a kind of duration; of how many there were, none is better."""
    told = STATISTICS[statistic]
    return replace(
        kind,
        key=f"{kind.key}.{statistic}",
        label=f"{kind.label} {told.label}",
        better=Better.NEITHER if statistic == "count" else kind.better,
        meaning=f"{kind.meaning.removesuffix('.')}: {told.meaning}.",
    )
