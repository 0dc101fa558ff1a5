"""A run as a TOML file: the flags of ``swarmgate run`` by their names, values as people write them.

``[parameters]`` holds what ``--param`` would. Flags on the command line have precedence. A table
``[[user]]`` is one of several kinds of users (:mod:`loadtests.run.user_kinds`).
"""

import difflib
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, Final

from loadtests.errors import UsageError
from loadtests.plan.distribution import parse_distribution
from loadtests.plan.rate_profile import parse_profile
from loadtests.plan.stages import are_stages, parse_stages
from loadtests.plan.toml_lines import line_of
from loadtests.run.flags import Flags
from reports.units import parse_bytes, parse_count, parse_rate, parse_seconds

PARAMETERS: Final = "parameters"
USERS: Final = "user"
_OF_A_USER: Final = ("name", "share")

# How the texts of flags are read, so that an error can name the line.
_READ: Final[Mapping[str, Callable[[str], object]]] = {
    "connections": lambda text: parse_stages(text) if are_stages(text) else parse_count(text),
    "concurrent": parse_count,
    "steps": parse_count,
    "processes": parse_count,
    "seed": parse_count,
    "duration": parse_seconds,
    "rate": parse_rate,
    "profile": parse_profile,
    "think": lambda text: parse_distribution(text, parse_seconds),
    "payload": lambda text: parse_distribution(text, parse_bytes),
    "ramp": parse_seconds,
    "ramp-down": parse_seconds,
    "late": parse_seconds,
    "max-message": parse_bytes,
    "timeout": parse_seconds,
    "reply-timeout": parse_seconds,
    "target-timeout": parse_seconds,
    "warmup": parse_seconds,
}
# What a flag's value may be in TOML, besides a text.
_NUMBERS: Final = frozenset({*_READ, "pid"} - {"profile"})
_SWITCHES: Final = frozenset(
    {"binary", "per-connection", "insecure", "deflate", "fail-fast", "json", "quiet"}
)
_LISTS: Final = frozenset(
    {
        "header",
        "subprotocol",
        "cookie",
        "source",
        "pid",
        "threshold",
        "abort-on",
        "bound",
        "ready",
        "answer",
        "target-env",
    }
)
_RENAMED: Final = {"connections": "count", "json": "json_output"}
# What has no place in a file, or another form there.
_NOT_IN_A_FILE: Final = ("count", "json_output", "file", "param", "user", "dry_run")
KEYS: Final = frozenset(
    {*_RENAMED, *(it.name.replace("_", "-") for it in fields(Flags))}
    - {name.replace("_", "-") for name in _NOT_IN_A_FILE}
)


@dataclass(frozen=True, slots=True)
class UserTable:
    """What a file says of one kind of users.

    Attributes:
        where: file, line and table, for errors.
        name, share: what it is called, its scenario if not; its share of all connections.
        defaults, parameters: as of the whole file.
    """

    where: str
    name: str
    share: float
    defaults: Mapping[str, Any]
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """What a file says.

    Attributes:
        defaults: values of the command's parameters, by their Python names.
        parameters: the scenario's own, as given.
        users: the kinds of users, where there are several.
    """

    defaults: Mapping[str, Any] = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    users: tuple[UserTable, ...] = ()


def read_scenario_file(path: Path) -> ScenarioFile:
    """Read a file.

    Raises:
        UsageError: no such file, no TOML, an unknown key, or a value of the wrong type or unit.
    """
    try:
        text = path.read_text(encoding="utf-8")
        content = tomllib.loads(text)
    except OSError as error:
        raise UsageError(f"cannot read the scenario file {path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise UsageError(f"{path}: not TOML ({error})") from None
    return read_tables(path, text, content)


def read_tables(
    path: Path, text: str, content: Mapping[str, Any], place: tuple[int | str, ...] = ()
) -> ScenarioFile:
    """Read what a file, or a table of it, says of a run.

    Args:
        path: the file, for errors.
        text: all of it, for the lines of errors.
        content: the table.
        place: where the table stands; nowhere if it is the file.

    Raises:
        UsageError: an unknown key, or a value of the wrong type or unit.
    """
    reader = _Reader(path, text)
    content = dict(content)
    tables = content.pop(USERS, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise UsageError(f"{reader.where(*place, USERS)} must be tables, written [[user]]")
    users = tuple(reader.user(table, (*place, USERS, it)) for it, table in enumerate(tables))
    return ScenarioFile(*reader.table(content, place), users)


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads the tables of one file."""

    path: Path
    text: str

    def where(self, *place: int | str) -> str:
        """Give file, line and name of a key."""
        return f"{self.path}:{line_of(self.text, place)}: {place[-1]}"

    def user(self, table: dict[str, Any], place: tuple[int | str, ...]) -> UserTable:
        """Read one kind of users."""
        known = sorted({*KEYS, *_OF_A_USER, PARAMETERS})
        for key in table:
            if key not in known:
                raise UsageError(_unknown(self.where(*place, key), key, known))
        name, share = table.pop("name", ""), table.pop("share", None)
        if not isinstance(name, str):
            raise UsageError(f"{self.where(*place, 'name')} is {name!r}; it must be a text")
        if isinstance(share, bool) or not isinstance(share, int | float) or not 0 < share <= 1:
            raise UsageError(
                f"{self.where(*place, 'share')} is {share!r}; it must be a number, above 0 and at "
                "most 1"
            )
        where = f"{self.path}:{line_of(self.text, place)}: user {name or int(place[-1]) + 1}"
        return UserTable(where, name, float(share), *self.table(table, place))

    def table(
        self, content: dict[str, Any], place: tuple[int | str, ...]
    ) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
        """Read flags by their names, and the scenario's parameters."""
        parameters = content.pop(PARAMETERS, {})
        if not isinstance(parameters, dict):
            raise UsageError(f"{self.where(*place, PARAMETERS)} must be a table")
        defaults = {}
        for key, value in content.items():
            where = self.where(*place, key)
            if key not in KEYS:
                raise UsageError(_unknown(where, key, sorted(KEYS)))
            defaults[_RENAMED.get(key, key).replace("-", "_")] = _checked(where, key, value)
        return defaults, parameters


def _unknown(where: str, key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1)
    meant = f"; did you mean {close[0]}?" if close else ""
    return f"{where} is no key of a scenario file{meant} (keys: {', '.join(known)})"


def _checked(where: str, key: str, value: object) -> object:
    """Bring a value to what the command line takes."""
    if key in _LISTS:
        if not isinstance(value, list):
            raise UsageError(f"{where} is {value!r}; it must be a list")
        return [str(item) for item in value]
    if key in _SWITCHES:
        if not isinstance(value, bool):
            raise UsageError(f"{where} is {value!r}; it must be true or false")
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not isinstance(value, str) and not (is_number and key in _NUMBERS):
        wanted = "a number, or a text with a unit" if key in _NUMBERS else "a text"
        raise UsageError(f"{where} is {value!r}; it must be {wanted}")
    if key in _READ:
        try:
            _READ[key](str(value))
        except ValueError as error:
            raise UsageError(f"{where}: {error}") from None
    return str(value)
