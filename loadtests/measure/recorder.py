"""What one swarm process counts and times in the current interval."""

import math
import traceback
from array import array
from collections import Counter
from typing import Final

import numpy as np
import numpy.typing as npt

from loadtests.measure.process_clocks import Clocks, read_clocks
from reports.histogram import Histogram
from reports.printable import printable
from reports.record import Delivery, Interval

# How long a message took, as its user sees it.
_JUDGED_LATE: Final = frozenset(
    {"latency", "delivered", "delivered_before", "delivered_beside_slow"}
)
# What a user's code raises may contain a number, so only this many kinds are distinguished.
_MOST_FAULTS: Final = 20
# Beyond all sequence numbers of broadcasts, and the numbers of their publishers.
_ROUND: Final = 1 << 48
_FAULT_LETTERS: Final = 120


class Recorder:
    """Counters to add to in place, and buffers to append durations to.

    Appending costs 0.07 µs, binning one value 1 µs; buffers are binned in batches by :meth:`fold`,
    often enough that a fold never takes long.

    Attributes:
        integrity: the ledger's counts: expected, lost, missed, duplicated, reordered, corrupted.
        sent_bytes: payload bytes sent, if a scenario counts them; otherwise every payload has the
            plan's size.
        counts: what else a scenario counts, by ``scenario.what``.
        deliveries: delivery times in nanoseconds of each broadcast, by its sequence number.
        unreported_faults: tracebacks of what user code raised, by kind, that are not yet reported.
        load_ns: when the load began, or 0 before that.
        round_number: in a load of rounds, the number of this one; each publishes from sequence 0.
        has_delivery_histograms: keep all delivery times of each broadcast, not just first and last.
    """

    def __init__(
        self, process: int, origin_ns: int, payload_bytes: int, late_seconds: float = math.inf
    ) -> None:
        """Start the first interval.

        Args:
            process: the number of this swarm process in its fleet.
            origin_ns: CLOCK_MONOTONIC time of the start of the run.
            payload_bytes: size of every message sent.
            late_seconds: a reply or a delivery that takes longer is late.
        """
        self._process = process
        self._origin_ns = origin_ns
        self._payload_bytes = payload_bytes
        self._late_ns = late_seconds * 1e9
        self._buffers: dict[str, array[int]] = {}
        self.deliveries: dict[int, array[int]] = {}
        self.unreported_faults: dict[str, str] = {}
        self._known_faults: set[str] = set()
        self.open = 0
        self.load_ns = 0
        self.round_number = 0
        self.has_delivery_histograms = True
        self._begin_interval(read_clocks())

    def durations(self, name: str) -> "array[int]":
        """Return the buffer of one kind of duration in nanoseconds; it stays the same object."""
        return self._buffers.setdefault(name, array("q"))

    def fault(self, error: Exception) -> None:
        """Count an exception raised by a scenario or a script; keep the first of each kind."""
        kind = printable(f"script:{type(error).__name__}: {error}"[:_FAULT_LETTERS])
        if len(self._known_faults) >= _MOST_FAULTS and kind not in self._known_faults:
            kind = "script:others"
        self.errors[kind] += 1
        self.keep_fault(kind, error)

    def keep_fault(self, kind: str, error: Exception) -> None:
        """Keep the traceback of an error that is counted elsewhere, if the first of its kind."""
        if kind not in self._known_faults:
            self._known_faults.add(kind)
            self.unreported_faults[kind] = "".join(traceback.format_exception(error))

    def fold(self) -> None:
        """Bin the contents of the buffers and empty them."""
        for name, buffer in self._buffers.items():
            if buffer:
                times_ns = np.array(buffer, np.int64)
                self._histograms.setdefault(name, Histogram()).record(times_ns)
                if name in _JUDGED_LATE:
                    self._count_late(times_ns)
                del buffer[:]

    def take(self, phase: str) -> Interval:
        """Close the interval, return its contents, and begin the next."""
        self.fold()
        for times_ns in self.deliveries.values():
            if self.has_delivery_histograms:
                self._count_late(np.array(times_ns, np.int64))
        begun, now = self._begun, read_clocks()
        interval = Interval(
            process=self._process,
            t_ns=now.time_ns - self._origin_ns,
            duration_ns=now.time_ns - begun.time_ns,
            phase=phase,
            open=self.open,
            opened=self.opened,
            failed=self.failed,
            closed=self.closed,
            sent=self.sent,
            received=self.received,
            sent_bytes=self.sent_bytes or self.sent * self._payload_bytes,
            received_bytes=self.received_bytes,
            unsolicited=self.unsolicited,
            cpu_ns=now.cpu_ns - begun.cpu_ns,
            waited_ns=now.waited_ns - begun.waited_ns,
            clipped=sum(histogram.clipped for histogram in self._histograms.values()),
            close_codes=dict(self.close_codes),
            errors=dict(self.errors),
            integrity=dict(self.integrity),
            counts=dict(self.counts),
            histograms={name: held.encode() for name, held in self._histograms.items()},
            deliveries=tuple(
                _delivery(
                    self.round_number * _ROUND + sequence,
                    times_ns,
                    with_histogram=self.has_delivery_histograms,
                )
                for sequence, times_ns in sorted(self.deliveries.items())
            ),
        )
        # The cost of taking it is part of the next, so that there is no gap between two.
        self._begin_interval(now)
        return interval

    def _count_late(self, times_ns: npt.NDArray[np.int64]) -> None:
        if late := int(np.count_nonzero(times_ns > self._late_ns)):
            self.integrity["late"] += late

    def _begin_interval(self, begun: Clocks) -> None:
        self._begun = begun
        self.opened = self.failed = self.closed = 0
        self.sent = self.received = self.unsolicited = 0
        self.received_bytes = self.sent_bytes = 0
        self.close_codes: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.integrity: Counter[str] = Counter()
        self.counts: Counter[str] = Counter()
        self.deliveries.clear()
        self._histograms: dict[str, Histogram] = {}


def _delivery(sequence: int, times_ns: "array[int]", *, with_histogram: bool) -> Delivery:
    text = ""
    if with_histogram:
        histogram = Histogram()
        histogram.record(np.array(times_ns, np.int64))
        text = histogram.encode()
    return Delivery(
        sequence=sequence,
        receivers=len(times_ns),
        first_ns=min(times_ns),
        last_ns=max(times_ns),
        histogram=text,
    )
