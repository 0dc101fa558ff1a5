"""A long series of short runs of base and of heads that are slower by design, a line a round.

In each round every server is run once, in an order that is drawn. So a fair coin has drawn which of
base and a head came first, as in a block of a gate: what a gate would have seen can be replayed for
each of them, from the same runs of base.
"""

import os
import random
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal

from pydantic import TypeAdapter, ValidationError

from benchmarks.judging.decision import Block
from benchmarks.runs.making import Watch, make_run
from benchmarks.runs.workload import Case
from reports.record import RECORD_SUFFIX

BASE: Final = "base"
SERIES: Final = "series.jsonl"
FIGURES: Final = (
    "server.cpu_per_message_seconds",
    "server.memory_growth_per_connection_bytes",
    "latency.p50_seconds",
    "latency.p99_seconds",
    "messages.received",
)
"""What is kept of each run."""


@dataclass(frozen=True, slots=True)
class Round:
    """What the run of each server in one round measured, by server and figure.

    Attributes:
        seconds: how long a run took, all told, in the mean.
        load_average: of the machine when the round began.
    """

    number: int
    order: Sequence[str]
    seconds: float
    load_average: float
    values: Mapping[str, Mapping[str, Sequence[float]]]
    type: Literal["round"] = "round"

    def block(self, head: str, figures: Mapping[str, str]) -> Block:
        """Give the runs of base and of one head as a block of a gate, by the names of metrics."""
        base, other = self.values[BASE], self.values[head]
        return Block(
            {metric: base[figure] for metric, figure in figures.items() if figure in base},
            {metric: other[figure] for metric, figure in figures.items() if figure in other},
        )


_ROUND: Final = TypeAdapter(Round)


class SeriesError(Exception):
    """A series cannot be made or read; the message says why."""


def order_of(seed: int, number: int, names: Sequence[str]) -> list[str]:
    """Draw the order of a round."""
    order = list(names)
    random.Random(f"{seed}:{number}").shuffle(order)
    return order


@dataclass(frozen=True, slots=True)
class Series:
    """What is run in each round.

    Attributes:
        cases: the load on base and on the heads, by their names.
        folder: of the records.
        seed: of the orders, and of the runs.
    """

    cases: Mapping[str, Case]
    folder: Path
    seed: int


def make_round(series: Series, number: int, watch: Watch) -> Round:
    """Make a round.

    Raises:
        SeriesError: a run says nothing, however often it is made.
        InterruptedRunError: a person ended it.
        RecordError: a record cannot be written.
    """
    order = order_of(series.seed, number, list(series.cases))
    values: dict[str, dict[str, list[float]]] = {name: {} for name in series.cases}
    # Of a try of the round that was ended in the middle, nothing is in the series.
    forget(series.folder, f"{number + 1:04}-*")
    load_average, began = os.getloadavg()[0], time.monotonic()
    for turn, name in enumerate(order, 1):
        title = f"round {number + 1}, run {turn} of {len(order)}: {name}"
        path = series.folder / f"{number + 1:04}-{turn:02}-{name}{RECORD_SUFFIX}"
        made = make_run(series.cases[name], path, seed=series.seed, title=title, watch=watch)
        if not made.valid:
            raise SeriesError(f"{name}: {'; '.join(made.reasons)}")
        for figure in FIGURES:
            if figure in made.figures:
                values[name].setdefault(figure, []).append(made.figures[figure])
    return Round(
        number,
        order,
        (time.monotonic() - began) / len(order),
        load_average,
        values,
    )


def forget(folder: Path, pattern: str) -> None:
    """Remove the files of runs of which nothing was kept."""
    for path in folder.glob(pattern):
        path.unlink()


def append(path: Path, round_: Round) -> None:
    """Write a round and hand it to the operating system. Raises OSError."""
    with path.open("ab", buffering=0) as file:
        file.write(_ROUND.dump_json(round_) + b"\n")


def read_series(path: Path) -> tuple[Round, ...]:
    """Read the rounds so far; a last line that was cut is left out.

    Raises:
        SeriesError: there is no series, or it is damaged.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")[:-1]
        return tuple(map(_ROUND.validate_json, lines))
    except (OSError, UnicodeDecodeError) as error:
        raise SeriesError(f"cannot read {path}: {error}") from None
    except ValidationError as error:
        raise SeriesError(f"{path} is damaged: {error.errors()[0]['msg']}") from None
