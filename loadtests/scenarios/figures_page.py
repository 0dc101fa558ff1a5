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

Every figure of a run has a name whose end is its unit. These are what `--json` and
`swarmgate report --json` print, and what `--threshold`, objectives, claims, the gate and the matrix
ask for. One that was not measured is absent, never zero, and a threshold on it fails. A name that a
run cannot have is refused before anything runs (2), with those that come near; a script may have
any, by `measure` and `count`.

Where a run has users of several kinds, a figure of one kind has its name in front:
`talker.latency.p99_seconds`. In brackets a figure has a part of what it counts:
`storm.failed_attempts[connect:refused]`. Of each figure this page says in which direction it is
better, by which `swarmgate compare` and the gate go, and how it is measured.

A scenario adds figures by declaring them ([scripting.md](scripting.md)); the header of a record
carries what its scenario declares. A duration that a script measures without declaring it is better
when it is shorter; what it counts has no better direction.

When a run may be judged at all is in [validity.md](validity.md). This page is made by
`nox -s docs`.

## Durations

`latency.p99_seconds` is a kind of duration and a statistic, in seconds. A `count` is neither better
higher nor lower; the others are as their kind.

| statistic | |
|---|---|
"""
_ABOUT_HISTOGRAMS: Final = """
Durations are kept in histograms of three significant digits (HdrHistogram), so that a percentile is
within 0.1 % of the true one; longer than an hour is cut off, and the run invalid. Those of several
processes are added up as histograms, never as percentiles.
"""
_ABOUT_SCENARIOS: Final = """
## Of one scenario

What a scenario declares beside the figures of every run. *Reported by* are the durations that its
messages are about: a summary shows them first, and the usual objective of `swarmgate capacity` is
on the first.
"""


def figures_page() -> str:
    """Return the page as Markdown."""
    return "".join(
        (
            _INTRODUCTION,
            *(f"| `{it.key}` | {it.meaning} |\n" for it in STATISTICS.values()),
            _ABOUT_HISTOGRAMS,
            *map(_group, DURATION_GROUPS),
            "\n## All others\n",
            *map(_group, GROUPS),
            "\nBesides there is `drain.closed_1000`, with any close code.\n",
            _ABOUT_SCENARIOS,
            *(_scenario(f"`{name}`", kind.measures) for name, kind in SCENARIOS.items()),
            _scenario("a script", Scripted.measures),
            "\n## Of claims and gates alone\n",
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
