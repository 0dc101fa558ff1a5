"""What an option of a run is: a field of the plan, and how a person says it.

A field is an option when its type carries an :class:`Option`::

    late_seconds: Annotated[float, Option(Group.LOAD, SECONDS), Above(0)] = 1.0
    \"\"\"A reply that takes longer is counted as late.\"\"\"

That is all there is to declare: the flag ``--late``, the key ``late`` of a scenario file, the
keyword ``late`` of a test, the words of a replay, the row of a dry run, ``--swarm-flags`` and the
line in docs/options.md are made of it (:mod:`loadtests.plan.run_options`).
"""

from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Annotated, Any, Final, get_args, get_origin, get_type_hints

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from loadtests.errors import UsageError
from reports.units import (
    format_bytes,
    format_count,
    format_rate,
    format_seconds,
    parse_bytes,
    parse_count,
    parse_rate,
    parse_seconds,
)


class Group(StrEnum):
    """Under which heading options are listed, in this order."""

    LOAD = "Load"
    CONNECTIONS = "Connections"
    BEFORE = "Before the load"
    HANDSHAKE = "Handshake"
    TARGET = "Target"
    VERDICT = "Verdict"
    OUTPUT = "This run"


class Kind(StrEnum):
    """What an option's value looks like, wherever it is said."""

    TEXT = "a text"
    NUMBER = "a number, or a text with a unit"
    SWITCH = "true or false"
    LIST = "a list"


class SaidOf(StrEnum):
    """Of whom an option may be said where a run has users of several kinds."""

    RUN = "run"
    KIND = "kind"
    EITHER = "either"
    """Of the run, for every kind that says nothing else."""


@dataclass(frozen=True, slots=True)
class Form:
    """How people write a value.

    Attributes:
        kind: what it looks like.
        read: makes a value of a text, or of the texts of an option that is repeated; raises
            ValueError with what is wrong and how it is written.
        write: gives the text, or the texts, from which the same value is read.
        show: writes it for a person, rounded.
        words: all that there are, where it is one of a few.
    """

    kind: Kind
    read: Callable[[Any], Any]
    write: Callable[[Any], Any] = str
    show: Callable[[Any], str] = str
    words: tuple[str, ...] = ()


SECONDS: Final = Form(Kind.NUMBER, parse_seconds, lambda it: f"{it:.12g}s", format_seconds)
BYTES: Final = Form(Kind.NUMBER, parse_bytes, lambda it: f"{it}B", format_bytes)
COUNT: Final = Form(Kind.NUMBER, parse_count, str, format_count)
RATE: Final = Form(Kind.NUMBER, parse_rate, lambda it: f"{it:.12g}", format_rate)
TEXT: Final = Form(Kind.TEXT, str)
PATH: Final = Form(Kind.TEXT, Path)
TEXTS: Final = Form(Kind.LIST, tuple, tuple, ", ".join)
SWITCH: Final = Form(Kind.SWITCH, bool, bool, lambda it: "yes" if it else "no")


def one_of(kind: type[StrEnum]) -> Form:
    """Return the form of a value that is one of several words."""

    def read(text: str) -> StrEnum:
        try:
            return kind(text)
        except ValueError:
            raise ValueError(f"{text!r} is none of {', '.join(kind)}") from None

    return Form(Kind.TEXT, read, words=tuple(kind))


@dataclass(frozen=True, slots=True)
class Option:
    """How a field is said.

    Attributes:
        group: its heading in help.
        form: how its value is written.
        name: what it is called; as its field, without the unit, if this is empty.
        short: its flag of one letter.
        metavar: what stands for its value in help.
        default: what is done without it, for help, where no value stands for that.
        said_of: of whom it may be said.
        in_file: whether a scenario file may say it.
        off: the flag that says no to a switch which a file may have turned on.
    """

    group: Group
    form: Form = TEXT
    name: str = ""
    short: str = ""
    metavar: str = ""
    default: str = ""
    said_of: SaidOf = SaidOf.EITHER
    in_file: bool = True
    off: str = ""


@dataclass(frozen=True, slots=True)
class Least:
    """The smallest value that a number may have."""

    value: float


@dataclass(frozen=True, slots=True)
class Above:
    """What a number must be above."""

    value: float


class Unchecked:
    """Marks a field that is taken as it is, for its type is one that holds the field's owner."""

    def __get_pydantic_core_schema__(
        self, _source: object, _handler: GetCoreSchemaHandler
    ) -> CoreSchema:
        """Take anything."""
        return core_schema.any_schema()


def check_ranges(owner: Any) -> None:  # noqa: ANN401 - any dataclass with options
    """Refuse a number outside the range that its field declares. Raises UsageError."""
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


@cache
def declared(owner: type[Any]) -> dict[str, tuple[Any, ...]]:
    """Return what the types of a dataclass's fields carry besides, by the fields' names."""
    hints = get_type_hints(owner, include_extras=True)
    return {
        field.name: get_args(hints[field.name])[1:]
        for field in fields(owner)
        if get_origin(hints[field.name]) is Annotated
    }
