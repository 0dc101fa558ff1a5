"""Options of a run as flags: of commands, and in command-line words written elsewhere."""

import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from typing import Any, Final, TypeVar

import typer

from loadtests.errors import UsageError
from loadtests.plan.option import Kind
from loadtests.plan.run_options import ARGUMENTS, OPTIONS, Given, RunOption

Answer = TypeVar("Answer")
Complete = Callable[[], Sequence[str]]

_TYPES: Final[Mapping[Kind, Any]] = {Kind.SWITCH: bool | None, Kind.LIST: list[str] | None}


def takes_options(
    function: Callable[..., Answer], completions: Mapping[str, Complete] | None = None
) -> Callable[..., Answer]:
    """Turn a function that takes the options of a run into a command of the command line.

    Args:
        function: takes the options given, and the command's own parameters by name. A parameter
            with the name of an option replaces that option.
        completions: shell completions for the values of an option, by its name.
    """
    own = [*inspect.signature(function).parameters.values()][1:]
    names = {it.name for it in own}
    offered = [it for it in OPTIONS.values() if it.name not in names]

    def command(**values: Any) -> Answer:  # noqa: ANN401 - each option's own
        further = {name: values.pop(name) for name in names}
        given = {name: value for name, value in values.items() if value is not None}
        return function(given, **further)

    # Positional arguments have a fixed order; flags are listed by their groups.
    offered.sort(key=lambda it: [*ARGUMENTS].index(it.name) if it.name in ARGUMENTS else 2)
    of_run = [_parameter(it, (completions or {}).get(it.name)) for it in offered]
    parameters = (*own, *of_run)
    command.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    command.__annotations__ = {it.name: it.annotation for it in parameters}
    command.__name__, command.__doc__ = function.__name__, function.__doc__
    return command


def _parameter(option: RunOption, complete: Complete | None) -> inspect.Parameter:
    return inspect.Parameter(
        option.name,
        inspect.Parameter.KEYWORD_ONLY,
        default=_declaration(option, complete),
        annotation=_TYPES.get(option.kind, str | None),
    )


def _declaration(option: RunOption, complete: Complete | None) -> Any:  # noqa: ANN401 - Typer's
    help_ = (
        f"{option.help} \\[default: {option.default_text}]" if option.default_text else option.help
    )
    if option.name in ARGUMENTS:
        return typer.Argument(None, metavar=ARGUMENTS[option.name], help=help_, show_default=False)
    how = option.option
    flag = f"{option.flag}/{how.off}" if how.off else option.flag
    return typer.Option(
        None,
        *(flag, *filter(None, [how.short])),
        metavar=how.metavar or "|".join(how.form.words) or None,
        help=help_,
        rich_help_panel=str(how.group),
        autocompletion=complete or (lambda: how.form.words),
    )


def read_words(words: Sequence[str]) -> dict[str, Any]:
    """Parse words as a command line would, and return the options they give.

    Args:
        words: as a shell would pass them.

    Raises:
        UsageError: an unknown flag, or an extra word.
    """
    try:
        given: dict[str, Any] = _reader().main(list(words), standalone_mode=False)
    except typer.TyperException as error:
        raise UsageError(_message(error)) from None
    return given


@cache
def _reader() -> Any:  # noqa: ANN401 - of the library's own copy of click, whose types are not public
    """Make the command that returns what it parsed; cached, as making it is as slow as parsing."""

    def note(given: Given) -> Given:
        return given

    reader = typer.Typer(add_completion=False)
    reader.command(add_help_option=False)(takes_options(note))
    return typer.main.get_command(reader)


def _message(error: typer.TyperException) -> str:
    # The library's own message for it; the type is not public.
    return str(getattr(error, "format_message", lambda: error)())


def words_of(option: RunOption, value: Any) -> Iterator[str]:  # noqa: ANN401 - each field's own
    """Yield the command-line words for an option with this value of its field."""
    written = option.option.form.write(value)
    match option.kind:
        case Kind.SWITCH:
            yield from [option.flag] if written else []
        case Kind.LIST:
            yield from (word for item in written for word in (option.flag, item))
        case _:
            yield from (option.flag, written)
