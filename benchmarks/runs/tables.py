"""Read the tables of one of our TOML files: servers, loads; errors name the line."""

import importlib.util
import itertools
import shutil
import tomllib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError

from benchmarks.runs.targets import (
    LOOPBACK,
    Target,
    base_of,
    check_of_load,
    directory_of,
    split_words,
    started_by,
)
from benchmarks.runs.workload import Workload
from loadtests.errors import UsageError
from loadtests.plan.run_options import OF_THE_OUTPUT, OF_THE_TARGET
from loadtests.plan.scenario_file import ScenarioFile, read_scenario_file, read_tables
from loadtests.plan.target_source import START_SECONDS, TargetSource
from loadtests.plan.toml_lines import line_of
from reports.figures import nearest
from reports.units import parse_seconds

Validated = TypeVar("Validated")
Place = tuple[int | str, ...]
Names = Annotated[tuple[str, ...], Field(strict=False)]

# Options that describe the server of a run, or its output.
_ELSEWHERE: Final = frozenset({*OF_THE_TARGET, *OF_THE_OUTPUT, "seed"})


# Filled in when a run is made, so no variant may have one of these names.
_FILLED_LATER: Final = ("port", "python", "redis")

MISSING: Final = object()
"""Stands for a missing table or key."""


class InputFileError(Exception):
    """A file cannot be used; the message names file, line, key and what was expected."""


def human(parse: Any) -> BeforeValidator:  # noqa: ANN401 - a function from text to a number
    """Accept a value as people write it, with its unit, or as a plain number."""
    return BeforeValidator(lambda given: parse(given) if isinstance(given, str) else given)


