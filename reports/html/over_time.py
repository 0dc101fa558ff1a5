"""From a record to what happened in each second of it: rates, percentiles, the server's readings.

The intervals of several swarm processes do not begin at the same time. Their counts are therefore
spread over the seconds that they span; their histograms, which cannot be split, go to the second
that holds the interval's midpoint.
"""

import math
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Final

from reports.histogram import Histogram, merged
from reports.record import Interval, Record

# A line with more points shows no more, and makes the page large.
MOST_SLICES: Final = 240
_WIDTHS_SECONDS: Final = (1.0, 2.0, 5.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1800.0, 3600.0)
# CPU time grows in ticks of the kernel's clock: readings closer together say nothing.
_LEAST_BETWEEN_READINGS_SECONDS: Final = 0.2
# Below this share, the last part of a second at the end of the run is too short for a rate.
_LEAST_SHARE: Final = 0.1


@dataclass(frozen=True, slots=True)
class Slice:
    """One second of a run, or several if the run is long, in seconds since its start.

    Attributes:
        open: connections open at its end.
        sent, received: messages per second, None if the slice is too short.
        p50, p99: seconds, None if nothing was timed.
    """

    begin: float
    end: float
    open: int
    sent: float | None
    received: float | None
    p50: float | None
    p99: float | None


@dataclass(frozen=True, slots=True)
class Phase:
    """A phase of the run, in seconds since its start."""

    name: str
    begin: float
    end: float


Timed = Callable[[Interval], Iterator[str]]


def phases(record: Record) -> tuple[Phase, ...]:
    """Return the phases of a run, each up to the start of the next or the end of the record."""
    begun = [(event.t_ns / 1e9, event) for event in record.events if event.name == "phase"]
    ends = [*(at for at, _ in begun), end_seconds(record)][1:]
    return tuple(
        Phase(str(event.detail.get("phase", "")), at, max(at, end))
        for (at, event), end in zip(begun, ends, strict=True)
    )


def end_seconds(record: Record) -> float:
    """Return when the record ends, in seconds since the start of the run."""
    times_ns = [
        *(line.t_ns for line in record.intervals),
        *(line.t_ns for line in record.samples),
        *(line.t_ns for line in record.events),
        record.footer.t_ns if record.footer else 0,
    ]
    return max(times_ns) / 1e9


def timed_by(*names: str) -> Timed:
    """Return a function that selects the histograms with these names."""
    return lambda line: (line.histograms[name] for name in names if name in line.histograms)


def timed_deliveries(line: Interval) -> Iterator[str]:
    """Yield the individual histograms of the broadcasts in an interval."""
    return (delivery.histogram for delivery in line.deliveries if delivery.histogram)


def slices(record: Record, timed: Timed) -> tuple[Slice, ...]:
    """Cut a run into slices of one second, or of several if there would be too many.

    The measured phase begins with a new slice, so that no slice is only half inside it.
    """
    if not record.intervals:
        return ()
    end = max(line.t_ns for line in record.intervals) / 1e9
    grid = _grid(record, end)
    sent: defaultdict[int, float] = defaultdict(float)
    received: defaultdict[int, float] = defaultdict(float)
    # Kept encoded: a histogram takes 270 KB.
    texts: defaultdict[int, list[str]] = defaultdict(list)
    for line in record.intervals:
        for index, share in grid.shares(line):
            sent[index] += line.sent * share
            received[index] += line.received * share
        texts[grid.index((line.t_ns - line.duration_ns / 2) / 1e9)].extend(timed(line))
    opened = _open_at(record, [grid.end(index) for index in grid.indices])
    made = []
    for index, open_then in zip(grid.indices, opened, strict=True):
        length = min(grid.end(index), end) - grid.begin(index)
        is_enough = length >= grid.width * _LEAST_SHARE
        p50, p99 = _percentiles(texts[index])
        made.append(
            Slice(
                begin=grid.begin(index),
                end=min(grid.end(index), end),
                open=open_then,
                sent=sent[index] / length if is_enough else None,
                received=received[index] / length if is_enough else None,
                p50=p50,
                p99=p99,
            )
        )
    return tuple(made)


