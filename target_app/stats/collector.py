"""The sum of what all workers have counted."""

from __future__ import annotations

import asyncio
import heapq
import operator
import os
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from target_app.counters import BusStats, Stats, UpstreamStats, WorkerStats

if TYPE_CHECKING:
    from target_app.bus.hub import Envelope, Hub
    from target_app.connections.delivery import Delivery
    from target_app.connections.registry import ConnectionManager
    from target_app.counters import Counters
    from target_app.lifecycle.drain import GracefulShutdown
    from target_app.lifecycle.upstream import Upstream
    from target_app.sessions.questions import Questions


ROOMS_TOLD: Final = 100
"""Rooms of one worker that are reported by name, the largest: clients create and name them."""


@dataclass(slots=True)
class StatsCollector:
    """A collector that reads this worker's counts, and asks the others for theirs."""

    counters: Counters
    connections: ConnectionManager
    delivery: Delivery
    questions: Questions
    upstreams: tuple[Upstream, ...]
    drain: GracefulShutdown
    hub: Hub
    started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        self.hub.handle("stats", self._on_stats)

    async def all_workers(self) -> Stats:
        """Return the statistics of all workers that answer in time."""
        others, silent = await self.hub.ask("stats")
        workers = [self.this_worker(), *(WorkerStats.model_validate(other) for other in others)]
        return Stats.of(workers, silent)

    def this_worker(self) -> WorkerStats:
        """Return the statistics of this worker."""
        counted = {name: getattr(self.counters, name) for name in self.counters.__slots__}
        return WorkerStats.model_validate(
            counted
            | {
                "open": self.connections.open_by_endpoint(),
                "rooms": _largest(self.connections.rooms.sizes()),
                "lagging": self.delivery.lagging,
                "answers_waiting": self.questions.waiting,
                "pid": os.getpid(),
                "uptime_seconds": time.monotonic() - self.started,
                "draining": self.drain.draining,
                "event_loop": type(asyncio.get_running_loop()).__module__.partition(".")[0],
                "bus": self._bus(),
                "upstreams": [
                    UpstreamStats.model_validate(upstream.status(), from_attributes=True)
                    for upstream in self.upstreams
                ],
            }
        )

    def _bus(self) -> BusStats:
        stats = BusStats.model_validate(self.hub.bus.status, from_attributes=True)
        return stats.model_copy(update={"missed": stats.missed + self.hub.overflowed})

    async def _on_stats(self, _envelope: Envelope) -> object:
        return self.this_worker().model_dump(mode="json")


def _largest(sizes: dict[str, int]) -> dict[str, int]:
    return dict(heapq.nlargest(ROOMS_TOLD, sizes.items(), key=operator.itemgetter(1)))
