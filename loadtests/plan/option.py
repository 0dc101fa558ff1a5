"""Options of a run: each is a field of the plan, together with how users give it.

A field is an option when its type carries an :class:`Option`::

    late_seconds: Annotated[float, Option(Group.LOAD, SECONDS), Above(0)] = 1.0
    \"\"\"A reply that takes longer is counted as late.\"\"\"

Nothing else needs declaring: the flag ``--late``, the key ``late`` of a scenario file, the keyword
``late`` of a test, the words of a replay, the row of a dry run, ``--swarm-flags`` and the line in
docs/options.md are derived from it (:mod:`loadtests.plan.run_options`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from loadtests.errors import UsageError


class Group(StrEnum):
    """The headings under which options are listed, in this order."""

    LOAD = "Load"
    CONNECTIONS = "Connections"
    BEFORE = "Before the load"
    HANDSHAKE = "Handshake"
    TARGET = "Target"
    VERDICT = "Verdict"
    OUTPUT = "This run"


class Kind(StrEnum):
    """The type of an option's value, wherever it is given."""

    TEXT = "a text"
    NUMBER = "a number, or a text with a unit"
    SWITCH = "true or false"
    LIST = "a list"


class Scope(StrEnum):
    """The scope of an option in a run with several kinds of users."""

    RUN = "run"
    KIND = "kind"
    EITHER = "either"
    """The run, as the default for every kind that does not set the option itself."""


@dataclass(frozen=True, slots=True)
class Form:
    """The notation of a value.

    Attributes:
        kind: its type.
        read: parses a text, or the texts of a repeated option; raises ValueError with what is
            wrong and how the value is written.
        write: returns the text, or the texts, that parse to the same value.
        show: formats it for display, rounded.
        words: all possible values, if it is one of a few.
    """

    kind: Kind
    read: Callable[[Any], Any]
    write: Callable[[Any], Any] = str
    show: Callable[[Any], str] = str
    words: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Option:
    """The declaration of a field as an option.

    Attributes:
        group: its heading in help.
        form: how its value is written.
        name: its name; if empty, that of its field without the unit.
        short: its one-letter flag.
        metavar: the placeholder for its value in help.
        default: what happens without it, for help, if no value expresses that.
        scope: its scope.
        in_file: whether a scenario file may set it.
        off: the flag that turns off a switch that a file may have turned on.
    """

    group: Group
    form: Form
    name: str = ""
    short: str = ""
    metavar: str = ""
    default: str = ""
    scope: Scope = Scope.EITHER
    in_file: bool = True
    off: str = ""


@dataclass(frozen=True, slots=True)
class Least:
    """The smallest value that a number may have."""

    value: float


@dataclass(frozen=True, slots=True)
class Above:
    """The value that a number must be above."""

    value: float


class Unchecked:
    """The marker of a field that is not validated, because its type contains the field's owner."""

    def __get_pydantic_core_schema__(
        self, _source: object, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Accept anything."""
        return core_schema.any_schema()


def check_ranges(owner: Any) -> None:  # noqa: ANN401 - any dataclass with options
    """Reject a number outside the range that its field declares. Raises UsageError."""
    for name, metadata in declared(type(owner)).items():
        number = getattr(owner, name)
        for bound in metadata if number is not None else ():
            match bound:
                case Least(least) if not number >= least:
                    raise UsageError(f"{name} is {number}; it must be {least:g} or more")
                case Above(above) if not number > above:
                    raise UsageError(f"{name} is {number}; it must be above {above:g}")
                case _:
                    continue


def declared(owner: type[Any]) -> Mapping[str, Sequence[object]]:
    """Return the type metadata of a pydantic dataclass's fields, by field name."""
    return {name: field.metadata for name, field in owner.__pydantic_fields__.items()}
