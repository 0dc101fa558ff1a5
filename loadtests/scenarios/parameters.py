"""The building blocks of scenario parameters: a model, and numbers written with units."""

from collections.abc import Callable
from typing import Annotated, Literal

from pydantic import AliasChoices, BaseModel, BeforeValidator, ConfigDict, Field

from loadtests.clients.backoff import Backoff, BackoffKind
from reports.units import parse_bytes, parse_count, parse_seconds


def _read(parse: Callable[[str], float]) -> BeforeValidator:
    def read(value: object) -> object:
        return parse(value) if isinstance(value, str) else value

    # For the help text, which shows what to write.
    read.__name__ = parse.__name__.removeprefix("parse_")
    return BeforeValidator(read)


Seconds = Annotated[float, _read(parse_seconds)]
"""A duration parameter, written like 500ms."""

Count = Annotated[int, _read(parse_count)]
"""A whole number parameter, written like 10k."""

Bytes = Annotated[int, _read(parse_bytes)]
"""A size parameter, written like 16KiB."""


class Parameters(BaseModel):
    """Parameters settable with ``--param``: each field is one, its docstring the help text."""

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
    """Parameters for how clients reconnect."""

    backoff: BackoffKind = BackoffKind.EXPONENTIAL
    """How long clients wait before each attempt to reconnect."""

    jitter: Literal["none", "full"] = "full"
    """Whether each wait is drawn uniformly between zero and its full length."""

    first: Annotated[Seconds, Field(ge=0)] = 0.1
    """The first wait, or every wait with a fixed backoff."""

    longest: Annotated[Seconds, Field(ge=0)] = 10.0
    """The longest wait of an exponential backoff."""

    def policy(self) -> Backoff:
        """Return the backoff."""
        return Backoff(self.backoff, self.first, self.longest, self.jitter == "full")
