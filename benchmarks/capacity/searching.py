"""Make the runs of a search, one after the other, until it is decided or its time is up."""

import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Final

from benchmarks.capacity.load import Load, identity
from benchmarks.capacity.objective import Breach, result_of
from benchmarks.judging.capacity import Span, Trial, TrialResult, next_load
from benchmarks.judging.run_figures import RunFigures
from benchmarks.runs.making import Watch, figures_of, make_run
from reports.damage import naming_damage
from reports.record import RECORD_SUFFIX, RecordError, read_record
from reports.summary import summarise
from reports.threshold import Threshold

_IDENTITY: Final = "search.json"
_NAME: Final = re.compile(r"(?P<run>(?P<number>\d+)-.*?)(?:-try-\d+)?" + re.escape(RECORD_SUFFIX))


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched for, within which span, and the objective that a load is judged by."""

    load: Load
    span: Span
    objective: tuple[Threshold, ...]


@dataclass(frozen=True, slots=True)
class Made:
    """One run, and what it says about its load.

    Attributes:
        record: the record of its first try.
        breaches: the conditions that did not hold.
    """

    load: float
    record: str
    run: RunFigures
    result: TrialResult
    breaches: tuple[Breach, ...]

    @property
    def trial(self) -> Trial:
        """The load and the outcome, on which the search is based."""
        return Trial(self.load, self.result)


def search(
    asked: Search,
    folder: Path,
    before: Sequence[Made],
    watch: Watch,
    *,
    budget_seconds: float,
    clock: Callable[[], float],
) -> Iterator[Made]:
    """Make runs, each in fresh processes, until nothing is left to find or the time is up.

    A run is started only if one as long as the longest so far would still end in time.

    Args:
        asked: the search.
        folder: where the records go.
        before: the runs made already.
        watch: opens a live view, which receives the lines of each run.
        budget_seconds: the time for all runs.
        clock: returns the time in seconds.

    Raises:
        InterruptedRunError: the user interrupted a run.
        RecordError: a record cannot be written.
    """
    made = list(before)
    begin = clock()
    longest = 0.0
    while (value := next_load(asked.span, [it.trial for it in made])) is not None:
        started = clock()
        if made and started + longest > begin + budget_seconds:
            return
        repeat = sum(it.load == value for it in made) + 1
        number = max((int(it.record.partition("-")[0]) for it in made), default=0) + 1
        name = f"{number:02}-{value:.12g}-{repeat}{RECORD_SUFFIX}"
        title = f"{asked.load.formatted(value)} {asked.load.unit}, run {repeat}"
        path = _free(folder, name)
        case = asked.load.at(value)
        run = make_run(case, path, seed=repeat, title=title, watch=watch)
        longest = max(longest, clock() - started)
        made.append(_judged(asked, value, path.name, run))
        yield made[-1]


def _free(folder: Path, name: str) -> Path:
    """Return a free path for a record; an earlier one that was cut off keeps its own."""
    path = folder / name
    while path.exists():
        path = path.with_name(path.name.removesuffix(RECORD_SUFFIX) + f"-again{RECORD_SUFFIX}")
    return path


def _judged(asked: Search, load: float, record: str, run: RunFigures) -> Made:
    return Made(load, record, run, *result_of(run, asked.objective))


def prepare(asked: Search, folder: Path) -> None:
    """Make the folder of a search, and write down what its runs have in common.

    Raises:
        RecordError: it cannot be written, or already contains a search.
    """
    if (folder / _IDENTITY).exists():
        raise RecordError(
            f"{folder} already contains a search; name another folder, or continue it with --resume"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(identity(asked.load, asked.span), indent=2)
        (folder / _IDENTITY).write_text(f"{text}\n", encoding="utf-8")
    except OSError as error:
        raise RecordError(f"cannot write {folder}: {error.strerror}") from None


def resumed(asked: Search, folder: Path) -> tuple[Made, ...]:
    """Read the runs of a search that ended early; those that were cut off are left out.

    Their figures are judged anew, so the objective, span and repeats may differ.

    Raises:
        RecordError: there is no search, or it is for another load or server.
    """
    _check_identity(folder, identity(asked.load, asked.span))
    tries: dict[str, list[Path]] = {}
    for path in sorted(folder.glob(f"*{RECORD_SUFFIX}"), key=_order):
        if match := _NAME.fullmatch(path.name):
            tries.setdefault(match["run"], []).append(path)
    return tuple(made for run, paths in tries.items() for made in _read(asked, run, paths))


def _order(path: Path) -> tuple[int, str]:
    match = _NAME.fullmatch(path.name)
    return (int(match["number"]) if match else 0, path.name.removesuffix(RECORD_SUFFIX))


def _read(asked: Search, run: str, paths: Sequence[Path]) -> Iterator[Made]:
    """Read the tries of one run, of which the last counts; yield nothing if it was cut off."""
    records = [read_record(path) for path in paths]
    last = records[-1]
    if last.footer is None or last.footer.interrupted:
        return
    with naming_damage(last.path):
        *earlier, figures = [figures_of(summarise(record)) for record in records]
    repeated = tuple("; ".join(it.reasons) for it in earlier)
    value = asked.load.value_of(last.header)
    name = f"{run}{RECORD_SUFFIX}"
    yield _judged(asked, value, name, replace(figures, repeated=repeated))


def _check_identity(folder: Path, now: Mapping[str, Any]) -> None:
    path = folder / _IDENTITY
    try:
        then = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise RecordError(f"no search to continue: {path}: {error.strerror}") from None
    except ValueError as error:
        raise RecordError(f"{path} is damaged: {error}") from None
    now = json.loads(json.dumps(now))
    names = dict.fromkeys((*then, *now))
    if differences := [
        f"{it} was {then.get(it)}, is {now.get(it)}" for it in names if then.get(it) != now.get(it)
    ]:
        raise RecordError(f"{folder} contains a different search: {'; '.join(differences)}")


def run_document(made: Made) -> dict[str, Any]:
    """Return one run as a JSON document."""
    return {
        "record": made.record,
        "load": made.load,
        "result": made.result,
        "breaches": [asdict(breach) for breach in made.breaches],
        "reasons": made.run.reasons,
        "repeated": made.run.repeated,
        "figures": made.run.figures,
    }
