"""How the values of options are written that are more than a number or a text."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

from loadtests.plan.bounds import changed, parse_bounds
from loadtests.plan.distribution import Distribution, parse_distribution
from loadtests.plan.option import Form, Kind
from loadtests.plan.rate_profile import parse_profile
from loadtests.plan.stages import Stages, are_stages, parse_stages
from reports.units import format_bytes, format_count, parse_bytes, parse_count, parse_seconds


def _number_or_stages(text: str) -> int | Stages:
    return parse_stages(text) if are_stages(text) else parse_count(text)


def _sizes(text: str) -> Distribution:
    return parse_distribution(text, parse_bytes)


def _times(text: str) -> Distribution:
    return parse_distribution(text, parse_seconds)


def _show_sizes(value: int | Distribution) -> str:
    return str(value) if isinstance(value, Distribution) else f"{format_bytes(value)} each"


def _write_sizes(value: int | Distribution) -> str:
    return str(value) if isinstance(value, Distribution) else f"{value}B"


def _show_number(value: int | Stages) -> str:
    return str(value) if isinstance(value, Stages) else format_count(value)


def _read_pairs(texts: Sequence[str]) -> dict[str, str]:
    pairs = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise ValueError(f"{text!r} has no name or no =; write NAME=VALUE")
        pairs[key] = value
    return pairs


def _write_pairs(pairs: Mapping[str, Any]) -> list[str]:
    return [f"{name}={value}" for name, value in pairs.items()]


NUMBER_OR_STAGES: Final = Form(Kind.NUMBER, _number_or_stages, str, _show_number)
SIZES: Final = Form(Kind.NUMBER, _sizes, _write_sizes, _show_sizes)
TIMES: Final = Form(Kind.NUMBER, _times)
PROFILE: Final = Form(Kind.TEXT, parse_profile)
PAIRS: Final = Form(Kind.LIST, _read_pairs, _write_pairs, lambda it: ", ".join(_write_pairs(it)))
BOUNDS: Final = Form(
    Kind.LIST, parse_bounds, lambda it: [*changed(it)], lambda it: ", ".join(changed(it))
)
