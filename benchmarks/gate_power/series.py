"""A long series of short runs of base and of heads that are slower by design, one line per round.

In each round every head is run once, right before or right after a run of base, as in a block of a
gate: what the machine does changes within seconds, and cancels out only between neighbours. A run
of base between two heads serves both; for each head, a fair coin decides which side it is on. So
what a gate would have seen can be replayed for every head.
"""

import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from benchmarks.gate.sides import BASE
from benchmarks.judging.decision import Block
from benchmarks.runs.json_lines import append_line, whole_lines
from benchmarks.runs.making import Watch, make_run
from benchmarks.runs.workload import Case
from reports.record import RECORD_SUFFIX

SERIES: Final = "series.jsonl"
FIGURES: Final = (
    "server.cpu_per_message_seconds",
    "server.memory_growth_per_connection_bytes",
    "latency.p50_seconds",
    "latency.p99_seconds",
    "messages.received",
)
"""The figures that are kept of each run."""


@dataclass(frozen=True, slots=True)
class Round:
    """What one round measured.

    Attributes:
        order: the servers in the order in which they were run.
        seconds: how long a run took in total, on average.
        load_average: the load average of the machine when the round began.
        values: by head and figure, the value in base's neighbouring run and in the head's own run.
    """

    number: int
    order: Sequence[str]
    seconds: float
    load_average: float
    values: Mapping[str, Mapping[str, tuple[float, float]]]
    type: Literal["round"] = "round"

    def block(self, head: str, figures: Mapping[str, str]) -> Block:
        """Return the runs of base and of one head as a block of a gate, by the metrics' names."""
        pairs = self.values[head]
        known = {metric: pairs[figure] for metric, figure in figures.items() if figure in pairs}
        return Block(
            {metric: [base] for metric, (base, _) in known.items()},
            {metric: [other] for metric, (_, other) in known.items()},
        )


_ROUND: Final = TypeAdapter(Round)


class SeriesError(Exception):
    """A series that cannot be made or read; the message says why."""


def draw_groups(seed: int, number: int, heads: Sequence[str]) -> list[tuple[str, ...]]:
    """Draw the order of a round: base between two heads, or next to the last if it is left over."""
    luck = random.Random(f"{seed}:{number}")
    order = list(heads)
    luck.shuffle(order)
    groups: list[tuple[str, ...]] = []
    for start in range(0, len(order), 2):
        match order[start : start + 2]:
            case [before, after]:
                groups.append((before, BASE, after))
            case [alone]:
                groups.append((alone, BASE) if luck.random() < 1 / 2 else (BASE, alone))
    return groups


@dataclass(frozen=True, slots=True)
class Series:
    """What is run in each round.

    Attributes:
        cases: the load on base and on the heads, by name, including base.
        folder: the folder of the records.
        seed: the seed of the orders, and of the runs.
    """

    cases: Mapping[str, Case]
    folder: Path
    seed: int


def make_round(series: Series, number: int, watch: Watch) -> Round:
    """Make a round.

    Raises:
        SeriesError: a run stays unusable, however often it is made.
        InterruptedRunError: the user interrupted it.
        RecordError: a record cannot be written.
    """
    heads = [name for name in series.cases if name != BASE]
    groups = draw_groups(series.seed, number, heads)
    order = [name for group in groups for name in group]
    # The series contains nothing of an earlier attempt at this round that was cut short.
    forget(series.folder, f"{number + 1:04}-*")
    load_average, began = os.getloadavg()[0], time.monotonic()
    turns = iter(enumerate(order, 1))
    values: dict[str, Mapping[str, tuple[float, float]]] = {}
    for group in groups:
        measured = {name: _figures(series, number, next(turns), watch) for name in group}
        base = measured.pop(BASE)
        for head, figures in measured.items():
            shared = [it for it in FIGURES if it in base and it in figures]
            values[head] = {figure: (base[figure], figures[figure]) for figure in shared}
    seconds = (time.monotonic() - began) / len(order)
    in_order = {head: values[head] for head in heads}
    return Round(number, order, seconds, load_average, in_order)


def _figures(
    series: Series, number: int, turn: tuple[int, str], watch: Watch
) -> Mapping[str, float]:
    place, name = turn
    title = f"round {number + 1}, run {place}: {name}"
    path = series.folder / f"{number + 1:04}-{place:02}-{name}{RECORD_SUFFIX}"
    made = make_run(series.cases[name], path, seed=series.seed, title=title, watch=watch)
    if not made.valid:
        raise SeriesError(f"{name}: {'; '.join(made.reasons)}")
    return made.figures


def forget(folder: Path, pattern: str) -> None:
    """Remove the files of runs that were not kept."""
    for path in folder.glob(pattern):
        path.unlink()


def append(path: Path, round_: Round) -> None:
    """Write a round and pass it to the operating system. Raises OSError."""
    append_line(path, _ROUND.dump_json(round_))


def read_series(path: Path) -> tuple[Round, ...]:
    """Read the rounds so far, ignoring a truncated last line.

    Raises:
        SeriesError: there is no series, or it is damaged.
    """
    try:
        return tuple(map(_ROUND.validate_json, whole_lines(path)))
    except (OSError, UnicodeDecodeError) as error:
        raise SeriesError(f"cannot read {path}: {error}") from None
    except ValidationError as error:
        raise SeriesError(f"{path} is damaged: {error.errors()[0]['msg']}") from None
