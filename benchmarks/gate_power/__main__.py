"""Measure the gate: ``python -m benchmarks.gate_power series|whole|counts|table FOLDER``.

It uses the project's own gate settings and its reference server, weighed down by
:mod:`benchmarks.gate_power.burden`. A series can be stopped at any time and resumed.
"""

import json
import math
import os
import sys
from dataclasses import asdict, replace
from pathlib import Path
from time import monotonic
from typing import Annotated, Final

import typer
from rich.console import Console

from benchmarks.counting.count import count
from benchmarks.counting.process import CountError, Subject
from benchmarks.gate.journal import JournalError
from benchmarks.gate.measuring import Gate, GateError, run_gate
from benchmarks.gate.settings import GateSettings, find_settings, load_settings
from benchmarks.gate.sides import BASE, HEAD, Side
from benchmarks.gate_power.burden import VARIABLE
from benchmarks.gate_power.heads import CPU, Burden, doubling_loops, heads_by
from benchmarks.gate_power.power_report import Whole, power_markdown
from benchmarks.gate_power.replays import SAMPLES
from benchmarks.gate_power.series import (
    SERIES,
    Series,
    SeriesError,
    append,
    forget,
    make_round,
    read_series,
)
from benchmarks.runs.making import InterruptedRunError, Watch
from benchmarks.runs.tables import InputFileError
from benchmarks.runs.targets import Target, started_by
from loadtests.run.child_process import own_module
from reports.outcome import ExitStatus
from reports.record import RecordError
from reports.terminal import live_view
from reports.units import parse_seconds

LOAD: Final = "echo"
HEADS: Final = "heads.json"
COUNTS: Final = "counts.json"
WHOLE: Final = "whole.jsonl"
TABLE: Final = "power.md"
RECORDS: Final = "records"
SIZING: Final = "sizing"
SEED: Final = 1
# To size the burdens: rounds of base next to base with a loop of this many iterations, which takes
# about as much as a message.
_SIZING_ROUNDS: Final = 8
_SIZING_LOOPS: Final = 5_000
# Consecutive rounds.
_MOST_FAILURES: Final = 5

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False)
Folder = Annotated[Path, typer.Argument(help="Folder of the results.")]


def _settings() -> GateSettings:
    return load_settings(find_settings(Path.cwd()))


def _target(name: str, burden: Burden, settings: GateSettings) -> Target:
    """Return the settings' server, weighed down; base is started the same way with no burden."""
    words = started_by(settings.server.command)
    module = words.index("-m")
    launcher = own_module("benchmarks.gate_power.burden")
    command = (*launcher, *burden.words(), words[module + 1], *words[module + 2 :])
    return settings.server.target(name, command, None)


def _watch(*, quiet: bool) -> Watch:
    console = Console(stderr=True)
    return lambda title: live_view(console, title, quiet=quiet)


def _sized(folder: Path, settings: GateSettings, watch: Watch) -> dict[str, Burden]:
    """Return the heads, with burdens sized by what base takes on this machine now.

    Raises:
        SeriesError: a run stays unusable, however often it is made, or the loop took no CPU.
        InterruptedRunError: the user interrupted it.
        RecordError: a record cannot be written.
    """
    place = folder / HEADS
    if place.exists():
        return {name: Burden(**it) for name, it in json.loads(place.read_text()).items()}
    burdens = {BASE: Burden(), SIZING: Burden(loops=_SIZING_LOOPS)}
    cases = {name: settings.case(LOAD, _target(name, it, settings)) for name, it in burdens.items()}
    (folder / SIZING).mkdir(parents=True, exist_ok=True)
    made = Series(cases, folder / SIZING, SEED)
    rounds = [make_round(made, number, watch) for number in range(_SIZING_ROUNDS)]
    base, burdened = zip(*(it.values[SIZING][CPU] for it in rounds), strict=True)
    try:
        heads = heads_by(doubling_loops(base, burdened, _SIZING_LOOPS))
    except ValueError as error:
        raise SeriesError(f"the burdens cannot be sized: {error}") from None
    place.write_text(json.dumps({name: asdict(it) for name, it in heads.items()}, indent=2) + "\n")
    return heads


@app.command()
def series(
    folder: Folder,
    *,
    lasting: Annotated[str, typer.Option("--for", metavar="TIME", help="How long to run.")] = "1h",
    rounds: Annotated[int | None, typer.Option(help="At most this many in total.")] = None,
) -> None:
    """Run base and every head in turn, resuming a series that already exists."""
    (folder / RECORDS).mkdir(parents=True, exist_ok=True)
    settings, until = _settings(), monotonic() + parse_seconds(lasting)
    watch = _watch(quiet=not sys.stderr.isatty())
    done = read_series(folder / SERIES) if (folder / SERIES).exists() else ()
    number, kept, failures = (done[-1].number + 1 if done else 0), len(done), 0
    cases = {
        name: settings.case(LOAD, _target(name, it, settings))
        for name, it in _sized(folder, settings, watch).items()
    }
    made = Series(cases, folder / RECORDS, SEED)
    while monotonic() < until and (rounds is None or kept < rounds):
        try:
            append(folder / SERIES, make_round(made, number, watch))
        except SeriesError as error:
            # The generator or the machine could not keep up: none of the servers is to blame.
            failures += 1
            sys.stderr.write(f"round {number + 1} is left out: {error}\n")
            if failures == _MOST_FAILURES:
                raise
        else:
            kept, failures = kept + 1, 0
            sys.stderr.write(f"round {number + 1}: {kept} kept so far\n")
        number += 1


