"""What an option of a run is: a field of the plan, and how a person says it.

A field is an option when its type carries an :class:`Option`::

    late_seconds: Annotated[float, Option(Group.LOAD, SECONDS), Above(0)] = 1.0
    \"\"\"A reply that takes longer is counted as late.\"\"\"

That is all there is to declare: the flag ``--late``, the key ``late`` of a scenario file, the
keyword ``late`` of a test, the words of a replay, the row of a dry run, ``--swarm-flags`` and the
line in docs/options.md are made of it (:mod:`loadtests.plan.run_options`).
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from loadtests.errors import UsageError


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
    form: Form
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


def declared(owner: type[Any]) -> Mapping[str, Sequence[object]]:
    """Return what the types of a pydantic dataclass's fields carry besides, by field name."""
    return {name: field.metadata for name, field in owner.__pydantic_fields__.items()}
