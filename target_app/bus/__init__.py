"""The bus: carries payloads from one worker to all the others, by one of three transports."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

    Deliver = Callable[[bytes], None]


@dataclass(slots=True)
class BusStatus:
    """The current status of a bus."""

    kind: str
    """``local``, ``zmq`` or ``redis``."""
    connected: bool
    """Whether payloads can be passed on right now."""
    peers: int = 0
    """Other workers known; with Redis, those that the last payload went to."""
    published: int = 0
    received: int = 0
    dropped: int = 0
    """Payloads of ours that were not handed to some or all peers."""
    missed: int = 0
    """Payloads of others that never arrived here."""
    reconnects: int = 0
    gap_seconds: float = 0.0
    """Time spent disconnected, counted once it is over."""


class Bus(Protocol):
    """A carrier of payloads to every other worker; those of one worker arrive in order."""

    @property
    def status(self) -> BusStatus:
        """The status of the bus; always the same object."""
        ...

    async def publish(self, payload: bytes) -> int:
        """Pass ``payload`` to every other worker; return how many it was handed to.

        A lost connection does not raise: return 0 and count the payload as dropped.
        """
        ...

    async def post(self, payload: bytes) -> None:
        """Pass ``payload`` to every other worker, without waiting for it to arrive.

        Wait for room in a bounded queue, but not for a carrier that makes none: then the payload is
        counted as dropped.
        """
        ...

    async def run(self, deliver: Deliver, ready: asyncio.Event) -> None:
        """Call ``deliver(payload)`` for what others publish, until cancelled.

        Set ``ready`` once payloads can arrive, or at once if their carrier is unavailable, so that
        a server starts without it. ``deliver`` must not block; whatever it raises is logged.
        """
        ...

    def look_around(self) -> None:
        """Check again which other workers are there, where that is known: one did not answer."""
        ...
