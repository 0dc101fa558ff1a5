"""Reopen connections that have ended, each with its own backoff, and track when they are back."""

import asyncio
import random
from typing import Final

from loadtests.clients.backoff import Backoff
from loadtests.clients.connection import Connection
from loadtests.clients.dial import DialError
from loadtests.clients.pool import ConnectionPool
from loadtests.measure.recorder import Recorder

_POLL_SECONDS: Final = 0.02


class Reconnector:
    """The reopener of connections; their numbers, states and therefore ledgers stay the same.

    Counts have the prefix ``name.``: ``attempts`` and ``failed_attempts``, the latter also by
    cause. An attempt that fails is not an error of the run, because another follows.
    """

    def __init__(self, name: str, backoff: Backoff, recorder: Recorder, seed: int) -> None:
        self._name = name
        self._backoff = backoff
        self._recorder = recorder
        self._random = random.Random(seed)
        self._tasks: set[asyncio.Task[None]] = set()
        self._away: set[int] = set()

    def bring_back(self, pool: ConnectionPool, connection: Connection) -> None:
        """Start reopening a connection that has ended, with the wait before its first attempt."""
        self._away.add(connection.number)
        task = asyncio.create_task(self._try(pool, connection.number))
        self._tasks.add(task)
        task.add_done_callback(self._has_ended)

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        error = None if task.cancelled() else task.exception()
        if isinstance(error, Exception):
            self._recorder.fault(error)

    @property
    def away(self) -> int:
        """How many are not back yet; it changes at the moment one begins to count as open."""
        return len(self._away)

    async def all_back(self) -> None:
        """Wait until all are back, or cannot be opened because of a fault."""
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def give_up(self) -> None:
        """Stop trying."""
        for task in self._tasks:
            task.cancel()
        self._away.clear()

    async def _try(self, pool: ConnectionPool, number: int) -> None:
        failures = 0
        while True:
            await asyncio.sleep(self._backoff.seconds(failures, self._random.random()))
            self._count("attempts")
            try:
                await pool.open(number, self._is_back)
            except DialError as error:
                failures += 1
                self._count("failed_attempts")
                self._count(f"failed_attempts[{error.kind}]")
            else:
                return

    def _is_back(self, connection: Connection) -> None:
        self._away.discard(connection.number)

    def _count(self, what: str) -> None:
        # Looked up each time: the recorder has new counts in each interval.
        self._recorder.counts[f"{self._name}.{what}"] += 1
