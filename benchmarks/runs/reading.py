"""Read a file's experiments: its servers, ``[target.NAME]``, and loads, ``[experiment.NAME]``."""

from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter

from benchmarks.runs.experiments import (
    AloneExperiment,
    Experiment,
    Experiments,
    LoadExperiment,
)
from benchmarks.runs.tables import Names, Place, Table, TableReader
from benchmarks.runs.targets import reference_target
from loadtests.errors import LoadTestError


class _ExperimentTable(Table):
    repeats: Annotated[int, Field(ge=2)] | None = None
    targets: Names = ()
    arguments: Mapping[str, str] = {}


_EXPERIMENT: Final = TypeAdapter(_ExperimentTable)
_ALONE: Final = TypeAdapter(AloneExperiment)


def read_experiments(reader: TableReader, raw: Mapping[str, Any], repeats: int = 3) -> Experiments:
    """Read a file's servers (the reference server if it names none) and its experiments.

    Args:
        reader: the file.
        raw: its content.
        repeats: the number of runs on each server of an experiment that does not set it.

    Raises:
        InputFileError: something is invalid, or could not be run.
    """
    if "target" in raw:
        targets, left_out = reader.targets(raw["target"], ("target",))
    else:
        reference = reference_target()
        targets, left_out = {reference.name: reference}, {}
    experiments = {
        name: _experiment(reader, content, ("experiment", name), repeats)
        for name, content in reader.tables(raw.get("experiment", {}), ("experiment",)).items()
    }
    read = Experiments(reader.path, targets, experiments, left_out)
    for name, target in targets.items():
        if complaint := read.against_paths(target):
            raise reader.complaint(("target", name, "paths"), complaint)
    for name in experiments:
        _check(reader, read, name)
    return read


def check_targets(
    reader: TableReader, read: Experiments, names: Sequence[str] | Mapping[str, Any], place: Place
) -> None:
    """Refuse a server that the file does not have. Raises InputFileError."""
    for name in names:
        if name not in read.targets and name not in read.left_out:
            known = ", ".join((*read.targets, *read.left_out))
            raise reader.complaint(place, f"no target is called {name!r}; there are {known}")


def _experiment(
    reader: TableReader, content: Mapping[str, Any], place: Place, repeats: int
) -> Experiment:
    match content.get("kind", "load"):
        case "alone":
            return reader.validated(_ALONE, content, place)
        case "load":
            own = {k: v for k, v in content.items() if k in _ExperimentTable.model_fields}
            rest = {k: v for k, v in content.items() if k not in own and k != "kind"}
            table = reader.validated(_EXPERIMENT, own, place)
            workload = reader.workload(rest, place)
            return LoadExperiment(
                workload, table.repeats or repeats, table.targets, table.arguments
            )
        case other:
            raise reader.complaint((*place, "kind"), f"{other!r}: it must be load or alone")


def _check(reader: TableReader, read: Experiments, name: str) -> None:
    """Check what a table cannot check by itself: names of servers, and what cannot run."""
    experiment = read.experiments[name]
    if not isinstance(experiment, LoadExperiment):
        return
    check_targets(reader, read, experiment.targets, ("experiment", name, "targets"))
    check_targets(reader, read, experiment.arguments, ("experiment", name, "arguments"))
    for target in read.targets_of(name):
        try:
            read.case(name, target).plan()
        except (LoadTestError, ValueError) as error:
            raise reader.complaint(("experiment", name), str(error)) from None
