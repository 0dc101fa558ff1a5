"""Read a claims file, checked to the line before anything runs."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Annotated, Final

from pydantic import Field, TypeAdapter

from benchmarks.claims.claims_file import Claim, ClaimsFile
from benchmarks.runs.experiments import AloneExperiment, Experiment
from benchmarks.runs.reading import check_targets, read_experiments
from benchmarks.runs.tables import MISSING, TableReader, parsed
from reports.figures import against_apart

_CLAIMS: Final[TypeAdapter[tuple[Claim, ...]]] = TypeAdapter(
    Annotated[tuple[Claim, ...], Field(strict=False, min_length=1)]
)


def load_claims(path: Path) -> ClaimsFile:
    """Read a claims file.

    Raises:
        InputFileError: it cannot be read, or something in it is invalid.
    """
    reader, raw = parsed(path)
    reader.check_keys(raw, ("target", "experiment", "claim"))
    read = read_experiments(reader, raw)
    claims = reader.validated(_CLAIMS, raw.get("claim", MISSING), ("claim",))
    file = ClaimsFile(path, read.targets, read.experiments, read.left_out, claims)
    _check(reader, file)
    return file


def _check(reader: TableReader, file: ClaimsFile) -> None:
    """Check what a table cannot check by itself: names, units, and incompatible settings."""
    seen: set[str] = set()
    for number, claim in enumerate(file.claims):
        place = ("claim", number)
        if claim.id in seen:
            raise reader.complaint(
                (*place, "id"), f"{claim.id!r} is already the id of another claim"
            )
        seen.add(claim.id)
        for key, complaint in _against(file, claim):
            raise reader.complaint((*place, key), complaint)
        for key, complaint in file.against_warm_memory(claim):
            raise reader.complaint((*place, key), complaint)
        check_targets(reader, file, claim.targets, (*place, "targets"))
        if isinstance(claim.expected, Mapping):
            check_targets(reader, file, claim.expected, (*place, "expected"))


def _against_figure(experiment: Experiment, name: str) -> str:
    """Return why the runs of an experiment have no such figure; empty if they may have it."""
    if isinstance(experiment, AloneExperiment):
        return against_apart(name, experiment.subject)
    if name.startswith("redis."):
        return against_apart(name, "redis")
    return experiment.workload.against_figure(name)


def _against(file: ClaimsFile, claim: Claim) -> Iterator[tuple[str, str]]:
    """Yield, with its key, what a claim names that does not exist, or what is incompatible."""
    for key in ("experiment", "baseline"):
        name = getattr(claim, key)
        if name is not None and name not in file.experiments:
            known = ", ".join(file.experiments)
            yield key, f"no experiment is called {name!r}; there are {known}"
            return
    other = claim.baseline_target
    made_on = file.targets_of(claim.baseline or claim.experiment)
    if other is not None and other not in (*made_on, *file.left_out):
        known = ", ".join(file.targets_of(claim.experiment))
        yield "baseline_target", f"the experiment does not run on {other!r}, but on {known}"
    judged = file.experiments[claim.experiment]
    for key, names in (("metric", (claim.metric,)), ("context", claim.context)):
        for name in names:
            if complaint := _against_figure(judged, name):
                yield key, complaint
    if claim.baseline and (other_repeats := file.experiments[claim.baseline].repeats) != (
        judged.repeats
    ):
        pair = f"{claim.baseline} has {other_repeats} and {claim.experiment} {judged.repeats}"
        yield (
            "baseline",
            f"a ratio is taken run by run: give both the same number of repeats; {pair}",
        )
    try:
        _ = claim.limit
    except ValueError as error:
        yield "value", str(error)
    if (claim.comparison == "within") != (claim.tolerance is not None):
        yield "comparison", "a tolerance goes with comparison = 'within', and only with it"
