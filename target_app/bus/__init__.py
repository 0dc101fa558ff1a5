"""The bus: carries payloads from one worker to all the others, in one of three makes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    Deliver = Callable[[bytes], None]


@dataclass(slots=True)
class BusStatus:
    """How a bus is doing, as of now."""

    kind: str
    """``local``, ``zmq`` or ``redis``."""
    connected: bool
    """Whether payloads can be passed on right now."""
    peers: int = 0
    """Other workers known; with Redis, those that the last payload went to."""
    published: int = 0
    received: int = 0
    dropped: int = 0
    """Payloads of ours that some or all peers were not given."""
    missed: int = 0
    """Payloads of others that never arrived here."""
    reconnects: int = 0
    gap_seconds: float = 0.0
    """Time spent disconnected, once it is over."""


class Bus(Protocol):
    """Passes payloads to every other worker; those of one worker arrive in their order."""

    @property
    def status(self) -> BusStatus:
        """How it is doing; the same object all the time."""
        ...

    async def publish(self, payload: bytes) -> int:
        """Pass ``payload`` to every other worker; return to how many it was handed.

        A lost connection is not raised: it returns 0 and counts the payload as dropped.
        """
        ...

    async def post(self, payload: bytes) -> None:
        """Pass ``payload`` to every other worker, without waiting until it is there.

        Waits for room in a bounded queue, but not for a carrier that makes none: then the payload
        is counted as dropped.
        """
        ...

    async def run(self, deliver: Deliver, ready: asyncio.Event) -> None:
        """Call ``deliver(payload)`` for what others publish, until cancelled.

        Sets ``ready`` once it can arrive, or at once if whatever carries it is away, so that a
        server starts without it. ``deliver`` must not block; what it raises is logged.
        """
        ...

    def look_around(self) -> None:
        """Find out anew who else is there, where that is known: somebody did not answer."""
        ...
