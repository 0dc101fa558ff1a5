"""What a worker counts, and the document that ``GET /stats`` makes from all workers' counts."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from pydantic import BaseModel, Field

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(slots=True)
class Counters:
    """Totals since the process started; only ever increased, and only from the event loop."""

    accepted: int = 0
    refused: Counter[str] = field(default_factory=Counter)
    messages_received: int = 0
    messages_sent: int = 0
    messages_dropped: int = 0
    messages_lost: int = 0
    broadcasts: int = 0
    slow_consumers_closed: int = 0
    pings_unanswered: int = 0
    rate_limited: int = 0
    sessions_forgotten: int = 0
    closed_by_code: Counter[int] = field(default_factory=Counter)

    def session_forgotten(self) -> None:
        """Count a session that had to make room."""
        self.sessions_forgotten += 1


class Totals(BaseModel):
    """The numbers that can be added up over workers."""

    open: dict[str, int] = Field(description="connections open now, by endpoint")
    rooms: dict[str, int] = Field(description="members now of the 100 largest rooms of each worker")
    accepted: int = Field(description="handshakes completed")
    refused: dict[str, int] = Field(description="handshakes refused, by reason")
    messages_received: int
    messages_sent: int = Field(description="messages handed to the transport, one per receiver")
    messages_dropped: int = Field(description="not sent because a slow consumer's queue was full")
    messages_lost: int = Field(
        description="not sent because the connection had ended, was closing or was given up"
    )
    broadcasts: int = Field(description="messages fanned out, once for each worker")
    lagging: int = Field(description="connections that are behind now")
    slow_consumers_closed: int = Field(description="connections closed because they read slowly")
    pings_unanswered: int = Field(description="connections closed because no pong came")
    rate_limited: int = Field(description="connections closed because they sent too fast")
    sessions_forgotten: int = Field(
        description="sessions that were away and made room before their time was over"
    )
    closed_by_code: dict[int, int] = Field(
        description="connections ended, by close code; the code is the server's own if it closed "
        "first; a connection lost without a closing handshake is reported by uvicorn as 1005"
    )
    answers_waiting: int = Field(description="questions whose answer is not there yet")


class UpstreamStats(BaseModel):
    """One upstream server that this worker is a client of."""

    url: str
    state: str
    connections: int = Field(description="how often it was connected")
    messages: int
    last_error: str | None


class BusStats(BaseModel):
    """The bus to the other workers, as one worker sees it."""

    kind: str
    connected: bool
    peers: int
    published: int
    received: int
    dropped: int = Field(description="messages of this worker that not every other one was given")
    missed: int = Field(description="messages of other workers that did not arrive")
    reconnects: int
    gap_seconds: float = Field(description="time spent disconnected")


class WorkerStats(Totals):
    """One worker."""

    pid: int
    uptime_seconds: float
    draining: bool
    event_loop: str = Field(description="uvloop or asyncio")
    bus: BusStats
    upstreams: list[UpstreamStats]


class Stats(Totals):
    """The answer of ``GET /stats``: the sum of all workers, and each of them.

    Counts of a worker that has ended are gone with it.
    """

    draining: bool = Field(description="whether any worker drains")
    workers: list[WorkerStats]
    silent_workers: int = Field(description="workers that did not answer in time; not in the sums")

    @classmethod
    def of(cls, workers: list[WorkerStats], silent_workers: int) -> Stats:
        """Return the sum of ``workers``."""
        sums = {
            name: _sum([getattr(worker, name) for worker in workers])
            for name in Totals.model_fields
        }
        return cls.model_validate(
            sums
            | {
                "draining": any(worker.draining for worker in workers),
                "workers": sorted(workers, key=lambda worker: worker.pid),
                "silent_workers": silent_workers,
            }
        )


def _sum(values: Sequence[int | Mapping[str | int, int]]) -> int | dict[str | int, int]:
    total: Counter[str | int] = Counter()
    number = 0
    for value in values:
        if isinstance(value, int):
            number += value
        else:
            total.update(dict.fromkeys(value, 0))
            total.update(value)
    if any(isinstance(value, int) for value in values):
        return number
    return dict(sorted(total.items(), key=lambda item: str(item[0])))
