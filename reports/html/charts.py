"""The charts of one record: what is drawn over time, and how durations are distributed."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from reports.figures import Catalogue, catalogue_of
from reports.histogram import Histogram
from reports.html.over_time import (
    Phase,
    Slice,
    Timed,
    cpu_ratios,
    end_seconds,
    phases,
    readings,
    slices,
    timed_by,
    timed_deliveries,
)
from reports.html.svg import (
    Axis,
    Band,
    Drawing,
    Point,
    Series,
    Strip,
    linear_axis,
    log_axis,
    svg,
    swatch,
)
from reports.html.trend import Trend
from reports.record import Header, Record
from reports.summary import Totals
from reports.units import (
    format_bytes,
    format_count,
    format_rate,
    format_ratio,
    format_seconds,
    significant,
)

# Beyond this ratio the smaller of two lines on a linear axis is flattened to the bottom.
_WORTH_ANOTHER_CHART: Final = 50
# Beyond this ratio an axis of durations is logarithmic.
_WORTH_LOGARITHMS: Final = 20
_MOST_MARKS: Final = 3
_PERCENTILE_POINTS: Final = 160
_MARKED: Final = {
    "signal": "asked to stop",
    "restarted": "restarted",
    "process_lost": "swarm process lost",
    "trouble": "trouble",
}

_SECONDS: Final = ((1.0, "s"), (1e-3, "ms"), (1e-6, "µs"), (1e-9, "ns"))
_BYTES: Final = ((1e9, "GB"), (1e6, "MB"), (1e3, "kB"), (1.0, "B"))
_RATIO: Final = ((0.01, "% of a core"),)
_RATE: Final = ((1e6, "million a second"), (1.0, "a second"))
_COUNT: Final = ((1e6, "millions"), (1.0, ""))

Units = tuple[tuple[float, str], ...]


@dataclass(frozen=True, slots=True)
class Chart:
    """One chart on the page.

    Attributes:
        unit: the unit of the y axis.
        legend: name and swatch of each line; empty if the title says it.
        drawing: an ``<svg>`` element.
        note: a sentence below the chart.
    """

    title: str
    unit: str
    legend: tuple[tuple[str, str], ...]
    drawing: str
    note: str = ""


@dataclass(frozen=True, slots=True)
class Timing:
    """What the charts of a run are about.

    Attributes:
        title: what is timed.
        timed: the part of it that is drawn over time.
        lines: the kinds of durations that are drawn by percentile, by the label of their line.
    """

    title: str
    timed: Timed
    lines: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class _Frame:
    """What all charts over time of one record share."""

    x: Axis
    bands: tuple[Band, ...]
    marks: tuple[tuple[float, str], ...]
    cut: tuple[Slice, ...]


# Kinds of durations for runs whose scenario does not say what it is about, likeliest first.
_KINDS: Final = (("latency", "service_time"), ("delivered",), ("arrival",), ("back",))


def timings(header: Header) -> tuple[Timing, ...]:
    """Return what the charts of a run may be about, likeliest first.

    Opening, which is timed in every run, comes last.
    """
    catalogue = catalogue_of(header)
    of_users = (user.measures.main for user in header.users)
    declared = filter(None, (header.measures.main, *of_users))
    kinds = dict.fromkeys((*declared, *_KINDS, ("open",)))
    return tuple(timing for names in kinds for timing in _timings(names, catalogue))


def _timings(kinds: tuple[str, ...], catalogue: Catalogue) -> Iterator[Timing]:
    """Yield the timings that draw these kinds together."""
    title = catalogue.duration(kinds[0]).title
    lines = {catalogue.duration(kind).title: kind for kind in kinds}
    is_replied = kinds[0] == "latency"
    yield Timing(title, timed_by(*(kinds[:1] if is_replied else kinds)), lines)
    if kinds == ("delivered",):
        # If each broadcast has its own histogram, the interval has none that covers them all.
        yield Timing(title, timed_deliveries, lines)


def charts(record: Record, totals: Totals) -> tuple[Chart, ...]:
    """Draw every chart that a record has data for, in the order of the page.

    Args:
        record: what is drawn over time.
        totals: the sum of its lines, which is drawn by percentile.
    """
    candidates = timings(record.header)
    timing = next(
        (it for it in candidates if any(any(it.timed(line)) for line in record.intervals)),
        candidates[0],
    )
    cut = slices(record, timing.timed)
    frame = _frame(record, cut)
    return (
        *_open(frame),
        *_messages(frame),
        *_durations(frame, timing),
        *_memory(record, frame),
        *_cpu(record, frame),
        *_distribution(totals, timing),
    )


def new_trend(header: Header) -> Trend:
    """Return what :func:`live_charts` draws; feed it the lines of a record as they arrive."""
    return Trend([timing.timed for timing in timings(header)])


def live_charts(trend: Trend, header: Header) -> tuple[Chart, ...]:
    """Draw a run in progress: open connections, messages, their durations, and those of opening.

    Each kind of duration has its own chart.
    """
    candidates = timings(header)
    kind, opening = trend.kind(), len(candidates) - 1
    frame = _live_frame(trend, kind)
    if not frame.cut:
        return ()
    opened = Series("open", tuple((held.end, float(held.open)) for held in frame.cut))
    was_asked = trend.asked()[: len(frame.cut)]
    asked = Series("requested", tuple((at, float(count)) for at, count in was_asked))
    lines = (opened, asked) if asked.points else (opened,)
    return (
        _over_time("Open connections", frame, lines, _COUNT, format_count),
        *(_durations(frame, candidates[kind]) if kind is not None else ()),
        *_messages(frame),
        *(
            _durations(_live_frame(trend, opening), candidates[opening])
            if kind != opening and trend.has(opening)
            else ()
        ),
    )


def _live_frame(trend: Trend, kind: int | None) -> _Frame:
    cut = trend.slices(kind)
    return _Frame(
        x=_time_axis(cut[-1].end if cut else 1.0),
        bands=(),
        marks=tuple((at, _MARKED["process_lost"]) for at in trend.losses[:_MOST_MARKS]),
        cut=cut,
    )


def _time_axis(end: float) -> Axis:
    return linear_axis(0.0, end, lambda value: f"{_plain(value)} s", most=7, is_tight=True)


def _frame(record: Record, cut: tuple[Slice, ...]) -> _Frame:
    end = end_seconds(record) or 1.0
    marks = [
        (event.t_ns / 1e9, _MARKED[event.name]) for event in record.events if event.name in _MARKED
    ]
    return _Frame(
        x=_time_axis(end),
        bands=tuple(_band(phase) for phase in phases(record)),
        marks=tuple(marks[:_MOST_MARKS]),
        cut=cut,
    )


def _band(phase: Phase) -> Band:
    return Band(phase.begin, phase.end, phase.name, is_shaded=phase.name == "measure")


def _open(frame: _Frame) -> Iterator[Chart]:
    if frame.cut:
        points = [(0.0, 0.0), *((held.end, float(held.open)) for held in frame.cut)]
        line = Series("open", tuple(points))
        yield _over_time("Open connections", frame, (line,), _COUNT, format_count)


def _messages(frame: _Frame) -> Iterator[Chart]:
    sent = Series("sent", tuple((_middle(held), held.sent) for held in frame.cut))
    received = Series("received", tuple((_middle(held), held.received) for held in frame.cut))
    most_sent, most_received = _highest((sent,)), _highest((received,))
    if most_sent * _WORTH_ANOTHER_CHART < most_received:
        if most_sent:
            yield _over_time("Messages sent", frame, (sent,), _RATE, format_rate)
        yield _over_time("Messages received", frame, (received,), _RATE, format_rate)
    elif most_sent:
        yield _over_time("Messages", frame, (sent, received), _RATE, format_rate)


def _durations(frame: _Frame, timing: Timing) -> Iterator[Chart]:
    lines = (
        Series("p50", tuple((_middle(held), held.p50) for held in frame.cut)),
        Series("p99", tuple((_middle(held), held.p99) for held in frame.cut)),
    )
    if _highest(lines):
        yield _over_time(
            f"{timing.title}, over time", frame, lines, _SECONDS, format_seconds, is_duration=True
        )


def _memory(record: Record, frame: _Frame) -> Iterator[Chart]:
    lines = tuple(
        Series(label, readings(record, "server", name))
        for name, label in (("rss_bytes", "resident (RSS)"), ("pss_bytes", "proportional (PSS)"))
    )
    held = tuple(line for line in lines if line.points)
    if _highest(held):
        yield _over_time("Server memory", frame, held, _BYTES, format_bytes)


def _cpu(record: Record, frame: _Frame) -> Iterator[Chart]:
    line = Series("CPU", cpu_ratios(record, "server"))
    if line.points:
        yield _over_time("Server CPU", frame, (line,), _RATIO, format_ratio)


def _over_time(
    title: str,
    frame: _Frame,
    series: tuple[Series, ...],
    units: Units,
    format_value: Callable[[float], str],
    *,
    is_duration: bool = False,
) -> Chart:
    """Draw lines over time; durations that differ widely get a logarithmic axis."""
    y, unit = _axis(series, units, may_be_log=is_duration)
    drawing = Drawing(
        description=f"{title} over time, at most {format_value(_highest(series))}",
        x=frame.x,
        y=y,
        series=series,
        bands=frame.bands,
        marks=frame.marks,
        strips=_strips(series, frame.cut, format_value),
        is_filled=len(series) == 1 and not y.is_log,
    )
    return Chart(title, unit, _legend(series), svg(drawing))


def _distribution(totals: Totals, timing: Timing) -> Iterator[Chart]:
    """Draw durations against their percentile, as HdrHistogram's own plots do."""
    histograms = [(label, totals.durations(kind)) for label, kind in timing.lines.items()]
    held = [(label, histogram) for label, histogram in histograms if histogram.count]
    if not held:
        return
    series = tuple(Series(label, _percentile_points(histogram)) for label, histogram in held)
    most = max(histogram.count for _, histogram in held)
    y, unit = _axis(series, _SECONDS, may_be_log=True, must_be_log=True)
    drawing = Drawing(
        description=f"{timing.title} by percentile, at most {format_seconds(_highest(series))}",
        x=_percentile_axis(most),
        y=y,
        series=series,
        strips=_percentile_strips(held, most),
    )
    yield Chart(
        f"{timing.title}, by percentile",
        unit,
        _legend(series),
        svg(drawing),
        f"Of {format_count(most)} durations. Each step to the right is a tenth of those before it.",
    )


