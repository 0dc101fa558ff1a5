"""Read a matrix file: servers, experiments on all of them, and which figures are shown."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, Final, Literal

from pydantic import Field, TypeAdapter

from benchmarks.runs.experiments import AloneExperiment, Experiments, on_targets
from benchmarks.runs.reading import read_experiments
from benchmarks.runs.tables import MISSING, Table, TableReader, parsed
from reports.figure import Better
from reports.figures import nearest
from reports.matrix import Column

ROUNDS: Final = 5
"""The number of runs of each experiment on each server, unless the file sets it."""


@dataclass(frozen=True, slots=True)
class MatrixFile(Experiments):
    """A matrix file, checked.

    Attributes:
        reference: the server that ratios are relative to.
        columns: what is shown for every server.
    """

    reference: str = ""
    columns: tuple[Column, ...] = ()


class _ColumnTable(Table):
    """A figure that is shown.

    Attributes:
        label: its label, if not the one in the catalogue of figures.
        better: which direction is better, for a script's figures, which the catalogue lacks.
    """

    experiment: str
    figure: str
    label: str | None = None
    better: Literal["lower", "higher"] | None = None


_COLUMNS: Final[TypeAdapter[tuple[_ColumnTable, ...]]] = TypeAdapter(
    Annotated[tuple[_ColumnTable, ...], Field(strict=False, min_length=1)]
)
_REFERENCE: Final = TypeAdapter(Annotated[str, Field(strict=True)])
_ROUNDS: Final = TypeAdapter(Annotated[int, Field(strict=True, ge=1)])


def load_matrix(path: Path) -> MatrixFile:
    """Read a matrix file.

    Raises:
        InputFileError: it cannot be read, or something in it is invalid.
    """
    reader, raw = parsed(path)
    reader.check_keys(raw, ("target", "experiment", "column", "reference", "rounds"))
    rounds = reader.validated(_ROUNDS, raw.get("rounds", ROUNDS), ("rounds",))
    read = read_experiments(reader, raw, rounds)
    _check_experiments(reader, read)
    reference = reader.validated(_REFERENCE, raw.get("reference", MISSING), ("reference",))
    if reference not in read.targets:
        raise reader.complaint(("reference",), _no_reference(read, reference))
    tables = reader.validated(_COLUMNS, raw.get("column", MISSING), ("column",))
    columns = tuple(_column(reader, read, number, it) for number, it in enumerate(tables))
    for name in read.experiments:
        if all(column.experiment != name for column in columns):
            raise reader.complaint(("experiment", name), "no column shows one of its figures")
    return MatrixFile(path, read.targets, read.experiments, read.left_out, reference, columns)


def chosen(file: MatrixFile, targets: Sequence[str]) -> MatrixFile:
    """Return the file with only the named servers and the reference, or all if none is named.

    Raises:
        InputFileError: there is no server with that name, or it is left out.
    """
    if not targets:
        return file
    return replace(on_targets(file, [*targets, file.reference]), left_out={})


def _check_experiments(reader: TableReader, read: Experiments) -> None:
    for name, held in read.experiments.items():
        if isinstance(held, AloneExperiment):
            raise reader.complaint(
                ("experiment", name, "kind"), "a matrix has only loads on servers"
            )
        if held.targets:
            raise reader.complaint(
                ("experiment", name, "targets"), "a matrix runs each experiment on every target"
            )


def _no_reference(read: Experiments, reference: str) -> str:
    if reference in read.left_out:
        missing = read.left_out[reference]
        return f"target {reference} is left out: there is no {missing}; name another one"
    known = nearest(reference, read.targets) or f"; there are {', '.join(read.targets)}"
    return f"no target is called {reference!r}{known}"


def _column(reader: TableReader, read: Experiments, number: int, table: _ColumnTable) -> Column:
    place = ("column", number)
    held = read.experiments.get(table.experiment)
    if held is None or isinstance(held, AloneExperiment):
        known = nearest(table.experiment, read.experiments)
        known = known or f"; there are {', '.join(read.experiments)}"
        what = f"no experiment is called {table.experiment!r}{known}"
        raise reader.complaint((*place, "experiment"), what)
    if complaint := held.workload.against_figure(table.figure):
        raise reader.complaint((*place, "figure"), complaint)
    if complaint := read.against_warmup(table.experiment, table.figure):
        raise reader.complaint((*place, "figure"), complaint)
    known_figure = held.workload.catalogue.figure(table.figure)
    better = known_figure.better if table.better is None else Better(table.better)
    return Column(table.experiment, table.figure, table.label or known_figure.label, better)
