"""A run over time while it is in progress: drawn live, without rereading its record."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final

from reports.histogram import Histogram, merged
from reports.html.over_time import MOST_SLICES, Slice, Timed
from reports.record import Event, Interval, Line

# Beyond this number, encoded histograms are merged into one.
_MOST_TEXTS: Final = 16


@dataclass(slots=True)
class _Bin:
    """One slice of the run; ``open`` by swarm process, ``texts`` by kind of duration."""

    open: dict[int, int] = field(default_factory=dict)
    asked: int | None = None
    sent: int = 0
    received: int = 0
    texts: dict[int, list[str]] = field(default_factory=dict)
    # The percentiles of the texts, until more of them arrive.
    cached: dict[int, tuple[float, float]] = field(default_factory=dict)

    def time(self, kind: int, texts: Sequence[str]) -> None:
        """Add encoded histograms."""
        held = self.texts.setdefault(kind, [])
        held.extend(texts)
        self.cached.pop(kind, None)
        if len(held) > _MOST_TEXTS:
            held[:] = [merged(map(Histogram.decode, held)).encode()]

    def take(self, later: "_Bin") -> None:
        """Merge the slice after this one into it."""
        self.open |= later.open
        self.asked = self.asked if later.asked is None else later.asked
        self.sent += later.sent
        self.received += later.received
        for kind, texts in later.texts.items():
            self.time(kind, texts)

    def percentiles(self, kind: int) -> tuple[float, float] | tuple[None, None]:
        """Return p50 and p99 in seconds."""
        if kind not in self.cached:
            held = self.texts.get(kind, [])
            histogram = merged(map(Histogram.decode, held))
            if not histogram.count:
                return None, None
            held[:] = [histogram.encode()]
            p50, p99 = (histogram.percentile_ns(it) / 1e9 for it in (50, 99))
            self.cached[kind] = p50, p99
        return self.cached[kind]


class Trend:
    """A run in slices of one second, two, four and so on, so that there are never many."""

    def __init__(self, kinds: Sequence[Timed]) -> None:
        """Start empty.

        Args:
            kinds: the kinds of durations to keep apart.
        """
        self._kinds = tuple(kinds)
        self._seconds = 1.0
        self._bins: list[_Bin] = []
        self._end_ns = 0
        self.losses: list[float] = []
        """The times when a swarm process was lost, in seconds since the start."""

    def add(self, line: Line) -> None:
        """Add one line of the record."""
        if isinstance(line, Interval):
            self._end_ns = max(self._end_ns, line.t_ns)
            held = self._bin(line.t_ns - line.duration_ns // 2)
            held.open[line.process] = line.open
            held.sent += line.sent
            held.received += line.received
            for kind, timed in enumerate(self._kinds):
                if texts := list(timed(line)):
                    held.time(kind, texts)
        elif isinstance(line, Event) and line.name == "users":
            # Locust reports none while the number is being changed.
            if line.detail["count"]:
                self._bin(line.t_ns).asked = line.detail["count"]
        elif isinstance(line, Event) and line.name == "process_lost":
            self._bin(line.t_ns).open[line.detail["process"]] = 0
            self.losses.append(line.t_ns / 1e9)

    @property
    def seconds(self) -> float:
        """How long the run has lasted."""
        return self._end_ns / 1e9

    def kind(self) -> int | None:
        """Return the first kind of duration that has been measured."""
        timed = {kind for held in self._bins for kind in held.texts}
        return min(timed, default=None)

    def has(self, kind: int) -> bool:
        """Return whether any duration of a kind was measured."""
        return any(kind in held.texts for held in self._bins)

    def asked(self) -> list[tuple[float, int]]:
        """Return how many connections had been requested by the end of each slice."""
        points, asked = [], None
        for held, (_, end) in zip(self._bins, self._spans(), strict=True):
            asked = asked if held.asked is None else held.asked
            if asked is not None:
                points.append((end, asked))
        return points

    def slices(self, kind: int | None) -> tuple[Slice, ...]:
        """Return the slices, with the percentiles of one kind of duration."""
        made, opened = [], dict[int, int]()
        for held, (begin, end) in zip(self._bins, self._spans(), strict=True):
            opened |= held.open
            p50, p99 = (None, None) if kind is None else held.percentiles(kind)
            made.append(
                Slice(
                    begin=begin,
                    end=end,
                    open=sum(opened.values()),
                    sent=held.sent / self._seconds,
                    received=held.received / self._seconds,
                    p50=p50,
                    p99=p99,
                )
            )
        # The last slice is not complete yet.
        return tuple(made[:-1])

    def _spans(self) -> Iterator[tuple[float, float]]:
        for number in range(len(self._bins)):
            yield number * self._seconds, (number + 1) * self._seconds

    def _bin(self, t_ns: int) -> _Bin:
        """Return the slice of a moment; if that would be one too many, halve their number first."""
        at = max(0.0, t_ns / 1e9)
        while at / self._seconds >= MOST_SLICES:
            for earlier, later in zip(self._bins[::2], self._bins[1::2], strict=False):
                earlier.take(later)
            del self._bins[1::2]
            self._seconds *= 2
        index = int(at / self._seconds)
        while len(self._bins) <= index:
            self._bins.append(_Bin())
        return self._bins[index]