@app.command()
def whole(
    folder: Folder,
    *,
    gates: Annotated[int, typer.Option(min=1, help="Gates of each head.")] = 1,
) -> None:
    """Run whole gates against heads that are the same, slower, or larger."""
    settings, watch = _settings(), _watch(quiet=not sys.stderr.isatty())
    # The counts are the same in both, and are measured separately.
    settings = replace(
        settings, counts={}, metrics=tuple(it for it in settings.metrics if it.load == LOAD)
    )
    (folder / RECORDS).mkdir(parents=True, exist_ok=True)
    heads = _sized(folder, settings, watch)
    done = len((folder / WHOLE).read_text().splitlines()) if (folder / WHOLE).exists() else 0
    order = [name for _ in range(gates) for name in heads if name != BASE]
    for number, name in list(enumerate(order))[done:]:
        records = folder / f"gate-{number + 1}"
        records.mkdir(exist_ok=True)
        forget(records, "*")
        sides = {
            side: Side(side, called, _target(side, heads[called], settings))
            for side, called in ((BASE, BASE), (HEAD, name))
        }
        decision, blocks = run_gate(Gate(settings, sides, records, SEED + number), (), watch)
        seconds = sum(block.seconds for block in blocks)
        line = Whole(name, decision.verdict, decision.blocks, seconds, decision.sentence)
        with (folder / WHOLE).open("a", encoding="utf-8") as file:
            file.write(json.dumps(asdict(line)) + "\n")
        sys.stderr.write(f"{name}: {decision.sentence}\n")


@app.command()
def counts(
    folder: Folder,
    *,
    repeats: Annotated[int, typer.Option(min=2, help="Counts of each.")] = 10,
) -> None:
    """Count the server's own code: in base, the heads, and with one more system call a message."""
    folder.mkdir(parents=True, exist_ok=True)
    settings, watch = _settings(), _watch(quiet=not sys.stderr.isatty())
    ((_, counted),) = settings.counts.items()
    burdens = {**_sized(folder, settings, watch), "+1 system call": Burden(calls=1)}
    found: dict[str, list[dict[str, float]]] = {name: [] for name in burdens}
    if (folder / COUNTS).exists():
        found |= json.loads((folder / COUNTS).read_text())
    subject = Subject("benchmarks.gate_power.burden:application", sys.executable, Path.cwd())
    for number in range(min(map(len, found.values())), repeats):
        for name, burden in burdens.items():
            if len(found[name]) > number:
                continue
            # The process that is counted inherits our environment.
            os.environ[VARIABLE] = ",".join((*burden.words(), counted.app))
            found[name].append(dict(count(subject, counted.load).figures))
            (folder / COUNTS).write_text(json.dumps(found, indent=2) + "\n")
            sys.stderr.write(f"{number + 1} of {repeats}: {name}\n")


@app.command()
def table(
    folder: Folder,
    *,
    most_load: Annotated[
        float, typer.Option(help="Leave out rounds that began at a higher load average.")
    ] = math.inf,
    samples: Annotated[
        int, typer.Option(min=2, help="Samples of the rounds, for gates drawn from them.")
    ] = SAMPLES,
) -> None:
    """Report on the series, the whole gates and the counts of a folder, as Markdown."""
    if not folder.is_dir():
        raise SeriesError(f"there is no folder {folder}; make a series first")
    plan = _settings().plan()
    made = read_series(folder / SERIES) if (folder / SERIES).exists() else ()
    rounds = [it for it in made if it.load_average <= most_load]
    wholes = [
        Whole(**json.loads(line))
        for line in ((folder / WHOLE).read_text().splitlines() if (folder / WHOLE).exists() else ())
    ]
    counted = json.loads((folder / COUNTS).read_text()) if (folder / COUNTS).exists() else {}
    text = power_markdown(plan, rounds, wholes, counted, samples=samples)
    if most_load == math.inf:
        (folder / TABLE).write_text(text, encoding="utf-8")
    sys.stdout.write(text)


def main() -> None:
    """Run a command; report in one line what cannot be done."""
    try:
        sys.exit(app(standalone_mode=False))
    except typer.TyperException as error:
        sys.stderr.write(f"{error.format_message()}\n")
        sys.exit(ExitStatus.USAGE)
    except (SeriesError, GateError, JournalError, CountError, InputFileError, RecordError) as error:
        sys.stderr.write(f"swarmgate: {error}\n")
        sys.exit(ExitStatus.INVALID)
    except (InterruptedRunError, KeyboardInterrupt):
        sys.stderr.write(
            "swarmgate: interrupted; what is complete is kept, and the same command continues\n"
        )
        sys.exit(ExitStatus.INTERRUPTED)


if __name__ == "__main__":
    main()
