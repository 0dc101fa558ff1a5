"""The statistics as Prometheus reads them (text exposition format)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import CONTENT_TYPE_LATEST as CONTENT_TYPE

if TYPE_CHECKING:
    from collections.abc import Iterator

    from prometheus_client.metrics_core import Metric

    from target_app.counters import Stats, WorkerStats

__all__ = ["CONTENT_TYPE", "exposition"]

GAUGES = {
    "open": ("connections", "Connections open now", "endpoint"),
    "rooms": ("room_members", "Members of a room now", "room"),
}
NUMBERS = {
    "lagging": "Connections that are behind now",
    "answers_waiting": "Questions whose answer is not there yet",
    "uptime_seconds": "Time since the worker started",
    "draining": "1 while the worker drains",
}
LABELLED = {
    "refused": ("handshakes_refused", "Handshakes refused", "reason"),
    "closed_by_code": ("connections_closed", "Connections ended", "code"),
}
COUNTS = {
    "accepted": "Handshakes completed",
    "messages_received": "Messages from clients",
    "messages_sent": "Messages to clients, one for each receiver",
    "messages_dropped": "Messages not sent because a slow consumer's queue was full",
    "messages_lost": "Messages not sent because the connection ended, closed or was given up",
    "broadcasts": "Messages fanned out",
    "slow_consumers_closed": "Connections closed because they read slowly",
    "pings_unanswered": "Connections closed because no pong came",
    "rate_limited": "Connections closed because they sent too fast",
    "sessions_forgotten": "Sessions that made room for others before their time was over",
}
BUS = {
    "published": "Messages for other workers",
    "received": "Messages of other workers",
    "dropped": "Messages that not every other worker was given",
    "missed": "Messages of other workers that did not arrive",
    "reconnects": "Reconnections to Redis",
    "gap_seconds": "Time spent disconnected from Redis",
}


def exposition(stats: Stats) -> bytes:
    """Return ``stats`` with one series for each worker."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(stats))
    return generate_latest(registry)


class _Collector:
    def __init__(self, stats: Stats) -> None:
        self._workers = stats.workers

    def describe(self) -> list[Metric]:
        return []

    def collect(self) -> Iterator[Metric]:
        for field, (name, description, label) in GAUGES.items():
            gauge = GaugeMetricFamily(f"target_{name}", description, labels=["worker", label])
            _fill(gauge, self._workers, field)
            yield gauge
        for field, (name, description, label) in LABELLED.items():
            counter = CounterMetricFamily(f"target_{name}", description, labels=["worker", label])
            _fill(counter, self._workers, field)
            yield counter
        for field, description in NUMBERS.items():
            yield _numbers(GaugeMetricFamily, field, description, self._workers)
        for field, description in COUNTS.items():
            yield _numbers(CounterMetricFamily, field, description, self._workers)
        for field, description in BUS.items():
            yield self._bus(field, description)

    def _bus(self, field: str, description: str) -> Metric:
        family = CounterMetricFamily(f"target_bus_{field}", description, labels=["worker", "kind"])
        for worker in self._workers:
            value = getattr(worker.bus, field)
            family.add_metric([str(worker.pid), worker.bus.kind], value)
        return family


def _fill(
    family: GaugeMetricFamily | CounterMetricFamily, workers: list[WorkerStats], field: str
) -> None:
    for worker in workers:
        for label, value in getattr(worker, field).items():
            family.add_metric([str(worker.pid), str(label)], value)


def _numbers(
    kind: type[GaugeMetricFamily | CounterMetricFamily],
    field: str,
    description: str,
    workers: list[WorkerStats],
) -> Metric:
    family = kind(f"target_{field}", description, labels=["worker"])
    for worker in workers:
        family.add_metric([str(worker.pid)], float(getattr(worker, field)))
    return family