class Table(BaseModel):
    """A table of the file, with known keys of the right types."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)


class StartTable(Table):
    """How a server is started.

    Attributes:
        command: the command that starts it anew for each run; names in braces are filled in.
        environment, ready, timeout, warmup: like the flags of ``swarmgate run``.
    """

    command: str | None = None
    environment: Mapping[str, str] = {}
    ready: Annotated[str, Field(pattern="^/")] | None = None
    timeout: Annotated[float, human(parse_seconds), Field(gt=0)] = START_SECONDS
    warmup: Annotated[float, human(parse_seconds), Field(ge=0)] = 0.0

    def source(self, words: tuple[str, ...] = (), directory: str | None = None) -> TargetSource:
        """Return the source that starts it with these words, in a directory."""
        return TargetSource(
            words,
            environment=self.environment,
            directory=directory,
            ready=self.ready,
            start_seconds=self.timeout,
        )


class TargetTable(StartTable):
    """A server.

    Attributes:
        url: where it already runs, in place of a command; ``pid`` is then the watched process.
        directory: where it is started, relative to the file.
        paths: paths of the experiments that it serves under another name.
        flags: further flags of ``swarmgate run`` for each run on it.
        requires: what must be there, or it is left out and reported: a path, relative to the file,
            if it contains a slash; otherwise a program, or a module of the Python that runs us.
    """

    url: str | None = None
    pid: int | None = None
    directory: str | None = None
    paths: Mapping[str, str] = {}
    flags: str = ""
    requires: Annotated[
        Names, BeforeValidator(lambda given: (given,) if isinstance(given, str) else given)
    ] = ()


class WorkloadTable(Table):
    """The keys of a load that are not flags of ``swarmgate run``.

    Attributes:
        path: the path on the server.
        file: a file for ``swarmgate run --file``, relative to this one, whose keys are overridden
            by those next to it.
    """

    path: Annotated[str, Field(pattern="^/")] | None = None
    file: str | None = None


_Variants = dict[str, Annotated[tuple[str | int, ...], Field(strict=False, min_length=1)]]
_VARIANTS: Final[TypeAdapter[_Variants]] = TypeAdapter(_Variants)
_TARGET: Final = TypeAdapter(TargetTable)
_WORKLOAD: Final = TypeAdapter(WorkloadTable)


def parsed(path: Path) -> "tuple[TableReader, dict[str, Any]]":
    """Parse a file; return a reader of its tables, and its whole content.

    Raises:
        InputFileError: it cannot be read, or is not TOML.
    """
    try:
        text = path.read_text(encoding="utf-8")
        return TableReader(path, text), tomllib.loads(text)
    except OSError as error:
        raise InputFileError(f"cannot read {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputFileError(f"{path}: not TOML: {error}") from None


class TableReader:
    """A reader of the tables of one file."""

    def __init__(self, path: Path, text: str) -> None:
        """Read tables of the file at ``path``, whose content is ``text``."""
        self.path = path
        self._text = text

    def complaint(self, place: Sequence[int | str], what: str) -> InputFileError:
        """Return the error that says what is wrong at a place."""
        shown = ".".join(str(key) for key in place)
        return InputFileError(f"{self.path}:{line_of(self._text, place)}: {shown}: {what}")

    def check_keys(self, raw: Mapping[str, Any], known: Sequence[str]) -> None:
        """Refuse an unknown top-level key of the file. Raises InputFileError."""
        for key in raw:
            if key not in known:
                raise self.complaint((key,), _unknown(key, known))

    def validated(self, adapter: TypeAdapter[Validated], raw: object, place: Place) -> Validated:
        """Return the checked value at a place. Raises InputFileError."""
        if raw is MISSING:
            raise self.complaint(place, "the key is missing")
        try:
            return adapter.validate_python(raw)
        except ValidationError as error:
            first = error.errors()[0]
            message = _expected(first)
            if first["type"] == "extra_forbidden":
                message = _unknown(str(first["loc"][-1]), _keys_of(adapter))
            raise self.complaint((*place, *first["loc"]), message) from None

    def tables(self, raw: object, place: Place) -> Mapping[str, Mapping[str, Any]]:
        """Return the tables ``[place.NAME]`` by their names. Raises InputFileError."""
        if not isinstance(raw, dict) or not all(isinstance(it, dict) for it in raw.values()):
            name = ".".join(map(str, place))
            raise self.complaint(place, f"it must be tables, written [{name}.NAME]")
        return raw

    def targets(self, raw: object, place: Place) -> tuple[dict[str, Target], dict[str, str]]:
        """Return the servers ``[place.NAME]``, and what is missing for those that are left out.

        Raises:
            InputFileError: one is invalid.
        """
        found: dict[str, Target] = {}
        left_out: dict[str, str] = {}
        for key, content in self.tables(raw, place).items():
            at = (*place, key)
            for name, variant in _variants(self, at, content):
                if name in found or name in left_out:
                    raise self.complaint(at, f"there are two targets called {name!r}")
                made = self._target(name, self.validated(_TARGET, variant, at), at)
                if isinstance(made, Target):
                    found[name] = made
                else:
                    left_out[name] = made
        return found, left_out

    def _target(self, name: str, table: TargetTable, at: Place) -> Target | str:
        """Return a server, or what is missing for it. Raises InputFileError."""
        if missing := _missing(table.requires, self.path):
            return missing
        directory = directory_of(table.directory, self.path)
        if directory is not None and not Path(directory).is_dir():
            raise self.complaint((*at, "directory"), f"{directory} is not a directory")
        try:
            return _target(name, table, directory)
        except (UsageError, ValueError) as error:
            raise self.complaint(at, str(error)) from None

    def workload(self, content: Mapping[str, Any], place: Place) -> Workload:
        """Return the load that a table defines by ``swarmgate run`` flags, a path and a file.

        Raises:
            InputFileError: an unknown flag, a value that cannot be read, or no scenario.
        """
        own = {key: value for key, value in content.items() if key in WorkloadTable.model_fields}
        flags = {key: value for key, value in content.items() if key not in own}
        table = self.validated(_WORKLOAD, own, place)
        try:
            of_file = ScenarioFile()
            if table.file is not None:
                of_file = read_scenario_file(self.path.parent / table.file)
            own_flags = read_tables(self.path, self._text, flags, place)
        except UsageError as error:
            raise InputFileError(str(error)) from None
        for name in own_flags.given:
            if name in _ELSEWHERE:
                where = "each run has its own" if name == "seed" else "it belongs to the target"
                raise self.complaint((*place, name.replace("_", "-")), f"no such key; {where}")
        kept = {k: v for k, v in of_file.given.items() if k not in _ELSEWHERE}
        merged = ScenarioFile(
            {**kept, **own_flags.given},
            {**of_file.parameters, **own_flags.parameters},
            own_flags.users or of_file.users,
        )
        if "scenario" not in merged.given and not merged.users:
            raise self.complaint((*place, "scenario"), "the key is missing")
        path = table.path or urlsplit(of_file.given.get("url", "")).path or "/ws"
        return Workload(path, merged)


def _variants(
    reader: TableReader, at: Place, content: Mapping[str, Any]
) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the one server of a table, or one for each combination of values in its ``vary``."""
    key = str(at[-1])
    own = {name: value for name, value in content.items() if name != "vary"}
    if "vary" not in content:
        yield key, own
        return
    place = (*at, "vary")
    vary = reader.validated(_VARIANTS, content["vary"], place)
    for name in vary:
        if name in _FILLED_LATER:
            raise reader.complaint((*place, name), f"{{{name}}} is filled in for each run")
        if f"{{{name}}}" not in key:
            what = f'each variant needs a name: write [target."{key}-{{{name}}}"]'
            raise reader.complaint((*place, name), what)
    for values in itertools.product(*vary.values()):
        chosen = dict(zip(vary, map(str, values), strict=True))
        filled = _filled({key: own}, chosen)
        yield from filled.items()


