"""The ``--help`` text of a scenario: its purpose, and its parameters with types and defaults."""

import inspect
import sys
import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from types import NoneType, UnionType
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BeforeValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from typer.core import TyperCommand

from loadtests.errors import UsageError
from loadtests.plan.scenario_file import read_scenario_file
from loadtests.scenarios.registry import scenario_kind
from loadtests.scenarios.scenario import Scenario

_SCENARIO: Final = ("--scenario", "-s")
_FILE: Final = ("--file", "-f")
_DEEPER: Final = " " * 10
_WIDTH: Final = 80


class RunCommand(TyperCommand):
    """A command whose help shows the parameters of the scenario that is named before ``--help``."""

    # The library carries its own copy of click, whose types are not public.
    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:  # noqa: ANN401
        """Keep the words, because help is printed before any other option is read."""
        ctx.meta["words"] = tuple(args)
        return super().parse_args(ctx, args)

    def format_help(self, ctx: Any, formatter: Any) -> None:  # noqa: ANN401
        """Write the options, then the parameters of the scenario."""
        super().format_help(ctx, formatter)
        try:
            name = _scenario_in(ctx.meta["words"])
            lines = parameter_lines(name, scenario_kind(name)) if name else iter(())
        except UsageError as error:
            lines = iter([f"swarmgate: {error}"])
        sys.stdout.writelines(f"{line}\n" for line in lines)


def _scenario_in(words: Sequence[str]) -> str | None:
    """Return the scenario that is named before ``--help``, or in the file that is. UsageError."""
    if (name := _named(words, _SCENARIO)) is not None:
        return name
    path = _named(words, _FILE)
    return None if path is None else read_scenario_file(Path(path)).given.get("scenario")


def _named(args: Sequence[str], options: tuple[str, ...]) -> str | None:
    """Return the value of an option in any form that the command accepts; the last one counts."""
    named = None
    for word, following in zip(args, [*args[1:], ""], strict=False):
        option, equals, value = word.partition("=")
        short, attached = word[:2], word[2:]
        if option in options:
            named = value if equals else following
        elif short in options and attached:
            named = attached
    return named


def parameter_lines(name: str, kind: type[Scenario[Any]]) -> Iterator[str]:
    """Yield the help of one scenario, a line at a time."""
    module = sys.modules[kind.__module__]
    about = kind.__doc__ if "function" in vars(kind) or name.endswith(".py") else module.__doc__
    first, *_ = inspect.cleandoc(about or "no description").splitlines()
    yield f"{name}: {first}"
    rate = kind.default_rate
    if rate is not None:
        yield f"    rate without --rate: {rate:g} a second"
    for key, field in kind.parameters_type.model_fields.items():
        yield f"    {_left(key, field)}"
        about = " ".join((field.description or "").replace("``", "").split())
        yield from textwrap.wrap(about, _WIDTH, initial_indent=_DEEPER, subsequent_indent=_DEEPER)
    yield ""


def _left(key: str, field: FieldInfo) -> str:
    default = "" if field.default in (None, PydanticUndefined) else f" = {field.default}"
    return f"{key}: {_unit(field.metadata) or _type(field.annotation)}{default}"


def _unit(metadata: Iterable[Any]) -> str:
    """Name the quantity of a number with a unit; empty if it has none."""
    readers = (item.func for item in metadata if isinstance(item, BeforeValidator))
    return next((reader.__name__ for reader in readers), "")


def _type(annotation: Any) -> str:  # noqa: ANN401 - any annotation
    """Name a type as a user would write its values."""
    origin, parts = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return "|".join(map(str, parts))
    if origin in (Union, UnionType):
        return "|".join(_type(part) for part in parts if part is not NoneType)
    if hasattr(annotation, "__members__"):
        return "|".join(member.value for member in annotation)
    if hasattr(annotation, "__metadata__"):
        return _unit(annotation.__metadata__) or _type(parts[0])
    return getattr(annotation, "__name__", str(annotation))
