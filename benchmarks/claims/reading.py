"""Read a claims file, checked to the line before anything runs."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import Field, TypeAdapter

from benchmarks.claims.claims_file import (
    AloneExperiment,
    Claim,
    ClaimsFile,
    Experiment,
    LoadExperiment,
)
from benchmarks.runs.tables import MISSING, Names, Place, Table, TableReader, parsed
from benchmarks.runs.targets import reference_target
from loadtests.errors import LoadTestError
from reports.figures import against_figure


class _ExperimentTable(Table):
    repeats: Annotated[int, Field(ge=2)] = 3
    targets: Names = ()
    arguments: Mapping[str, str] = {}


_CLAIMS: Final[TypeAdapter[tuple[Claim, ...]]] = TypeAdapter(
    Annotated[tuple[Claim, ...], Field(strict=False, min_length=1)]
)
_EXPERIMENT: Final = TypeAdapter(_ExperimentTable)
_ALONE: Final = TypeAdapter(AloneExperiment)


def load_claims(path: Path) -> ClaimsFile:
    """Read a claims file.

    Raises:
        InputFileError: it cannot be read, or something in it is not as it must be.
    """
    reader, raw = parsed(path)
    for key in raw:
        if key not in ("target", "experiment", "claim"):
            raise reader.complaint((key,), "no such key is known")
    if "target" in raw:
        targets, left_out = reader.targets(raw["target"], ("target",))
    else:
        reference = reference_target()
        targets, left_out = {reference.name: reference}, {}
    experiments = {
        name: _experiment(reader, content, ("experiment", name))
        for name, content in reader.tables(raw.get("experiment", {}), ("experiment",)).items()
    }
    claims = reader.validated(_CLAIMS, raw.get("claim", MISSING), ("claim",))
    file = ClaimsFile(path, targets, experiments, claims, left_out)
    _check(reader, file)
    return file


def _experiment(reader: TableReader, content: Mapping[str, Any], place: Place) -> Experiment:
    match content.get("kind", "load"):
        case "alone":
            return reader.validated(_ALONE, content, place)
        case "load":
            own = {k: v for k, v in content.items() if k in _ExperimentTable.model_fields}
            rest = {k: v for k, v in content.items() if k not in own and k != "kind"}
            table = reader.validated(_EXPERIMENT, own, place)
            workload = reader.workload(rest, place)
            return LoadExperiment(workload, table.repeats, table.targets, table.arguments)
        case other:
            raise reader.complaint((*place, "kind"), f"{other!r}: it must be load or alone")


def _check(reader: TableReader, file: ClaimsFile) -> None:
    """Check what no table can check of itself: names, repeats, units, and what cannot run."""
    for name, experiment in file.experiments.items():
        if isinstance(experiment, LoadExperiment):
            _check_names(reader, file, experiment.targets, ("experiment", name, "targets"))
            _check_names(reader, file, experiment.arguments, ("experiment", name, "arguments"))
            for target in file.targets_of(name):
                try:
                    file.case(name, target).plan()
                except (LoadTestError, ValueError) as error:
                    raise reader.complaint(("experiment", name), str(error)) from None
    seen: set[str] = set()
    for number, claim in enumerate(file.claims):
        place = ("claim", number)
        if claim.id in seen:
            raise reader.complaint((*place, "id"), f"{claim.id!r} is taken already")
        seen.add(claim.id)
        for key, complaint in _against(file, claim):
            raise reader.complaint((*place, key), complaint)
        _check_names(reader, file, claim.targets, (*place, "targets"))
        if isinstance(claim.expected, Mapping):
            _check_names(reader, file, claim.expected, (*place, "expected"))


def _check_names(
    reader: TableReader,
    file: ClaimsFile,
    names: Sequence[str] | Mapping[str, Any],
    place: Place,
) -> None:
    for name in names:
        if name not in file.targets and name not in file.left_out:
            known = ", ".join((*file.targets, *file.left_out))
            raise reader.complaint(place, f"no target is called {name!r}; there are {known}")


def _against(file: ClaimsFile, claim: Claim) -> Iterator[tuple[str, str]]:
    """Give what a claim names that there is not, or what does not go together, by its key."""
    for key in ("experiment", "baseline"):
        name = getattr(claim, key)
        if name is not None and name not in file.experiments:
            known = ", ".join(file.experiments)
            yield key, f"no experiment is called {name!r}; there are {known}"
            return
    other = claim.baseline_target
    if other is not None and other not in file.targets_of(claim.baseline or claim.experiment):
        known = ", ".join(file.targets_of(claim.experiment))
        yield "baseline_target", f"the experiment is not made on {other!r}, but on {known}"
    judged = file.experiments[claim.experiment]
    if isinstance(judged, LoadExperiment) and not claim.metric.startswith("redis."):
        complaint = against_figure(claim.metric, judged.workload.scenario)
        if complaint:
            yield "metric", complaint
    try:
        _ = claim.limit
    except ValueError as error:
        yield "value", str(error)
    if (claim.comparison == "within") != (claim.tolerance is not None):
        yield "comparison", "a tolerance goes with comparison = 'within', and only with it"
