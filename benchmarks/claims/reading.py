"""Read a claims file, checked to the line before anything runs."""

import shlex
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import Field, TypeAdapter, ValidationError

from benchmarks.claims.claims_file import (
    AloneExperiment,
    Claim,
    ClaimsFile,
    ClaimsFileError,
    Experiment,
    LoadExperiment,
    Names,
    Table,
    human,
)
from benchmarks.runs.targets import (
    LOOPBACK,
    Target,
    base_of,
    directory_of,
    reference_target,
    started_by,
)
from benchmarks.runs.workload import Workload
from loadtests.errors import LoadTestError, UsageError
from loadtests.scenario_file import ScenarioFile, read_scenario_file, read_tables
from loadtests.target import START_SECONDS, TargetSource
from loadtests.toml_lines import line_of
from reports.figures import against_figure
from reports.units import parse_seconds

Validated = TypeVar("Validated")

# Keys of an experiment that are no flags of a run.
_OWN: Final = ("path", "repeats", "targets", "arguments", "file")
# Flags of a run that say something of its server, or of how it is told.
_ELSEWHERE: Final = frozenset(
    {"url", "pid", "target_cmd", "target_env", "target_dir", "target_ready", "target_timeout"}
    | {"seed", "output", "json_output", "quiet"}
)


class _TargetTable(Table):
    """A server.

    Attributes:
        command: what starts it, afresh for each run; ``{port}``, ``{python}`` and ``{redis}`` in it
            are filled in.
        url: where it runs already, in place of a command; ``pid`` is then what is watched.
        environment, directory, ready, timeout, warmup: as the flags of ``swarmgate run``; the
            directory is relative to the file.
        paths: paths of the experiments that it has under another name.
        flags: further flags of ``swarmgate run`` for each run on it.
        optional: leave it out, and say so, where its directory does not exist.
    """

    command: str | None = None
    url: str | None = None
    pid: int | None = None
    environment: Mapping[str, str] = {}
    directory: str | None = None
    ready: Annotated[str, Field(pattern="^/")] | None = None
    timeout: Annotated[float, human(parse_seconds), Field(gt=0)] = START_SECONDS
    warmup: Annotated[float, human(parse_seconds), Field(ge=0)] = 0.0
    paths: Mapping[str, str] = {}
    flags: str = ""
    optional: bool = False


class _ExperimentTable(Table):
    path: Annotated[str, Field(pattern="^/")] | None = None
    repeats: Annotated[int, Field(ge=2)] = 3
    targets: Names = ()
    arguments: Mapping[str, str] = {}
    file: str | None = None


def load_claims(path: Path) -> ClaimsFile:
    """Read a claims file.

    Raises:
        ClaimsFileError: it cannot be read, or something in it is not as it must be.
    """
    try:
        text = path.read_text(encoding="utf-8")
        raw = tomllib.loads(text)
    except OSError as error:
        raise ClaimsFileError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ClaimsFileError(f"{path}: not TOML: {error}") from None
    return _Reader(path, text).file(raw)


