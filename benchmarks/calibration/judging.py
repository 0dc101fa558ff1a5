"""What a calibration must report, from what was injected: pure arithmetic.

A delayed reply takes the time that the server held it, plus the time that the same trip takes
without a delay. Both vary, so the expected distribution is that of the sum of one of each, drawn
independently. The trip without a delay is measured at the same time, on every second connection,
because on a shared machine another minute is another machine. These replies are held for a short
while too, which is subtracted again: a message that is held is exposed twice to whatever stops a
machine for a moment, when it is sent and when its reply arrives.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
import numpy.typing as npt

from reports.histogram import Histogram

PERCENTILES: Final = {"p50": 50.0, "p90": 90.0, "p99": 99.0, "p99.9": 99.9}
RELATIVE_BOUND: Final = 0.02
ABSOLUTE_BOUND_SECONDS: Final = 0.0003
# How many quantiles represent a distribution.
_QUANTILES: Final = 500
_FEWEST_BEYOND: Final = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a calibration's table.

    Attributes:
        subject: what was injected.
        figure: what is compared.
        injected: what it must be, in seconds or as a count.
        reported: what the swarm's record says.
        bound: how far apart they may be; 0 for counts.
        is_count: whether they are counts.
    """

    subject: str
    figure: str
    injected: float
    reported: float
    bound: float
    is_count: bool

    @property
    def holds(self) -> bool:
        """Whether the instrument told the truth."""
        return abs(self.reported - self.injected) <= self.bound


def bound_seconds(injected: float) -> float:
    """Return how far a reported percentile may be from what was injected, in seconds."""
    return max(injected * RELATIVE_BOUND, ABSOLUTE_BOUND_SECONDS)


def split(histogram: Histogram, at_ns: int) -> tuple[Histogram, Histogram]:
    """Split the values below ``at_ns`` from those above; the two parts lie well apart."""
    parts = Histogram(), Histogram()
    for value_ns, count in histogram.bins():
        parts[value_ns >= at_ns].record([value_ns] * count)
    return parts


def quantiles(histogram: Histogram) -> npt.NDArray[np.float64]:
    """Return evenly spaced quantiles that represent a histogram, in nanoseconds."""
    levels = (np.arange(_QUANTILES) + 0.5) / _QUANTILES * 100
    return np.array([histogram.percentile_ns(level) for level in levels], dtype=np.float64)


def stall_delays(
    stalls_ns: Sequence[int], arrivals: int, load_seconds: float
) -> npt.NDArray[np.float64]:
    """Return the delays of messages that are due evenly while a server stalls now and then.

    Messages due during a stall wait for its end: from the whole of it down to nothing. This is
    what coordinated omission hides.

    Args:
        stalls_ns: how long each stall was; all lie within the load.
        arrivals: how many messages were due in all.
        load_seconds: the time over which they were due.
    """
    delays: list[float] = []
    for stall_ns in stalls_ns:
        count = round(stall_ns / 1e9 / load_seconds * arrivals)
        delays += [stall_ns * (number + 0.5) / count for number in range(count)]
    return np.array(delays + [0.0] * max(0, arrivals - len(delays)))


def latency_rows(
    subject: str,
    delays_ns: Sequence[int] | npt.NDArray[np.float64],
    undisturbed: Histogram,
    reported: Histogram,
    held_ns: int = 0,
) -> tuple[Row, ...]:
    """Compare reported percentiles with those of the injected delays plus the undisturbed trip.

    Args:
        subject: what was injected.
        delays_ns: every injected delay.
        undisturbed: latencies without them.
        reported: latencies with them.
        held_ns: how long even the undisturbed ones were held.

    A percentile that only a few messages lie beyond is left out: it is an accident of those few.
    """
    sums = np.add.outer(np.asarray(delays_ns, dtype=np.float64), quantiles(undisturbed)).ravel()
    sums -= held_ns
    rows = []
    for name, level in PERCENTILES.items():
        if reported.count * (1 - level / 100) < _FEWEST_BEYOND:
            continue
        injected = float(np.percentile(sums, level, method="inverted_cdf")) / 1e9
        found = reported.percentile_ns(level) / 1e9
        rows.append(Row(subject, name, injected, found, bound_seconds(injected), is_count=False))
    return tuple(rows)


def count_rows(
    subject: str, injected: Mapping[str, float], reported: Mapping[str, float]
) -> tuple[Row, ...]:
    """Compare counts, which must be exact; counts of what was not injected are shown as one."""
    rows = [
        Row(subject, name, count, reported.get(name, 0.0), 0.0, is_count=True)
        for name, count in injected.items()
        if count
    ]
    others = sum(count for name, count in reported.items() if not injected.get(name))
    rows.append(Row(subject, "anything else", 0.0, others, 0.0, is_count=True))
    return tuple(rows)