@dataclass(frozen=True, slots=True)
class _Grid:
    """Slices of equal width, numbered from 0; the first begins with the run, and may be shorter."""

    first_end: float
    width: float
    count: int

    @property
    def indices(self) -> range:
        return range(self.count)

    def begin(self, index: int) -> float:
        return 0.0 if index == 0 else self.end(index - 1)

    def end(self, index: int) -> float:
        return self.first_end + index * self.width

    def index(self, seconds: float) -> int:
        inside = 0 if seconds < self.first_end else 1 + int((seconds - self.first_end) / self.width)
        return min(max(inside, 0), self.count - 1)

    def shares(self, line: Interval) -> Iterator[tuple[int, float]]:
        """Yield the slices that an interval spans, and the share of it in each."""
        end, length = line.t_ns / 1e9, line.duration_ns / 1e9
        begin = max(0.0, end - length)
        first, last = self.index(begin), self.index(end)
        if end <= begin or first == last:
            yield last, 1.0
            return
        for index in range(first, last + 1):
            within = min(end, self.end(index)) - max(begin, self.begin(index))
            yield index, max(0.0, within) / (end - begin)


def _grid(record: Record, end: float) -> _Grid:
    """Choose the width of the slices, and where they begin."""
    fitting = (width for width in _WIDTHS_SECONDS if end / width <= MOST_SLICES)
    width = next(fitting, end / MOST_SLICES)
    measured = next((phase.begin for phase in phases(record) if phase.name == "measure"), 0.0)
    first_end = measured % width or width
    return _Grid(first_end, width, 1 + max(0, math.ceil((end - first_end) / width - 1e-9)))


def _open_at(record: Record, moments: list[float]) -> list[int]:
    """Return the number of connections open at each moment, over all swarm processes."""
    changes = [(line.t_ns, line.process, line.open) for line in record.intervals]
    changes += [
        (event.t_ns, int(event.detail["process"]), 0)
        for event in record.events
        if event.name == "process_lost" and "process" in event.detail
    ]
    changes.sort()
    by_process: dict[int, int] = {}
    found, position = [], 0
    for moment in moments:
        while position < len(changes) and changes[position][0] <= moment * 1e9:
            _, process, count = changes[position]
            by_process[process] = count
            position += 1
        found.append(sum(by_process.values()))
    return found


def _percentiles(texts: list[str]) -> tuple[float | None, float | None]:
    histogram = merged(Histogram.decode(text) for text in texts)
    if not histogram.count:
        return None, None
    return histogram.percentile_ns(50) / 1e9, histogram.percentile_ns(99) / 1e9


def readings(record: Record, source: str, name: str) -> tuple[tuple[float, float], ...]:
    """Return (second, value) of every reading with this name, thinned out if there are many."""
    held = [
        (sample.t_ns / 1e9, sample.values[name])
        for sample in record.samples
        if sample.source == source and name in sample.values
    ]
    return tuple(held[:: max(1, math.ceil(len(held) / MOST_SLICES))])


def cpu_ratios(record: Record, source: str) -> tuple[tuple[float, float], ...]:
    """Return (second, share of a core) between every two readings of the CPU time."""
    points = []
    held = readings(record, source, "cpu_seconds")
    kept = [*held[:1]]
    for reading in held[1:]:
        if reading[0] - kept[-1][0] >= _LEAST_BETWEEN_READINGS_SECONDS:
            kept.append(reading)
    for (before, used_before), (after, used_after) in pairwise(kept):
        # The CPU time of a process tree goes backwards when one of its processes ends.
        if used_after >= used_before:
            ratio = (used_after - used_before) / (after - before)
            points.append(((before + after) / 2, ratio))
    return tuple(points)