class _Reader:
    """Reads one file; what is wrong is told with its line."""

    def __init__(self, path: Path, text: str) -> None:
        self._path = path
        self._text = text

    def file(self, raw: Mapping[str, Any]) -> ClaimsFile:
        for key in raw:
            if key not in ("target", "experiment", "claim"):
                raise self._complaint((key,), "no such key is known")
        targets, left_out = self._targets(raw.get("target", {}))
        experiments = {
            name: self._experiment(name, table)
            for name, table in self._tables(raw, "experiment").items()
        }
        claims = self._validated(_CLAIMS, raw.get("claim", _MISSING), ("claim",))
        file = ClaimsFile(self._path, targets, experiments, claims, left_out)
        self._check(file)
        return file

    def _tables(self, raw: Mapping[str, Any], key: str) -> dict[str, Any]:
        tables = raw.get(key, {})
        if not isinstance(tables, dict) or not all(isinstance(it, dict) for it in tables.values()):
            raise self._complaint((key,), f"it must be tables, written [{key}.NAME]")
        return tables

    def _targets(self, raw: Mapping[str, Any]) -> tuple[dict[str, Target], dict[str, str]]:
        if not raw:
            reference = reference_target()
            return {reference.name: reference}, {}
        found: dict[str, Target] = {}
        left_out: dict[str, str] = {}
        for name, content in self._tables({"target": raw}, "target").items():
            table = self._validated(_TARGET, content, ("target", name))
            directory = directory_of(table.directory, self._path)
            if directory is not None and not Path(directory).is_dir():
                if not table.optional:
                    place = ("target", name, "directory")
                    raise self._complaint(place, f"{directory} is no directory")
                left_out[name] = directory
                continue
            try:
                found[name] = _target(name, table, directory)
            except UsageError as error:
                raise self._complaint(("target", name), str(error)) from None
        return found, left_out

    def _experiment(self, name: str, content: Mapping[str, Any]) -> Experiment:
        place = ("experiment", name)
        match content.get("kind", "load"):
            case "alone":
                return self._validated(_ALONE, content, place)
            case "load":
                return self._load(content, place)
            case other:
                raise self._complaint((*place, "kind"), f"{other!r}: it must be load or alone")

    def _load(self, content: Mapping[str, Any], place: tuple[str, ...]) -> LoadExperiment:
        own = {key: value for key, value in content.items() if key in _OWN}
        table = self._validated(_EXPERIMENT, own, place)
        flags = {key: value for key, value in content.items() if key not in (*_OWN, "kind")}
        try:
            of_file = ScenarioFile()
            if table.file is not None:
                of_file = read_scenario_file(self._path.parent / table.file)
            given = read_tables(self._path, self._text, flags, place)
        except UsageError as error:
            raise ClaimsFileError(str(error)) from None
        for name in given.defaults:
            if name in _ELSEWHERE:
                where = "it is the runs' own" if name == "seed" else "it stands in [target.NAME]"
                raise self._complaint((*place, name.replace("_", "-")), f"no such key; {where}")
        defaults = {k: v for k, v in of_file.defaults.items() if k not in _ELSEWHERE}
        path = table.path or urlsplit(of_file.defaults.get("url", "")).path or "/ws"
        merged = ScenarioFile(
            {**defaults, **given.defaults},
            {**of_file.parameters, **given.parameters},
            given.users or of_file.users,
        )
        if "scenario" not in merged.defaults and not merged.users:
            raise self._complaint((*place, "scenario"), "the key is missing")
        return LoadExperiment(Workload(path, merged), table.repeats, table.targets, table.arguments)

    def _validated(
        self, adapter: TypeAdapter[Validated], raw: object, place: tuple[str, ...]
    ) -> Validated:
        if raw is _MISSING:
            raise self._complaint(place, "the key is missing")
        try:
            return adapter.validate_python(raw)
        except ValidationError as error:
            first = error.errors()[0]
            raise self._complaint((*place, *first["loc"]), _expected(first)) from None

    def _complaint(self, place: Sequence[int | str], what: str) -> ClaimsFileError:
        # The name of the kind that a verdict was taken for is no key of the file.
        keys = [key for key in place if not str(key).startswith(("str-enum", "dict["))]
        shown = ".".join(str(key) for key in keys)
        return ClaimsFileError(f"{self._path}:{line_of(self._text, keys)}: {shown}: {what}")

    def _check(self, file: ClaimsFile) -> None:
        """Check what no table can check of itself: names, repeats, units, and what cannot run."""
        for name, experiment in file.experiments.items():
            if isinstance(experiment, LoadExperiment):
                self._check_names(file, experiment.targets, ("experiment", name, "targets"))
                self._check_names(file, experiment.arguments, ("experiment", name, "arguments"))
                for target in file.targets_of(name):
                    try:
                        file.case(name, target).plan()
                    except (LoadTestError, ValueError) as error:
                        raise self._complaint(("experiment", name), str(error)) from None
        seen: set[str] = set()
        for number, claim in enumerate(file.claims):
            place = ("claim", number)
            if claim.id in seen:
                raise self._complaint((*place, "id"), f"{claim.id!r} is taken already")
            seen.add(claim.id)
            for key, complaint in _against(file, claim):
                raise self._complaint((*place, key), complaint)
            self._check_names(file, claim.targets, (*place, "targets"))
            if isinstance(claim.expected, Mapping):
                self._check_names(file, claim.expected, (*place, "expected"))

    def _check_names(
        self, file: ClaimsFile, names: Sequence[str] | Mapping[str, Any], place: Sequence[int | str]
    ) -> None:
        for name in names:
            if name not in file.targets and name not in file.left_out:
                known = ", ".join((*file.targets, *file.left_out))
                raise self._complaint(place, f"no target is called {name!r}; there are {known}")


_MISSING: Final = object()
_CLAIMS: Final[TypeAdapter[tuple[Claim, ...]]] = TypeAdapter(
    Annotated[tuple[Claim, ...], Field(strict=False, min_length=1)]
)
_TARGET: Final = TypeAdapter(_TargetTable)
_EXPERIMENT: Final = TypeAdapter(_ExperimentTable)
_ALONE: Final = TypeAdapter(AloneExperiment)


def _target(name: str, table: _TargetTable, directory: str | None) -> Target:
    """Make a server of its table. Raises UsageError."""
    if (table.command is None) == (table.url is None):
        raise UsageError("it has either a command or a url")
    if table.url is not None:
        source, base = TargetSource(pids=() if table.pid is None else (table.pid,)), table.url
    else:
        assert table.command is not None
        base = LOOPBACK
        source = TargetSource(
            started_by(table.command),
            environment=table.environment,
            directory=directory,
            ready=table.ready,
            start_seconds=table.timeout,
        )
    flags = tuple(shlex.split(table.flags))
    return Target(name, source, base_of(base), table.paths, flags, warmup=f"{table.warmup:g}s")


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


def _expected(error: Any) -> str:  # noqa: ANN401 - pydantic's own error type
    match error["type"]:
        case "extra_forbidden":
            return "no such key is known"
        case "missing":
            return "the key is missing"
        case _:
            return f"{error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"
