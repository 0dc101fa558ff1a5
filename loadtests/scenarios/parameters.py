"""What a scenario's parameters are made of: a model, and numbers that are written with units."""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from loadtests.clients.backoff import Backoff, BackoffKind
from reports.units import parse_bytes, parse_count, parse_seconds


def _read(parse: Callable[[str], float]) -> BeforeValidator:
    def read(value: object) -> object:
        return parse(value) if isinstance(value, str) else value

    # For the help, which tells what is to be written.
    read.__name__ = parse.__name__.removeprefix("parse_")
    return BeforeValidator(read)


Seconds = Annotated[float, _read(parse_seconds)]
"""A duration parameter, written like 500ms."""

Count = Annotated[int, _read(parse_count)]
"""A whole number parameter, written like 10k."""

Bytes = Annotated[int, _read(parse_bytes)]
"""A size parameter, written like 16KiB."""


class Parameters(BaseModel):
    """What ``--param`` may set: a field a parameter, its docstring the help."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True)

    @classmethod
    def names(cls) -> tuple[str, ...]:
        """Return the names by which parameters may be set."""
        names: list[str] = []
        for name, field in cls.model_fields.items():
            alias = field.validation_alias
            choices = alias.choices if isinstance(alias, AliasChoices) else [name]
            names += [choice for choice in choices if isinstance(choice, str)]
        return tuple(names)


class ReconnectParameters(Parameters):
    """How clients come back."""

    backoff: BackoffKind = BackoffKind.EXPONENTIAL
    """How long they wait before each try."""

    jitter: Literal["none", "full"] = "full"
    """Whether each wait is drawn evenly from zero to its length."""

    first: Annotated[Seconds, Field(ge=0)] = 0.1
    """The first wait, or every one with a fixed backoff."""

    longest: Annotated[Seconds, Field(ge=0)] = 10.0
    """What an exponential wait grows to."""

    def policy(self) -> Backoff:
        """Return the backoff."""
        return Backoff(self.backoff, self.first, self.longest, self.jitter == "full")
