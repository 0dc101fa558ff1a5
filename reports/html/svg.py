"""Line charts as inline SVG: axes, ticks and paths, from numbers to text, without colours.

Elements carry class names (``line-0``, ``band``, ``tick``), which the page's style sheet colours,
so that one drawing serves light and dark mode. Lines also differ in their dashes.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from typing import Final

WIDTH: Final = 480
HEIGHT: Final = 236
# Space for the labels of the axes, and for the names of the bands above.
_LEFT: Final = 58
_RIGHT: Final = 14
_TOP: Final = 22
_BOTTOM: Final = 30
# The mean width of a character in the page's font, in the drawing's units.
_CHARACTER: Final = 6.4
# A strip that is any thinner cannot be pointed at.
_THINNEST_STRIP: Final = 1.5
_STEPS: Final = (1.0, 2.0, 5.0)

Point = tuple[float, float | None]


@dataclass(frozen=True, slots=True)
class Axis:
    """One axis of a chart.

    Attributes:
        low, high: the values at its two ends; ``low`` is below ``high``, and above 0 if ``is_log``.
        ticks: the labelled values, with their labels.
        is_log: whether equal ratios, not equal differences, are equally far apart.
    """

    low: float
    high: float
    ticks: tuple[tuple[float, str], ...]
    is_log: bool = False

    def ratio(self, value: float) -> float:
        """Return where a value lies: 0 at the low end, 1 at the high end, never beyond either."""
        held = min(max(value, self.low), self.high)
        if self.is_log:
            return math.log(held / self.low) / math.log(self.high / self.low)
        return (held - self.low) / (self.high - self.low)


@dataclass(frozen=True, slots=True)
class Series:
    """One line: its name, and its points from left to right; None is a gap."""

    label: str
    points: tuple[Point, ...]


@dataclass(frozen=True, slots=True)
class Band:
    """A named part of the x axis; a shaded one is what the chart is about."""

    low: float
    high: float
    label: str
    is_shaded: bool = False


@dataclass(frozen=True, slots=True)
class Strip:
    """A part of the x axis that shows its figures when it is pointed at."""

    low: float
    high: float
    text: str


@dataclass(frozen=True, slots=True)
class Drawing:
    """What to draw.

    Attributes:
        description: a text for readers who cannot see the drawing.
        marks: named moments, drawn as vertical lines.
        is_filled: whether the area below the first line is faintly filled.
    """

    description: str
    x: Axis
    y: Axis
    series: tuple[Series, ...]
    bands: tuple[Band, ...] = ()
    marks: tuple[tuple[float, str], ...] = ()
    strips: tuple[Strip, ...] = ()
    is_filled: bool = False


def step_for(span: float, most: int) -> float:
    """Return the smallest step of 1, 2 or 5 times a power of ten, at most ``most`` in ``span``.

    Raises:
        ValueError: the span is not above 0, or not finite.
    """
    if not (span > 0 and math.isfinite(span)):
        raise ValueError(f"no steps over a span of {span}")
    rough = span / most
    power: float = 10.0 ** math.floor(math.log10(rough))
    return next(
        (power * step for step in _STEPS if power * step >= rough * (1 - 1e-9)), power * 10.0
    )


def linear_axis(
    low: float, high: float, label: Callable[[float], str], *, most: int = 5, is_tight: bool = False
) -> Axis:
    """Make an axis of equal differences with at most ``most`` steps.

    Args:
        low: the smallest value that it must include.
        high: the largest.
        label: formats a tick.
        most: the largest number of steps.
        is_tight: end the axis where the data end, not at a tick.
    """
    if high <= low:
        high = low + 1.0
    step = step_for(high - low, most)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    if is_tight:
        first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    values = [number * step for number in range(first, last + 1)]
    ends = (low, high) if is_tight else (values[0], values[-1])
    return Axis(*ends, tuple((value, label(value)) for value in values))


def log_axis(low: float, high: float, label: Callable[[float], str]) -> Axis:
    """Make an axis of equal ratios that covers ``low`` to ``high``, both above 0.

    It ends at 1, 2 or 5 times a power of ten. Over few decades these are its ticks; over many, only
    the powers of ten are.

    Raises:
        ValueError: an end is not above 0.
    """
    if not 0 < low <= high < math.inf:
        raise ValueError(f"no logarithmic axis from {low} to {high}")
    # One more power of ten beyond each end, in case an end is itself a power of ten.
    first, last = math.floor(math.log10(low)) - 1, math.ceil(math.log10(high)) + 1
    grid = [step * 10.0**power for power in range(first, last + 1) for step in _STEPS]
    begin = max(value for value in grid if value <= low * (1 + 1e-9))
    end = min(value for value in grid if value >= high * (1 - 1e-9) and value > begin)
    within = [value for value in grid if begin <= value <= end]
    if len(within) > 7:
        within = [10.0**power for power in range(first, last + 1) if begin <= 10.0**power <= end]
    return Axis(begin, end, tuple((value, label(value)) for value in within), is_log=True)


def svg(drawing: Drawing) -> str:
    """Draw it as an ``<svg>`` element; all text in it is escaped."""
    parts = [
        (
            f'<svg viewBox="0 0 {WIDTH} {HEIGHT}" role="img" '
            f'aria-label="{escape(drawing.description)}">'
        ),
        *_bands(drawing),
        *_grid(drawing),
        *_lines(drawing),
        *_marks(drawing),
        *_strips(drawing),
        "</svg>",
    ]
    return "".join(parts)


def swatch(number: int) -> str:
    """Draw the short piece of a line that is shown next to its name."""
    return (
        '<svg class="swatch" viewBox="0 0 26 8" aria-hidden="true">'
        f'<path class="line line-{number}" d="M1 4H25"/></svg>'
    )


def _x(axis: Axis, value: float) -> float:
    return _LEFT + axis.ratio(value) * (WIDTH - _LEFT - _RIGHT)


def _y(axis: Axis, value: float) -> float:
    return HEIGHT - _BOTTOM - axis.ratio(value) * (HEIGHT - _TOP - _BOTTOM)


def _bands(drawing: Drawing) -> Iterator[str]:
    """Draw the bands, each with its name if there is room for it."""
    for band in drawing.bands:
        left, right = _x(drawing.x, band.low), _x(drawing.x, band.high)
        kind = "band shaded" if band.is_shaded else "band"
        yield (
            f'<rect class="{kind}" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" '
            f'height="{HEIGHT - _TOP - _BOTTOM}"/>'
        )
        if right - left > len(band.label) * _CHARACTER:
            yield (
                f'<text class="name" x="{(left + right) / 2:.1f}" y="{_TOP - 7}" '
                f'text-anchor="middle">{escape(band.label)}</text>'
            )


def _grid(drawing: Drawing) -> Iterator[str]:
    floor = HEIGHT - _BOTTOM
    for value, label in drawing.y.ticks:
        y = _y(drawing.y, value)
        yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{WIDTH - _RIGHT}"/>'
        yield (
            f'<text class="tick" x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">'
            f"{escape(label)}</text>"
        )
    for value, label in drawing.x.ticks:
        x = _x(drawing.x, value)
        yield f'<path class="grid" d="M{x:.1f} {floor}v4"/>'
        yield (
            f'<text class="tick" x="{x:.1f}" y="{floor + 18}" text-anchor="middle">'
            f"{escape(label)}</text>"
        )


def _lines(drawing: Drawing) -> Iterator[str]:
    for number, series in enumerate(drawing.series):
        pieces = _pieces(series.points)
        drawn = ["L".join(_places(drawing, piece)) for piece in pieces]
        if drawing.is_filled and number == 0:
            floor = HEIGHT - _BOTTOM
            areas = (
                f"M{path}L{_x(drawing.x, piece[-1][0]):.1f} {floor}"
                f"L{_x(drawing.x, piece[0][0]):.1f} {floor}Z"
                for path, piece in zip(drawn, pieces, strict=True)
            )
            yield f'<path class="area" d="{"".join(areas)}"/>'
        # A single point is a line of zero length, which its round ends turn into a dot.
        paths = (
            f"M{path}{'h0' if len(piece) == 1 else ''}"
            for path, piece in zip(drawn, pieces, strict=True)
        )
        yield f'<path class="line line-{number}" d="{"".join(paths)}"/>'


def _places(drawing: Drawing, piece: Sequence[tuple[float, float]]) -> Iterator[str]:
    return (f"{_x(drawing.x, at):.1f} {_y(drawing.y, value):.1f}" for at, value in piece)


def _pieces(points: Sequence[Point]) -> list[list[tuple[float, float]]]:
    """Cut a line at its gaps."""
    pieces: list[list[tuple[float, float]]] = [[]]
    for at, value in points:
        if value is not None:
            pieces[-1].append((at, value))
        elif pieces[-1]:
            pieces.append([])
    return [piece for piece in pieces if piece]


def _marks(drawing: Drawing) -> Iterator[str]:
    for at, label in drawing.marks:
        x = _x(drawing.x, at)
        anchor = "end" if drawing.x.ratio(at) > 0.7 else "start"
        beside = x + (-4 if anchor == "end" else 4)
        yield f'<path class="mark" d="M{x:.1f} {_TOP}V{HEIGHT - _BOTTOM}"/>'
        yield (
            f'<text class="name" x="{beside:.1f}" y="{_TOP + 12}" text-anchor="{anchor}">'
            f"{escape(label)}</text>"
        )


def _strips(drawing: Drawing) -> Iterator[str]:
    for strip in drawing.strips:
        left, right = _x(drawing.x, strip.low), _x(drawing.x, strip.high)
        if right - left >= _THINNEST_STRIP:
            yield (
                f'<rect class="strip" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" '
                f'height="{HEIGHT - _TOP - _BOTTOM}"><title>{escape(strip.text)}</title></rect>'
            )
