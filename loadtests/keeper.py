"""Opens and closes connections while a load lasts, as many as are wanted now: Locust's users."""

import asyncio
import heapq
from collections import deque
from time import perf_counter_ns
from typing import Any

from loadtests.connection import Connection
from loadtests.dial import DialError
from loadtests.meter import Meter
from loadtests.plan import ProcessPlan
from loadtests.population import Population
from loadtests.scenario import Scenario

_CLOSE_BATCH = 200


class Keeper:
    """What a live load's connections come from and go to.

    Attributes:
        scenario: asked to let connections finish before they are closed.
        order: the number of the last order that was taken.
    """

    def __init__(
        self, share: ProcessPlan, population: Population, scenario: Scenario[Any], meter: Meter
    ) -> None:
        self.scenario = scenario
        self.order = 0
        self._population = population
        self._meter = meter
        self._handshakes = asyncio.Semaphore(share.concurrent)
        self._due_ns: deque[int] = deque()
        self._wanted = asyncio.Event()
        self._dialling = 0
        self._going: deque[int] = deque()
        self._leaving: set[Connection] = set()

    @property
    def pending(self) -> int:
        """How many were ordered and are neither open nor failed yet."""
        return len(self._due_ns) + self._dialling

    @property
    def leaving(self) -> int:
        """How many are still open and were ordered to go."""
        if self._leaving:
            self._leaving = {it for it in self._leaving if not it.transport.is_disconnected}
        return len(self._leaving) + sum(self._going)

    def add(self, count: int, over_seconds: float, order: int) -> None:
        """Have so many more, opened evenly over that time."""
        self.order = order
        begin_ns = perf_counter_ns()
        gap_ns = over_seconds * 1e9 / count
        self._due_ns.extend(begin_ns + round(number * gap_ns) for number in range(count))
        self._wanted.set()

    def remove(self, count: int, order: int) -> None:
        """Have so many fewer: those that are not open yet first, then those that came last."""
        self.order = order
        while self._due_ns and count:
            self._due_ns.pop()
            count -= 1
        if count:
            self._going.append(count)
            self._wanted.set()

    async def run(self) -> None:
        """Open and close as ordered, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            while True:
                self._wanted.clear()
                while self._going:
                    tasks.create_task(self._let_go(self._going.popleft()))
                while self._due_ns:
                    await self._open_next(tasks)
                    if self._going:
                        break
                else:
                    await self._wanted.wait()

    async def _open_next(self, tasks: asyncio.TaskGroup) -> None:
        wait_seconds = (self._due_ns[0] - perf_counter_ns()) / 1e9
        if wait_seconds > 0:
            await asyncio.sleep(wait_seconds)
        await self._handshakes.acquire()
        if not self._due_ns:
            # Not wanted any more.
            self._handshakes.release()
            return
        self._due_ns.popleft()
        self._dialling += 1
        tasks.create_task(self._open(self._population.vacant_number()))

    async def _open(self, number: int) -> None:
        try:
            await self._population.open(number)
        except DialError as error:
            self._population.vacate(number)
            self._population.fail(error)
        finally:
            self._dialling -= 1
            self._handshakes.release()

    async def _let_go(self, count: int) -> None:
        """Close those that came last, when they have finished what they are at."""
        here = (it for it in self._population.open_connections() if it not in self._leaving)
        those = heapq.nlargest(count, here, key=_number)
        self._leaving.update(those)
        await self.scenario.leaving(those)
        for done, connection in enumerate(those, 1):
            if connection.is_open:
                connection.close()
            if done % _CLOSE_BATCH == 0:
                await asyncio.sleep(0)


def _number(connection: Connection) -> int:
    return connection.number
