"""What one swarm process counts and times in the current interval."""

from array import array
from collections import Counter
from time import perf_counter_ns, process_time_ns

import numpy as np

from reports.histogram import Histogram
from reports.record import Delivery, Interval


class Meter:
    """Counters to add to in place, and buffers to append durations to.

    Appending costs 0.07 µs where binning one value costs 1; buffers are binned in batches by
    :meth:`fold`, often enough that a fold is never long.

    Attributes:
        integrity: the ledger's counts: expected, lost, duplicated, reordered, corrupted.
        deliveries: delivery times in nanoseconds of each broadcast, by its sequence number.
    """

    def __init__(self, process: int, origin_ns: int, payload_bytes: int) -> None:
        """Start the first interval.

        Args:
            process: the number of this swarm process in its fleet.
            origin_ns: CLOCK_MONOTONIC time of the start of the run.
            payload_bytes: size of every message sent.
        """
        self._process = process
        self._origin_ns = origin_ns
        self._payload_bytes = payload_bytes
        self._buffers: dict[str, array[int]] = {}
        self.deliveries: dict[int, array[int]] = {}
        self.open = 0
        self._begin_interval()

    def durations(self, name: str) -> "array[int]":
        """Give the buffer of one kind of duration in nanoseconds; it stays the same object."""
        return self._buffers.setdefault(name, array("q"))

    def fold(self) -> None:
        """Bin what the buffers hold and empty them."""
        for name, buffer in self._buffers.items():
            if buffer:
                self._histograms.setdefault(name, Histogram()).record(np.array(buffer, np.int64))
                del buffer[:]

    def take(self, phase: str) -> Interval:
        """Close the interval, give what it held, and begin the next."""
        self.fold()
        now_ns, cpu_ns = perf_counter_ns(), process_time_ns()
        interval = Interval(
            process=self._process,
            t_ns=now_ns - self._origin_ns,
            duration_ns=now_ns - self._begun_ns,
            phase=phase,
            open=self.open,
            opened=self.opened,
            failed=self.failed,
            closed=self.closed,
            sent=self.sent,
            received=self.received,
            sent_bytes=self.sent * self._payload_bytes,
            received_bytes=self.received_bytes,
            unsolicited=self.unsolicited,
            cpu_ns=cpu_ns - self._cpu_ns,
            clipped=sum(histogram.clipped for histogram in self._histograms.values()),
            close_codes=dict(self.close_codes),
            errors=dict(self.errors),
            integrity=dict(self.integrity),
            histograms={name: held.encode() for name, held in self._histograms.items()},
            deliveries=tuple(_delivery(*item) for item in sorted(self.deliveries.items())),
        )
        self._begin_interval()
        return interval

    def _begin_interval(self) -> None:
        self.opened = self.failed = self.closed = 0
        self.sent = self.received = self.unsolicited = 0
        self.received_bytes = 0
        self.close_codes: Counter[int] = Counter()
        self.errors: Counter[str] = Counter()
        self.integrity: Counter[str] = Counter()
        self.deliveries.clear()
        self._histograms: dict[str, Histogram] = {}
        self._begun_ns = perf_counter_ns()
        self._cpu_ns = process_time_ns()


def _delivery(sequence: int, times_ns: "array[int]") -> Delivery:
    histogram = Histogram()
    histogram.record(np.array(times_ns, np.int64))
    return Delivery(
        sequence=sequence,
        receivers=len(times_ns),
        first_ns=min(times_ns),
        last_ns=max(times_ns),
        histogram=histogram.encode(),
    )