def _percentile_points(histogram: Histogram) -> tuple[Point, ...]:
    count = histogram.count
    steps = min(_PERCENTILE_POINTS, max(1, count - 1))
    places = [count ** (step / steps) for step in range(steps + 1)]
    points = [
        (place, histogram.percentile_ns(100 * (1 - 1 / place)) / 1e9) for place in places[:-1]
    ]
    return (*points, (float(count), histogram.max_ns / 1e9))


def _percentile_axis(count: int) -> Axis:
    """Make the axis of 1 / (1 - p): 50 %, then 90 %, 99 %, … equally far apart."""
    ticks, power = [(2.0, "50 %")], 1
    while 10**power <= count:
        ticks.append((10.0**power, _percentile_label(power)))
        power += 1
    return Axis(1.0, float(max(count, 10)), tuple(ticks), is_log=True)


def _percentile_label(nines: int) -> str:
    return f"{100 * (1 - 10.0**-nines):.{max(0, nines - 2)}f} %"


def _percentile_strips(held: Sequence[tuple[str, Histogram]], count: int) -> tuple[Strip, ...]:
    """Return a strip at each of the usual percentiles."""
    asked = [(2.0, "p50")] + [
        (10.0**power, f"p{_percentile_label(power)[:-2]}")
        for power in range(1, 12)
        if 10**power <= count
    ]
    return tuple(
        Strip(
            place / 1.25,
            place * 1.25,
            "\n".join(
                [
                    label,
                    *(
                        f"{name}: "
                        f"{format_seconds(histogram.percentile_ns(100 * (1 - 1 / place)) / 1e9)}"
                        for name, histogram in held
                    ),
                ]
            ),
        )
        for place, label in asked
    )


