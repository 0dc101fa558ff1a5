"""What the server counts, and the document that ``GET /stats`` makes of it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from pydantic import BaseModel, Field


@dataclass(slots=True)
class Counters:
    """Totals since the process started; only ever added to, and only from the event loop."""

    accepted: int = 0
    refused: int = 0
    messages_received: int = 0
    messages_sent: int = 0
    broadcasts: int = 0
    slow_consumers_closed: int = 0
    closed_by_code: Counter[int] = field(default_factory=Counter)


class Stats(BaseModel):
    """The answer of ``GET /stats``: this process only, totals since its start."""

    open: dict[str, int] = Field(description="connections open now, by endpoint")
    accepted: int = Field(description="handshakes completed")
    refused: int = Field(description="handshakes answered with 503 during a drain")
    messages_received: int
    messages_sent: int = Field(description="messages handed to the transport, one per receiver")
    broadcasts: int = Field(description="messages fanned out; heartbeats, announcements included")
    slow_consumers_closed: int = Field(description="connections closed with 1013")
    closed_by_code: dict[int, int] = Field(
        description="connections ended, by close code; the code is the server's own if it closed "
        "first; a connection lost without a closing handshake is reported by uvicorn as 1005"
    )
    uptime_seconds: float
    draining: bool
    pid: int
    event_loop: str = Field(description="uvloop or asyncio")
