"""No other workers: what is published has nowhere else to go."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from target_app.bus import BusStatus

if TYPE_CHECKING:
    from target_app.bus import Deliver


class LocalBus:
    """The bus of a server that is one process."""

    def __init__(self) -> None:
        self.status = BusStatus("local", connected=True)

    async def publish(self, payload: bytes) -> int:  # noqa: ARG002
        """See :meth:`Bus.publish`."""
        return 0

    async def post(self, payload: bytes) -> None:
        """See :meth:`Bus.post`."""

    async def run(self, deliver: Deliver, ready: asyncio.Event) -> None:  # noqa: ARG002
        """See :meth:`Bus.run`."""
        ready.set()
        await asyncio.Event().wait()

    def look_around(self) -> None:
        """See :meth:`Bus.look_around`; there is no other worker."""
