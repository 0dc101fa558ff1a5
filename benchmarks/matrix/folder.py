"""A folder of records that ``matrix.jsonl`` describes: one line for the whole, one for each run.

It is written as the runs are made, so that whatever ends them leaves something readable. The
figures are in the records only.
"""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Final, Literal

from pydantic import Field, TypeAdapter, ValidationError

from benchmarks.judging.matrix import tabulate
from benchmarks.judging.run_figures import Key, RunFigures
from benchmarks.runs.making import read_run
from benchmarks.runs.series import Turn, made_again
from reports.matrix import Column, Matrix
from reports.record import RecordCutError, RecordError

NAME: Final = "matrix.jsonl"

# History of the format. A reader accepts every version up to its own.
#   1  the first
FORMAT_VERSION: Final = 1


@dataclass(frozen=True, slots=True)
class Heading:
    """What was planned: a matrix before its figures.

    Attributes:
        targets: the servers, in the order of the rows.
        how: how each experiment is measured, in a few words.
        planned: the number of planned runs.
    """

    reference: str
    columns: tuple[Column, ...]
    targets: tuple[str, ...]
    how: Mapping[str, str]
    left_out: Mapping[str, str]
    planned: int
    is_reduced: bool
    format: int = FORMAT_VERSION
    type: Literal["matrix"] = "matrix"


@dataclass(frozen=True, slots=True)
class MadeRun:
    """One run that was made.

    Attributes:
        record: the name of its record; empty where none was written.
        reasons: why it cannot be judged; ``failures`` are those that the server caused.
        repeated: why earlier tries of it were invalid.
    """

    experiment: str
    target: str
    record: str
    reasons: tuple[str, ...]
    repeated: tuple[str, ...]
    failures: tuple[str, ...]
    type: Literal["run"] = "run"


@dataclass(frozen=True, slots=True)
class End:
    """The end: every planned run was made or given up."""

    type: Literal["end"] = "end"


Line = Heading | MadeRun | End
_LINE: Final[TypeAdapter[Line]] = TypeAdapter(Annotated[Line, Field(discriminator="type")])


def begin(folder: Path, heading: Heading) -> None:
    """Write in a folder what it will contain. Raises RecordError."""
    path = folder / NAME
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            file.write(_json(heading))
    except FileExistsError:
        raise RecordError(f"{folder} already contains a matrix; name another folder") from None
    except OSError as error:
        raise RecordError(f"cannot write {folder}: {error.strerror}") from None


def add(folder: Path, turn: Turn, made: RunFigures) -> None:
    """Write in the folder of a matrix that a run was made. Raises RecordCutError."""
    line = MadeRun(
        experiment=turn.name,
        target=turn.target,
        record=made.record,
        reasons=made.reasons,
        repeated=made.repeated,
        failures=made.failures,
    )
    _append(folder, line)


def end(folder: Path) -> None:
    """Write in the folder of a matrix that no more runs follow. Raises RecordCutError."""
    _append(folder, End())


def _append(folder: Path, line: Line) -> None:
    try:
        with (folder / NAME).open("a", encoding="utf-8") as file:
            file.write(_json(line))
    except OSError as error:
        raise RecordCutError(f"cannot write {folder / NAME}: {error.strerror}") from None


def _json(line: Line) -> str:
    content: dict[str, Any] = asdict(line)
    return json.dumps(content, ensure_ascii=False) + "\n"


def read_matrix(folder: Path) -> Matrix:
    """Make the table of a folder, from its description and its records.

    Raises:
        RecordError: it is not the folder of a matrix, or a record is missing or cannot be read.
    """
    lines = _read(folder / NAME)
    heading, *others = lines
    assert isinstance(heading, Heading)
    made = [it for it in others if isinstance(it, MadeRun)]
    runs: dict[Key, list[RunFigures]] = {}
    for run in made:
        runs.setdefault((run.experiment, run.target), []).append(_figures(folder, run))
    return Matrix(
        reference=heading.reference,
        columns=heading.columns,
        rows=tabulate(heading.columns, heading.targets, heading.reference, runs),
        how=heading.how,
        left_out=heading.left_out,
        repeated=tuple(_repeated(made)),
        made=len(made),
        planned=heading.planned,
        is_reduced=heading.is_reduced,
        is_complete=any(isinstance(it, End) for it in others),
    )


def _read(path: Path) -> list[Line]:
    """Read the lines, of which the first is the heading. Raises RecordError."""
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not text"
        raise RecordError(
            f"cannot read {path}: {why}; name a folder that swarmgate matrix has made"
        ) from None
    lines = list(_lines(path, text))
    if not lines or not isinstance(lines[0], Heading):
        raise RecordError(f"{path} does not begin with a line that describes the folder")
    if lines[0].format > FORMAT_VERSION:
        what = f"has format {lines[0].format}, this swarmgate reads {FORMAT_VERSION}"
        raise RecordError(f"{path} {what}")
    return lines


def _lines(path: Path, text: str) -> Iterator[Line]:
    written = text.splitlines(keepends=True)
    for number, line in enumerate(written, 1):
        try:
            yield _LINE.validate_json(line)
        except ValidationError:
            # A line that was being written when the matrix was cut short.
            if number == len(written) > 1 and not line.endswith("\n"):
                return
            raise RecordError(
                f"{path}:{number}: not a line of a matrix, or a damaged one"
            ) from None


def _figures(folder: Path, run: MadeRun) -> RunFigures:
    if not run.record:
        return RunFigures(False, run.reasons, {}, failures=run.failures)
    return read_run(folder / Path(run.record).name)


def _repeated(made: Sequence[MadeRun]) -> Iterator[str]:
    reasons: dict[Key, list[str]] = {}
    for run in made:
        reasons.setdefault((run.experiment, run.target), []).extend(run.repeated)
    return made_again(reasons)
