"""Two sets of runs side by side: each figure, and whether it differs, as pure arithmetic."""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Final

from benchmarks.judging.alike import Alike, Matched, Pair, Run, described
from benchmarks.judging.shift import FEWEST_A_SIDE, is_enough, ratio, shift
from reports.comparison import Comparison, Difference, GroupComparison, Ratio, Row, Side
from reports.figure import STATISTICS, Better, Figure, Subject
from reports.figures import catalogue_of
from reports.summary import HANDSHAKE

Choose = Callable[[Figure, str], bool]
"""Whether to show a figure, given the scenario of its runs."""

_STATISTICS: Final = ("p50_seconds", "p99_seconds")
# Parts of another duration, which only show where it was spent.
_PARTS: Final = frozenset(
    f"{name}{later}" for name in HANDSHAKE if name != "open" for later in ("", "_later")
) | {"service_time"}


def compare(matched: Matched, left_out: Iterable[str], choose: Choose) -> Comparison:
    """Compare everything that is comparable.

    Args:
        matched: the runs.
        left_out: the records that cannot be judged, and why.
        choose: which figures to compare.
    """
    without = [
        f"only {side}: {described(alike.runs[0].header)} ({_runs(len(alike.runs))})"
        for side, groups in (("base", matched.base_only), ("head", matched.head_only))
        for alike in groups
    ]
    groups = tuple(_compared(pair, choose) for pair in matched.pairs)
    return Comparison(groups, (*left_out, *without))


def matters(known: Figure, scenario: str) -> bool:
    """Return whether a figure is one that readers look for first.

    These are the figures about the target that are better in some direction, or are what the
    scenario is about; for durations, the median and the p99, except for parts of other durations.
    """
    if known.subject is not Subject.TARGET:
        return False
    kind, _, statistic = known.key.rpartition(".")
    if statistic in STATISTICS:
        return statistic in _STATISTICS and kind.rpartition(".")[2] not in _PARTS
    return known.better is not Better.NEITHER or known.key.startswith((f"{scenario}.", "script."))


def difference_of(known: Figure, low: float, high: float, nothing: float) -> Difference:
    """Return what an interval says about a figure.

    Args:
        known: the figure.
        low: the lower end of the interval.
        high: its upper end.
        nothing: the value if nothing differs: 1 for a ratio, 0 for a difference.
    """
    if low <= nothing <= high:
        return Difference.NONE_DETECTED
    if known.better is Better.NEITHER:
        return Difference.CHANGED
    is_lower = high < nothing
    return Difference.BETTER if is_lower == (known.better is Better.LOWER) else Difference.WORSE


def row_of(known: Figure, base: Sequence[float], head: Sequence[float]) -> Row:
    """Compare one figure by what each run measured.

    If a value is not above 0, there is no ratio; then the difference decides, by the same test.
    """
    before, after = tuple(base), tuple(head)
    judged = is_enough(len(base), len(head))
    if len({*base, *head}) == 1:
        return Row(known, before, after, Difference.EQUAL, None, is_judged=judged)
    if not judged:
        return Row(known, before, after, Difference.NONE_DETECTED, None, is_judged=False)
    if min(*base, *head) > 0:
        found = ratio(base, head)
        difference = difference_of(known, found.low, found.high, 1.0)
        given = Ratio(found.value, found.low, found.high)
        return Row(known, before, after, difference, given, is_judged=True)
    found = shift(base, head)
    difference = difference_of(known, found.low, found.high, 0.0)
    return Row(known, before, after, difference, None, is_judged=True)


def _compared(pair: Pair, choose: Choose) -> GroupComparison:
    base, head = pair.base.runs, pair.head.runs
    scenario = base[0].header.scenario
    catalogue = catalogue_of(*(run.header for run in (*base, *head)))
    names = [
        name
        for name in dict.fromkeys(name for run in (*base, *head) for name in run.figures)
        if choose(catalogue.figure(name), scenario)
    ]
    everywhere = [name for name in names if _is_everywhere(name, (*base, *head))]
    rows = [
        row_of(catalogue.figure(name), _values(name, base), _values(name, head))
        for name in everywhere
    ]
    return GroupComparison(
        what=described(base[0].header),
        base=_side(pair.base),
        head=_side(pair.head),
        rows=tuple(row for row in rows if row.difference is not Difference.EQUAL),
        equal=tuple(row for row in rows if row.difference is Difference.EQUAL),
        notes=tuple(_notes(pair, [name for name in names if name not in everywhere])),
        forced=pair.differences,
    )


def _is_everywhere(name: str, runs: Sequence[Run]) -> bool:
    return all(math.isfinite(run.figures.get(name, math.nan)) for run in runs)


def _values(name: str, runs: Sequence[Run]) -> list[float]:
    return [run.figures[name] for run in runs]


def _side(alike: Alike) -> Side:
    headers = [run.header for run in alike.runs]
    versions = {
        (name, version)
        for header in headers
        for name, version in {**header.versions, "python": header.machine.python}.items()
    }
    commits = dict.fromkeys(header.git_commit or "" for header in headers)
    return Side(len(headers), alike.server, tuple(filter(None, commits)), tuple(sorted(versions)))


def _notes(pair: Pair, missing: Sequence[str]) -> Iterator[str]:
    base, head = pair.base.runs, pair.head.runs
    if not is_enough(len(base), len(head)):
        yield (
            f"Too few runs to detect a difference: {len(base)} of base and {len(head)} of head; "
            f"make {FEWEST_A_SIDE} of each."
        )
    elif not _are_interleaved(base, head):
        yield (
            "All runs of one side were made before those of the other: any drift in "
            "between looks like a difference. Make them in turn."
        )
    for side, alike in (("base", pair.base), ("head", pair.head)):
        if len(found := _side(alike).commits) > 1:
            yield f"The runs of {side} are of {len(found)} commits."
    yield from _not_compared(base, head, missing)


def _not_compared(base: Sequence[Run], head: Sequence[Run], names: Sequence[str]) -> Iterator[str]:
    """Yield the figures that not every run has; one that was not measured is never compared."""
    by_reason: dict[str, list[str]] = {}
    for name in names:
        counts = [sum(_is_everywhere(name, (run,)) for run in runs) for runs in (base, head)]
        if counts == [len(base), 0]:
            where = "measured in base alone"
        elif counts == [0, len(head)]:
            where = "measured in head alone"
        else:
            where = "not measured in every run"
        by_reason.setdefault(where, []).append(name)
    yield from (f"Not compared, {where}: {', '.join(found)}." for where, found in by_reason.items())


def _are_interleaved(base: Sequence[Run], head: Sequence[Run]) -> bool:
    before, after = ([run.started for run in runs] for runs in (base, head))
    return max(before) >= min(after) and max(after) >= min(before)


def _runs(count: int) -> str:
    return f"{count} run{'s' * (count != 1)}"
