"""Units in one place: parse numbers with units as people write them, format figures for people.

Internally, durations are seconds or nanoseconds, sizes are bytes, shares are ratios of 1. Decimal
prefixes are powers of 1000 (GB), binary ones of 1024 (KiB).
"""

import math
import re
from collections.abc import Mapping
from typing import Final

_NUMBER: Final = re.compile(r"\s*([+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?)\s*([^\d\s]*)\s*")

_COUNTS: Final = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6}
_SECONDS: Final = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "": 1.0,
    "m": 60.0,
    "min": 60.0,
    "h": 3600.0,
}
_BYTES: Final = {
    "": 1.0,
    "B": 1.0,
    "kB": 1e3,
    "KB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "KiB": 2.0**10,
    "MiB": 2.0**20,
    "GiB": 2.0**30,
}
_RATIOS: Final = {"": 1.0, "%": 0.01}
_RATES: Final = {"": 1.0, "/s": 1.0, "k": 1e3, "k/s": 1e3, "M": 1e6, "M/s": 1e6, "/min": 1 / 60}


def _parse(text: str, units: Mapping[str, float], what: str, example: str) -> float:
    match = _NUMBER.fullmatch(text.replace(",", "").replace("_", ""))
    if match is None or match[2] not in units:
        known = ", ".join(unit for unit in units if unit)
        raise ValueError(f"{text!r} is not a {what}; write it like {example} (units: {known})")
    value = float(match[1]) * units[match[2]]
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite {what}")
    return value


def parse_count(text: str) -> int:
    """Parse a whole number such as ``250`` or ``10k``. Raises ValueError."""
    value = _parse(text, _COUNTS, "count", "10k")
    if value != int(value):
        raise ValueError(f"{text!r} is not a whole number; write it like 10k")
    return int(value)


def parse_seconds(text: str) -> float:
    """Parse a duration such as ``30s``, ``500us`` or ``2`` (seconds). Raises ValueError."""
    return _parse(text, _SECONDS, "duration", "30s")


def parse_bytes(text: str) -> int:
    """Parse a size such as ``2GB``, ``16KiB`` or ``64`` (bytes). Raises ValueError."""
    return round(_parse(text, _BYTES, "size", "16KiB"))


def parse_ratio(text: str) -> float:
    """Parse a share such as ``1%`` or ``0.01``. Raises ValueError."""
    return _parse(text, _RATIOS, "ratio", "1%")


def parse_rate(text: str) -> float:
    """Parse a rate per second such as ``500``, ``2k`` or ``30/min``. Raises ValueError."""
    return _parse(text, _RATES, "rate", "500/s")


def significant(value: float, digits: int = 3) -> str:
    """Format a number with ``digits`` significant digits and no exponent."""
    if value == 0:
        return "0"
    short = rounded(value, digits)
    decimals = max(0, digits - 1 - math.floor(math.log10(abs(short))))
    return f"{short:,.{min(decimals, 12)}f}"


def format_change(ratio: float) -> str:
    """Format by how much one value differs from another, given their ratio: ``+4.20 %``."""
    if math.isinf(ratio):
        return "from 0"
    # A difference below a millionth is rounding.
    percent = round((ratio - 1) * 100, 4)
    sign = "+" if percent > 0 else "−" if percent < 0 else ""
    return f"{sign}{significant(abs(percent))} %"


def rounded(value: float, digits: int = 3) -> float:
    """Return a number rounded to ``digits`` significant digits."""
    return float(f"{value:.{digits - 1}e}")


Scale = tuple[float, str]
"""The size of a unit, and its symbol."""

_SECONDS_SCALES: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTES_SCALES: Final = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))


def _scale(value: float, scales: tuple[Scale, ...]) -> Scale:
    # 999.6 ms is shown as 1 s, not as 1,000 ms.
    return next((it for it in scales if abs(value) >= it[0] * 0.9995), scales[-1])


def _scaled(value: float, scales: tuple[Scale, ...]) -> str:
    factor, unit = _scale(value, scales)
    return f"{significant(value / factor)} {unit}"


def scale_of(figure: str, value: float) -> Scale:
    """Return the unit in which a value of a figure is easy to read, for a column of them."""
    match unit_of(figure):
        case "seconds":
            return _scale(value, _SECONDS_SCALES)
        case "bytes":
            return _scale(value, _BYTES_SCALES)
        case "ratio":
            return 0.01, "%"
        case "per_second":
            return 1.0, "/s"
        case _:
            return 1.0, ""


def format_seconds(value: float) -> str:
    """Format a duration: ``1.23 ms``."""
    return _scaled(value, _SECONDS_SCALES)


def format_bytes(value: float) -> str:
    """Format a size in the decimal units that machines and claims use: ``337 MB``."""
    return _scaled(value, _BYTES_SCALES)


def format_ratio(value: float) -> str:
    """Format a share as a percentage: ``1.37 %``."""
    return f"{significant(value * 100)} %"


def format_count(value: float) -> str:
    """Format a count: ``10,000``; one that is a mean over runs keeps a decimal."""
    return f"{value:,.0f}" if value == int(value) else significant(value)


def format_rate(value: float) -> str:
    """Format a rate: ``1,810 /s``."""
    return f"{significant(value)} /s"


def unit_of(figure: str) -> str:
    """Return the unit in a figure's name: seconds, bytes, ratio, per_second, or none."""
    for unit in ("per_second", "seconds", "bytes", "ratio"):
        if figure.endswith(f"_{unit}"):
            return unit
    return ""


def format_figure(figure: str, value: float) -> str:
    """Format a figure in the unit that its name carries."""
    formats = {
        "seconds": format_seconds,
        "bytes": format_bytes,
        "ratio": format_ratio,
        "per_second": format_rate,
        "": format_count,
    }
    return formats[unit_of(figure)](value)


def parse_figure(figure: str, text: str) -> float:
    """Parse a number with the unit that a figure's name carries. Raises ValueError."""
    parsers = {
        "seconds": parse_seconds,
        "bytes": parse_bytes,
        "ratio": parse_ratio,
        "per_second": parse_rate,
        "": parse_count,
    }
    return float(parsers[unit_of(figure)](text))