def _filled(value: Any, chosen: Mapping[str, str]) -> Any:  # noqa: ANN401 - any TOML value
    """Fill in values wherever their names appear in braces."""
    match value:
        case str():
            for name, text in chosen.items():
                value = value.replace(f"{{{name}}}", text)
            return value
        case dict():
            return {_filled(key, chosen): _filled(item, chosen) for key, item in value.items()}
        case list():
            return [_filled(item, chosen) for item in value]
        case _:
            return value


def _missing(requires: Sequence[str], path: Path) -> str:
    """Return the first missing requirement of a server; empty if none is missing."""
    for name in requires:
        if "/" in name:
            wanted = (path.parent / name).resolve()
            if not wanted.exists():
                return str(wanted)
        elif shutil.which(name) is None and not _is_module(name):
            return name
    return ""


def _is_module(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ImportError, ValueError):
        return False


def _target(name: str, table: TargetTable, directory: str | None) -> Target:
    """Make a server from its table. Raises UsageError."""
    if (table.command is None) == (table.url is None):
        given = "neither" if table.command is None else "both"
        raise UsageError(f"it needs either a command that starts it or a url, not {given}")
    if table.url is not None:
        source, base = TargetSource(pids=() if table.pid is None else (table.pid,)), table.url
    else:
        assert table.command is not None
        base = LOOPBACK
        source = table.source(started_by(table.command), directory)
    flags = split_words("flags", table.flags)
    check_of_load(flags)
    return Target(name, source, base_of(base), table.paths, flags, warmup=f"{table.warmup:g}s")


def _unknown(key: str, known: Iterable[str]) -> str:
    return f"no such key is known{nearest(key, known)}"


def _keys_of(adapter: TypeAdapter[Any]) -> Iterator[str]:
    """Yield the keys of the tables that an adapter reads."""
    schema = adapter.json_schema()
    for table in (schema, *schema.get("$defs", {}).values()):
        yield from table.get("properties", ())


def _expected(error: Any) -> str:  # noqa: ANN401 - pydantic's own error type
    match error["type"]:
        case "missing":
            return "the key is missing"
        case _:
            return f"{error['input']!r}: {error['msg'][0].lower()}{error['msg'][1:]}"