def _axis(
    series: Sequence[Series], units: Units, *, may_be_log: bool, must_be_log: bool = False
) -> tuple[Axis, str]:
    """Return the y axis for all lines, and its unit."""
    values = [value for line in series for _, value in line.points if value is not None]
    high = max(values)
    factor, unit = next((held for held in units if high >= held[0]), units[-1])
    low = min((value for value in values if value > 0), default=high)
    if may_be_log and high > 0 and (must_be_log or high > low * _WORTH_LOGARITHMS):
        return log_axis(low, high, lambda value: _plain(value / factor)), f"{unit}, logarithmic"
    return linear_axis(0.0, high, lambda value: _plain(value / factor)), unit


def _strips(
    series: Sequence[Series], cut: Sequence[Slice], format_value: Callable[[float], str]
) -> tuple[Strip, ...]:
    """Return a strip with the values of the lines for each slice."""
    strips = []
    for held in cut:
        values = [
            f"{line.label} {format_value(value)}"
            for line in series
            for at, value in line.points
            if value is not None and held.begin < at <= held.end
        ]
        if values:
            when = f"{_plain(held.begin)} s to {_plain(held.end)} s"
            strips.append(Strip(held.begin, held.end, "\n".join([when, *values[:6]])))
    return tuple(strips)


def _legend(series: Sequence[Series]) -> tuple[tuple[str, str], ...]:
    if len(series) == 1:
        return ()
    return tuple((line.label, swatch(number)) for number, line in enumerate(series))


def _middle(held: Slice) -> float:
    return (held.begin + held.end) / 2


def _highest(series: Sequence[Series]) -> float:
    return max((value for line in series for _, value in line.points if value), default=0.0)


def _plain(value: float) -> str:
    """Format a number without a unit and without trailing zeros: ``10,000``, ``0.05``."""
    text = significant(value)
    return text.rstrip("0").rstrip(".") if "." in text else text
