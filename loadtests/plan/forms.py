"""How users write the values of options: texts, numbers with units, and what is built from them."""

from collections.abc import Mapping, Sequence
from enum import StrEnum
from pathlib import Path
from typing import Any, Final

from loadtests.plan.bounds import changed, parse_bounds
from loadtests.plan.distribution import Distribution, parse_distribution
from loadtests.plan.option import Form, Kind
from loadtests.plan.rate_profile import parse_profile
from loadtests.plan.stages import Stages, are_stages, parse_stages
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


def _write_bytes(size: int) -> str:
    """Write a size in the largest binary unit that divides it."""
    for unit, of in (("GiB", 2**30), ("MiB", 2**20), ("KiB", 2**10)):
        if size and size % of == 0:
            return f"{size // of}{unit}"
    return f"{size}B"


SECONDS: Final = Form(Kind.NUMBER, parse_seconds, lambda it: f"{it:.12g}s", format_seconds)
BYTES: Final = Form(Kind.NUMBER, parse_bytes, _write_bytes, format_bytes)
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
            raise ValueError(f"{text!r} is not one of {', '.join(kind)}") from None

    return Form(Kind.TEXT, read, words=tuple(kind))


def _number_or_stages(text: str) -> int | Stages:
    return parse_stages(text) if are_stages(text) else parse_count(text)


def _sizes(text: str) -> Distribution:
    return parse_distribution(text, parse_bytes)


def _times(text: str) -> Distribution:
    return parse_distribution(text, parse_seconds)


def _show_sizes(value: int | Distribution) -> str:
    return str(value) if isinstance(value, Distribution) else f"{format_bytes(value)} each"


def _write_sizes(value: int | Distribution) -> str:
    return str(value) if isinstance(value, Distribution) else _write_bytes(value)


def _show_number(value: int | Stages) -> str:
    return str(value) if isinstance(value, Stages) else format_count(value)


def _write_pairs(held: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in held.items()]


def pairs(written: str) -> Form:
    """Return the form of a mapping whose pairs are written as ``NAME=VALUE``."""

    def read(texts: Sequence[str]) -> dict[str, str]:
        found = {}
        for text in texts:
            key, equals, value = text.partition("=")
            if not equals or not key:
                raise ValueError(f"{text!r} is not of the form {written}")
            found[key] = value
        return found

    return Form(Kind.LIST, read, _write_pairs, lambda it: ", ".join(_write_pairs(it)))


NUMBER_OR_STAGES: Final = Form(Kind.NUMBER, _number_or_stages, str, _show_number)
SIZES: Final = Form(Kind.NUMBER, _sizes, _write_sizes, _show_sizes)
TIMES: Final = Form(Kind.NUMBER, _times)
PROFILE: Final = Form(Kind.TEXT, parse_profile)
BOUNDS: Final = Form(
    Kind.LIST, parse_bounds, lambda it: [*changed(it)], lambda it: ", ".join(changed(it))
)
