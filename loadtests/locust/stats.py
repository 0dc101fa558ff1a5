"""What a swarm counted and timed in a second, entered into Locust's statistics in one go.

Locust's own way, an event for each request, costs 2 µs a message. Here a second of messages is one
entry, merged like those of workers. Its table keeps three digits of each time; the exact histograms
are in the record.

Locust's charts and its row "Aggregated" cover all rows together. Connections are counted there, but
without their times, which would mix with those of messages.
"""

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from locust.stats import RequestStats, StatsEntry, StatsError

from loadtests.scenarios.echo import TIMEOUT
from reports.faults import LEDGER_FAULTS
from reports.histogram import Histogram, merged
from reports.measures import Measures
from reports.record import Interval
from reports.summary import HANDSHAKE, OWN
from reports.units import rounded

METHOD = "WS"
# Locust's table has one row for what a user sees; these are shown on our tab and in the report.
_NO_ROW = frozenset({*OWN, *HANDSHAKE, "service_time", "first_message", "acknowledgement"}) - {
    "open"
}
# What a row is called if the histogram's name is not what a tester would call it.
_NAMES: Mapping[str, str] = {
    "open": "connect",
    "latency": "round trip",
    "delivered": "delivery",
}
_CONNECT = _NAMES["open"]
_ANY: Final = Measures()


@dataclass(frozen=True, slots=True)
class Row:
    """What is added to one row of Locust's table.

    Attributes:
        times_ms: how many took each time, to three digits.
        failures: how many failed, by cause; their times are not known.
        received_bytes: payload bytes received.
        is_of_total: whether its times belong in the total of all rows.
        histogram: the same times, exactly; None if there are none.
    """

    name: str
    times_ms: Mapping[float, int]
    total_ms: float
    low_ms: float
    high_ms: float
    failures: Mapping[str, int]
    received_bytes: int
    is_of_total: bool = True
    histogram: Histogram | None = None

    @property
    def count(self) -> int:
        """The number that did not fail."""
        return sum(self.times_ms.values())


def rows(user: str, interval: Interval, measures: Measures = _ANY) -> Iterator[Row]:
    """Yield what an interval of one user class adds to Locust's table.

    Args:
        user: the user class.
        interval: one second of one of its swarm processes.
        measures: what its scenario declares; if that names no main durations, failures of messages
            are reported under the first durations that exist.
    """
    histograms = {
        name: Histogram.decode(text)
        for name, text in interval.histograms.items()
        if name not in _NO_ROW
    }
    if deliveries := [it.histogram for it in interval.deliveries if it.histogram]:
        histograms["delivered"] = merged(map(Histogram.decode, deliveries))
    names = sorted(histograms, key=lambda name: name in _NAMES, reverse=True)
    called_by = {**{kind.key: kind.label for kind in measures.durations}, **_NAMES}
    first = next(iter(measures.main), next((name for name in names if name != "open"), "message"))
    main = called_by.get(first, first)
    failures = _failures(interval, main)
    for name in names:
        called = called_by.get(name, name)
        received = interval.received_bytes if called == main else 0
        yield _row(user, called, histograms[name], failures.pop(called, {}), received)
    for called, causes in failures.items():
        yield Row(f"{user} {called}", {}, 0.0, 0.0, 0.0, causes, 0)


def _row(
    user: str,
    called: str,
    histogram: Histogram,
    failures: Mapping[str, int],
    received_bytes: int,
) -> Row:
    times_ms: dict[float, int] = {}
    for low_ns, count in histogram.bins():
        key = rounded(low_ns / 1e6)
        times_ms[key] = times_ms.get(key, 0) + count
    return Row(
        name=f"{user} {called}",
        times_ms=times_ms,
        total_ms=histogram.mean_ns * histogram.count / 1e6,
        low_ms=histogram.min_ns / 1e6,
        high_ms=histogram.max_ns / 1e6,
        failures=failures,
        received_bytes=received_bytes,
        is_of_total=called != _CONNECT,
        histogram=histogram if histogram.count else None,
    )


def _failures(interval: Interval, main: str) -> dict[str, dict[str, int]]:
    """Return how many failed, by row and cause: openings separately, all else with messages."""
    found: dict[str, dict[str, int]] = {}
    for kind, count in interval.errors.items():
        phase = kind.partition(":")[0]
        of = "connection" if phase in ("closed", "protocol") else main
        if interval.failed and phase in ("connect", "tls", "upgrade", "tls+upgrade", "proxy"):
            of = "connect"
        found.setdefault(of, {})[kind] = count
    # A message whose user waited in vain is lost as well: it is not a second message.
    waited = interval.errors.get(TIMEOUT, 0)
    for name in LEDGER_FAULTS:
        count = interval.integrity.get(name, 0) - (waited if name == "lost" else 0)
        # Negative if some arrived that had been counted as lost: Locust takes nothing back.
        if count > 0:
            found.setdefault(main, {})[name] = count
    return found


def enter(stats: RequestStats, row: Row) -> None:
    """Add a row to Locust's table, its total, its charts and its list of failures."""
    failed = sum(row.failures.values())
    if not (row.count or failed):
        return
    now = time.time()
    stats.entries[row.name, METHOD].extend(_entry(stats, row, now, with_times=True))
    stats.total.extend(_entry(stats, row, now, with_times=row.is_of_total))
    for cause, count in row.failures.items():
        key = StatsError.create_key(METHOD, row.name, cause)
        known = stats.errors.setdefault(key, StatsError(METHOD, row.name, cause, first_seen=now))
        known.occurrences += count
        known.last_seen = now


def _entry(stats: RequestStats, row: Row, now: float, *, with_times: bool) -> StatsEntry:
    """Create Locust's entry for a row; its averages and percentiles omit what has no time."""
    failed = sum(row.failures.values())
    entry = StatsEntry(stats, row.name, METHOD)
    entry.num_requests = row.count + failed
    entry.num_failures = failed
    entry.num_none_requests = failed if with_times else entry.num_requests
    if row.count and with_times:
        entry.total_response_time = row.total_ms  # type: ignore[assignment] # need not be whole
        entry.min_response_time = row.low_ms  # type: ignore[assignment]
        entry.max_response_time = row.high_ms  # type: ignore[assignment]
        entry.response_times = dict(row.times_ms)  # type: ignore[arg-type]
    entry.total_content_length = row.received_bytes
    entry.num_reqs_per_sec = {int(now): entry.num_requests}
    entry.num_fail_per_sec = {int(now): failed} if failed else {}
    entry.last_request_timestamp = now
    return entry
