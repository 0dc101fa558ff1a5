"""A run as a TOML file: its options by name, with values as users write them.

``[parameters]`` contains what ``--param`` would set. Flags on the command line take precedence. A
table ``[[user]]`` is one of several kinds of users (:mod:`loadtests.plan.user_kinds`).
"""

import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from loadtests.errors import UsageError
from loadtests.plan.option import Kind
from loadtests.plan.run_options import OPTIONS, Given, RunOption
from loadtests.plan.toml_lines import line_of
from reports.figures import nearest

PARAMETERS: Final = "parameters"
USERS: Final = "user"
_OF_A_USER: Final = ("name", "share")

# Options that have another form in a file: [parameters], [[user]].
_TABLES: Final = ("param", "user")
_OPTIONS: Final = {
    it.key: it for it in OPTIONS.values() if it.option.in_file and it.name not in _TABLES
}
KEYS: Final = frozenset(_OPTIONS)


@dataclass(frozen=True, slots=True)
class UserTable:
    """One kind of users, as described in a file.

    Attributes:
        where: file, line and table, for errors.
        name, share: its name, by default that of its scenario; its share of all connections.
        given, parameters: as for the whole file.
    """

    where: str
    name: str
    share: float
    given: Given
    parameters: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class ScenarioFile:
    """The contents of a scenario file.

    Attributes:
        given: the options it gives, by name.
        parameters: the scenario's parameters, as given.
        users: the kinds of users, if there are several.
    """

    given: Given = field(default_factory=dict)
    parameters: Mapping[str, Any] = field(default_factory=dict)
    users: tuple[UserTable, ...] = ()


def file_of(given: Mapping[str, Any]) -> ScenarioFile:
    """Read the scenario file that the options name; an empty one if they name none.

    Raises:
        UsageError: as :func:`read_scenario_file`.
    """
    return read_scenario_file(Path(given["file"])) if "file" in given else ScenarioFile()


def read_scenario_file(path: Path) -> ScenarioFile:
    """Read a scenario file.

    Raises:
        UsageError: no such file, not TOML, an unknown key, or a value of the wrong type or unit.
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
    """Read the description of a run from a file, or from a table in it.

    Args:
        path: the file, for errors.
        text: the whole file, for line numbers in errors.
        content: the table.
        place: the path to the table; empty for the file itself.

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
    """The reader of the tables of one file."""

    path: Path
    text: str

    def where(self, *place: int | str) -> str:
        """Return the file, line and name of a key."""
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
    ) -> tuple[Given, Mapping[str, Any]]:
        """Read the options by name, and the scenario's parameters."""
        parameters = content.pop(PARAMETERS, {})
        if not isinstance(parameters, dict):
            raise UsageError(f"{self.where(*place, PARAMETERS)} must be a table")
        given = {}
        for key, value in content.items():
            where = self.where(*place, key)
            if key not in _OPTIONS:
                raise UsageError(_unknown(where, key, sorted(KEYS)))
            given[_OPTIONS[key].name] = _checked(where, _OPTIONS[key], value)
        return given, parameters


def _unknown(where: str, key: str, known: Sequence[str]) -> str:
    return (
        f"{where} is not a key of a scenario file{nearest(key, known)} (keys: {', '.join(known)})"
    )


def _checked(where: str, option: RunOption, value: object) -> object:
    """Convert a value to its command-line form, and check that it can be parsed."""
    given = _as_given(option.kind, value)
    if given is None:
        raise UsageError(f"{where} is {value!r}; it must be {option.kind}")
    try:
        option.read(given)
    except ValueError as error:
        raise UsageError(f"{where}: {error}") from None
    return given


def _as_given(kind: Kind, value: object) -> object:
    """Return a value in its command-line form; None if its type is wrong."""
    match kind, value:
        case Kind.LIST, list():
            return [str(item) for item in value]
        case Kind.SWITCH, bool():
            return value
        case Kind.NUMBER, bool():
            return None
        case Kind.NUMBER, int() | float():
            return str(value)
        case Kind.NUMBER | Kind.TEXT, str():
            return value
        case _:
            return None
