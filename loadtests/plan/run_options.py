"""Every option of a run, collected from the fields that declare one (see ``option.py``)."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from pydantic_core import PydanticUndefined

from loadtests.errors import UsageError
from loadtests.plan.connect_options import ConnectOptions
from loadtests.plan.option import Group, Kind, Option, Scope, declared
from loadtests.plan.output import Output
from loadtests.plan.plan import Plan
from loadtests.plan.target_source import TargetSource

Given = Mapping[str, Any]
"""What the user gave: texts, switches and lists of texts, by the names of options."""

_OWNERS: Final = (Plan, ConnectOptions, TargetSource, Output)
_UNITS: Final = ("_seconds", "_bytes")
ARGUMENTS: Final = {"url": "URL", "count": "COUNT"}
"""Options given by position on a command line, not by a flag."""


@dataclass(frozen=True, slots=True)
class RunOption:
    """An option and the field that declares it.

    Attributes:
        name: its name in Python; written with dashes on a command line and in a file.
        owner, field: the dataclass and its field.
        option: the declaration.
        help: what it means, from the field's docstring.
        default: the field's default; undefined if the option is required.
    """

    name: str
    owner: type[Any]
    field: str
    option: Option
    help: str
    default: Any

    @property
    def kind(self) -> Kind:
        """The type of its value."""
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
    def default_text(self) -> str:
        """The default as shown to users; empty if the option is simply absent by default."""
        if self.option.default:
            return self.option.default
        if self.kind in (Kind.LIST, Kind.SWITCH) or self.default in (None, PydanticUndefined):
            return ""
        return str(self.option.form.write(self.default))

    def read(self, given: object) -> Any:  # noqa: ANN401 - each field's own
        """Parse the field's value from what was given.

        Raises:
            ValueError: invalid value; the message shows how it is written.
        """
        return self.option.form.read(given)


def _gathered(owner: type[Any]) -> Iterator[RunOption]:
    documented = owner.__pydantic_fields__
    for name, metadata in declared(owner).items():
        for option in metadata:
            if isinstance(option, Option):
                help_text = " ".join((documented[name].description or "").split())
                called = option.name or _without_unit(name)
                default = documented[name].get_default(call_default_factory=True)
                yield RunOption(called, owner, name, option, help_text, default)


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
"""All options by name, in the order in which help lists them."""

OF_THE_TARGET: Final = frozenset(
    name for name, it in OPTIONS.items() if it.option.group is Group.TARGET
)
"""Options of the server itself, not of the load that is put on it."""

OF_THE_OUTPUT: Final = frozenset(
    name for name, it in OPTIONS.items() if it.option.group is Group.OUTPUT
)
"""Options for a user at a terminal, which change nothing about a run."""


def names_in(scope: Scope) -> tuple[str, ...]:
    """Return the names of the options with this scope, such as the run alone."""
    return tuple(name for name, it in OPTIONS.items() if it.option.scope is scope)


def flag_of(name: str) -> str:
    """Return the flag of an option, as it is written on a command line."""
    return OPTIONS[name].flag


def values_of(given: Given, owner: type[Any]) -> dict[str, Any]:
    """Parse the options given for the fields of one dataclass; return them by field name.

    Raises:
        UsageError: invalid value.
    """
    values = {}
    for name, raw in given.items():
        option = OPTIONS[name]
        if option.owner is not owner:
            continue
        try:
            values[option.field] = option.read(raw)
        except ValueError as error:
            raise UsageError(f"{option.flag}: {error}") from None
    return values
