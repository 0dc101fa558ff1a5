"""The reference page of figures, docs/figures.md: the catalogue, and what scenarios declare."""

import sys
from collections.abc import Iterable, Iterator
from itertools import groupby
from typing import Final

from loadtests.scenarios.registry import SCENARIOS
from loadtests.scenarios.scripted import Scripted
from reports.catalogue import APART, DURATION_GROUPS, GROUPS, Group
from reports.figure import STATISTICS, Figure
from reports.measures import Measures

_INTRODUCTION: Final = """\
# Figures

The name of every figure of a run ends in its unit. `--json` and `swarmgate report --json` print
these names, and `--threshold`, objectives, claims, the gate and the matrix refer to them. A figure
that was not measured is absent, never zero, and a threshold on it fails. A name that a run cannot
have is refused before anything runs (exit status 2), and similar names are listed; a script may
have any name, by `measure` and `count`.

If a run has users of several kinds, a figure of one kind is prefixed with its name:
`talker.latency.p99_seconds`. A cause in brackets selects a part of what a figure counts:
`storm.failed_attempts[connect:refused]`. For each figure this page lists the direction in which it
is better, which `swarmgate compare` and the gate use, and how it is measured.

A scenario adds figures by declaring them ([scripting.md](scripting.md)); the header of a record
carries what its scenario declares. A duration that a script measures without declaring it is better
when it is shorter; a count without a declaration has no better direction.

[validity.md](validity.md) describes when a run may be judged at all. This page is made by
`nox -s docs`.

## Durations

`latency.p99_seconds` is a kind of duration and a statistic, in seconds. For a `count`,
neither direction is better; for the others it is that of their kind.

| statistic | |
|---|---|
"""
_ABOUT_HISTOGRAMS: Final = """
Durations are kept in histograms of three significant digits (HdrHistogram), so that a percentile is
within 0.1 % of the true one; a duration above an hour is cut off, and makes the run invalid. Those
of several processes are merged as histograms, never as percentiles.
"""
_ABOUT_SCENARIOS: Final = """
## Figures of one scenario

What a scenario declares in addition to the figures of every run. *Reported by* names the main
durations of its messages: a summary shows them first, and the default objective of
`swarmgate capacity` applies to the first.
"""


def figures_page() -> str:
    """Return the page as Markdown."""
    return "".join(
        (
            _INTRODUCTION,
            *(f"| `{it.key}` | {it.meaning} |\n" for it in STATISTICS.values()),
            _ABOUT_HISTOGRAMS,
            *map(_group, DURATION_GROUPS),
            "\n## All other figures\n",
            *map(_group, GROUPS),
            "\nIn addition there is `drain.closed_1000`, with any close code.\n",
            _ABOUT_SCENARIOS,
            *(_scenario(f"`{name}`", kind.measures) for name, kind in SCENARIOS.items()),
            _scenario("a script", Scripted.measures),
            "\n## Figures of claims and gates only\n",
            *map(_group, APART),
        )
    )


def _group(group: Group) -> str:
    return f"\n### {group.title}\n\n{group.how}\n\n{_table(group.figures)}"


def _scenario(name: str, measures: Measures) -> str:
    return f"\n### Scenario {name}\n\n{''.join(_declared(measures))}"


def _declared(measures: Measures) -> Iterator[str]:
    main = " and ".join(f"`{kind}`" for kind in measures.main)
    yield f"Reported by {main}.\n" if main else "Its messages are not timed.\n"
    for how, figures in groupby((*measures.durations, *measures.figures), lambda it: it.how):
        yield f"\n{how}\n\n{_table(figures)}"


def _table(figures: Iterable[Figure]) -> str:
    rows = (f"| `{it.key}` | {it.better} | {it.meaning} |\n" for it in figures)
    return f"| | better | what it is |\n|---|---|---|\n{''.join(rows)}"


if __name__ == "__main__":
    sys.stdout.write(figures_page())
