"""Every option of a run, gathered from the fields that are one (:mod:`loadtests.plan.option`)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import PydanticUndefined

from loadtests.errors import UsageError
from loadtests.plan.connect_options import ConnectOptions
from loadtests.plan.option import Group, Kind, Option, SaidOf, declared
from loadtests.plan.output import Output
from loadtests.plan.plan import Plan
from loadtests.plan.target_source import TargetSource

Said = Mapping[str, Any]
"""What a person said: texts, switches and lists of texts by the names of options."""

_OWNERS: Final = (Plan, ConnectOptions, TargetSource, Output)
_UNITS: Final = ("_seconds", "_bytes")
ARGUMENTS: Final = {"url": "URL", "count": "COUNT"}
"""What is said by its place on a command line, not by a flag."""


@dataclass(frozen=True, slots=True)
class RunOption:
    """An option and the field that it is.

    Attributes:
        name: what it is called in Python; on a command line and in a file with dashes.
        owner, field: the dataclass and its field.
        option: how it is said.
        help: what it means, the field's docstring.
        default: the field's; undefined where it must be said.
    """

    name: str
    owner: type[Any]
    field: str
    option: Option
    help: str
    default: Any

    @property
    def kind(self) -> Kind:
        """What its value looks like."""
        return self.option.form.kind

    @property
    def flag(self) -> str:
        """How it is written on a command line."""
        return ARGUMENTS.get(self.name) or f"--{self.key}"

    @property
    def key(self) -> str:
        """Its key in a scenario file."""
        return "connections" if self.name == "count" else self.name.replace("_", "-")

    @property
    def told_default(self) -> str:
        """What is done without it, for a person; nothing where it is just left out."""
        if self.option.default:
            return self.option.default
        if self.kind in (Kind.LIST, Kind.SWITCH) or self.default in (None, PydanticUndefined):
            return ""
        return str(self.option.form.write(self.default))

    def read(self, said: object) -> Any:  # noqa: ANN401 - each field's own
        """Return the field's value from what was said.

        Raises:
            ValueError: it is none, and how it is written.
        """
        return self.option.form.read(said)


def _gathered(owner: type[Any]) -> Iterator[RunOption]:
    documented = owner.__pydantic_fields__
    for name, metadata in declared(owner).items():
        for option in metadata:
            if isinstance(option, Option):
                told = " ".join((documented[name].description or "").split())
                called = option.name or _without_unit(name)
                default = documented[name].get_default(call_default_factory=True)
                yield RunOption(called, owner, name, option, told, default)


def _without_unit(name: str) -> str:
    for unit in _UNITS:
        name = name.removesuffix(unit)
    return name


def _by_group(found: Iterable[RunOption]) -> dict[str, RunOption]:
    order = list(Group)
    return {it.name: it for it in sorted(found, key=lambda it: order.index(it.option.group))}


OPTIONS: Final[Mapping[str, RunOption]] = _by_group(
    option for owner in _OWNERS for option in _gathered(owner)
)
"""By their names, in the order in which help lists them."""

OF_THE_TARGET: Final = frozenset(
    name for name, it in OPTIONS.items() if it.option.group is Group.TARGET
)
"""What is said of the server itself, and not of the load that is put on it."""

OF_THE_OUTPUT: Final = frozenset(
    name for name, it in OPTIONS.items() if it.option.group is Group.OUTPUT
)
"""What is a person's at a terminal, and changes nothing of a run."""


def said_of(whom: SaidOf) -> tuple[str, ...]:
    """Return the names of what is said of the run alone, or of each kind of users alone."""
    return tuple(name for name, it in OPTIONS.items() if it.option.said_of is whom)


def flag_of(name: str) -> str:
    """Return the flag of an option, as it is written."""
    return OPTIONS[name].flag


def values_of(said: Said, owner: type[Any]) -> dict[str, Any]:
    """Read what was said of the fields of one dataclass, by the fields' names.

    Raises:
        UsageError: a value that cannot be read.
    """
    values = {}
    for name, raw in said.items():
        option = OPTIONS[name]
        if option.owner is not owner:
            continue
        try:
            values[option.field] = option.read(raw)
        except ValueError as error:
            raise UsageError(f"{option.flag}: {error}") from None
    return values
