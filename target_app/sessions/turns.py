"""Who is answered next: everyone who waits gets a turn before anyone gets a second one."""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Turns:
    """A limit of ``at_once`` pieces of work; those that wait are admitted in turn, by name.

    However much work there is under one name, nobody waits for more than one piece of it at a time.
    """

    def __init__(self, at_once: int) -> None:
        self._free = at_once
        # By name, in the order of whose turn is next.
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}

    @contextlib.asynccontextmanager
    async def turn(self, name: str) -> AsyncIterator[None]:
        """Wait for a turn of ``name``, which lasts for as long as this context."""
        if self._free:
            self._free -= 1
        else:
            await self._wait(name)
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, name: str) -> None:
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(name, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                self._pass_on()  # it came at the very moment when it was no longer wanted
            raise

    def _pass_on(self) -> None:
        while self._waiting:
            name = next(iter(self._waiting))
            turns = self._waiting.pop(name)
            turn = turns.popleft()
            if turns:
                self._waiting[name] = turns  # behind everybody else
            if not turn.done():
                turn.set_result(None)
                return
        self._free += 1
