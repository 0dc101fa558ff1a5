"""Open and close connections while a load lasts, so that there are as many as are wanted now.

They are Locust's users, or those of a plan whose number changes by stages.
"""

import asyncio
import heapq
from collections import deque
from collections.abc import Iterable, Sequence
from time import perf_counter_ns
from typing import Any, Final

from loadtests.clients.connection import Connection
from loadtests.clients.dial import DialError
from loadtests.clients.pool import ConnectionPool
from loadtests.measure.recorder import Recorder
from loadtests.plan.plan import ProcessPlan
from loadtests.plan.stages import Stage, Stages
from loadtests.scenarios.scenario import Scenario

_CLOSE_BATCH: Final = 200
_LESSEN_SECONDS: Final = 0.02
_OVERDUE_NS: Final = 1_000_000_000


class LiveConnections:
    """The connections of a live load: opened and closed while it lasts.

    Attributes:
        scenario: asked to let connections finish before they are closed.
        order: the number of the last order that was taken.
    """

    def __init__(
        self, share: ProcessPlan, pool: ConnectionPool, scenario: Scenario[Any], recorder: Recorder
    ) -> None:
        self.scenario = scenario
        self.order = 0
        self._pool = pool
        self._recorder = recorder
        self._handshakes = asyncio.Semaphore(share.concurrent)
        # With stages, connections arrive whether or not the previous ones are open yet.
        by_stages = share.plan.population is not None
        self._arrival = recorder.durations("arrival").append if by_stages else None
        self._due_ns: deque[int] = deque()
        self._wanted = asyncio.Event()
        # When the connections now being opened were due, by their numbers.
        self._due_of: dict[int, int] = {}
        # How many of those no longer wanted were overdue.
        self._missed = 0
        # How many of those being opened are no longer wanted.
        self._surplus = 0
        self._leaving: set[Connection] = set()
        self._goodbyes: set[asyncio.Task[None]] = set()

    @property
    def pending(self) -> int:
        """How many were ordered and are neither open nor failed yet."""
        return len(self._due_ns) + len(self._due_of) - self._surplus

    @property
    def overdue(self) -> int:
        """How many should have been open for a second, but are not, or were not when let go."""
        # Those being opened that are no longer wanted were counted when let go.
        opening = max(0, _overdue(self._due_of.values()) - self._surplus)
        return self._missed + _overdue(self._due_ns) + opening

    @property
    def staying(self) -> int:
        """How many are open and were not ordered to close."""
        if self._leaving:
            self._leaving = {it for it in self._leaving if not it.transport.is_disconnected}
        return self._recorder.open - len(self._leaving)

    def add(self, count: int, over_seconds: float, order: int) -> None:
        """Add ``count`` connections, opened evenly over the given time."""
        self.order = order
        begin_ns = perf_counter_ns()
        gap_ns = over_seconds * 1e9 / count
        self.add_at([begin_ns + round(number * gap_ns) for number in range(count)])

    def add_at(self, times_ns: Sequence[int]) -> None:
        """Add one connection at each of these CLOCK_MONOTONIC times, which are in order."""
        self._due_ns.extend(times_ns)
        self._wanted.set()

    async def follow(self, stages: Stages, start_ns: int, seed: int) -> None:
        """Follow the number of connections that the stages want, until the last stage is over.

        Those that could not be opened are not tried again; only a surplus is removed.
        """
        before, begin_ns = 0, start_ns
        for number, stage in enumerate(stages.stages):
            await asyncio.sleep((begin_ns - perf_counter_ns()) / 1e9)
            # At once, because the stage does not begin where the previous one ended.
            self.add_at([begin_ns] * max(0, stage.begin - before))
            self._keep_at_most(stage.begin)
            arrivals = stage.arrivals(seed + number)
            self.add_at([begin_ns + round(seconds * 1e9) for seconds in arrivals])
            end_ns = begin_ns + round(stage.seconds * 1e9)
            if stage.end < stage.begin:
                await self._lessen(stage, begin_ns, end_ns)
            before, begin_ns = stage.end, end_ns
        await asyncio.sleep((begin_ns - perf_counter_ns()) / 1e9)

    async def _lessen(self, stage: Stage, begin_ns: int, end_ns: int) -> None:
        """Let connections go evenly over a stage."""
        while (now_ns := perf_counter_ns()) < end_ns:
            gone = (now_ns - begin_ns) / (end_ns - begin_ns) * (stage.begin - stage.end)
            self._keep_at_most(stage.begin - int(gone))
            await asyncio.sleep(_LESSEN_SECONDS)
        self._keep_at_most(stage.end)

    def _keep_at_most(self, count: int) -> None:
        if (surplus := self.staying + self.pending - count) > 0:
            self.remove(surplus, self.order)

    def remove(self, count: int, order: int) -> None:
        """Remove ``count`` connections: first those not open yet, then those that came last."""
        self.order = order
        while self._due_ns and count:
            self._missed += _overdue((self._due_ns.pop(),))
            count -= 1
        unwanted = min(count, len(self._due_of) - self._surplus)
        self._surplus += unwanted
        self._missed += min(unwanted, _overdue(self._due_of.values()))
        # Those whose handshake is complete are here, even if no task has continued with them yet.
        here = (it for it in self._pool.open_connections() if it not in self._leaving)
        self._let_go(heapq.nlargest(count - unwanted, here, key=_number))

    def stop(self) -> None:
        """Stop beginning to open connections."""
        self._due_ns.clear()

    async def run(self) -> None:
        """Open as ordered, until cancelled."""
        async with asyncio.TaskGroup() as handshakes:
            while True:
                self._wanted.clear()
                while self._due_ns:
                    await self._open_next(handshakes)
                await self._wanted.wait()

    async def _open_next(self, handshakes: asyncio.TaskGroup) -> None:
        wait_seconds = (self._due_ns[0] - perf_counter_ns()) / 1e9
        if wait_seconds > 0:
            await asyncio.sleep(wait_seconds)
        await self._handshakes.acquire()
        if not self._due_ns:
            # No longer wanted.
            self._handshakes.release()
            return
        due_ns = self._due_ns.popleft()
        number = self._pool.vacant_number()
        self._due_of[number] = due_ns
        handshakes.create_task(self._open(number))

    async def _open(self, number: int) -> None:
        arrived: list[Connection] = []
        unwanted: list[Connection] = []

        def arrive(connection: Connection) -> None:
            # At the moment it begins to count as open, not when this task gets its turn: in between
            # it would be both open and pending, and a surplus would be computed from both.
            arrived.append(connection)
            if self._arrival is not None:
                self._arrival(perf_counter_ns() - self._due_of[number])
            if self._surplus:
                unwanted.append(connection)
                self._leaving.add(connection)
            self._one_less_dialling(number)

        try:
            await self._pool.open(number, arrive)
        except DialError as error:
            self._pool.vacate(number)
            self._pool.fail(error)
        else:
            self._let_go(unwanted)
        finally:
            if not arrived:
                # One that failed is also one less.
                self._one_less_dialling(number)
            self._handshakes.release()

    def _one_less_dialling(self, number: int) -> None:
        del self._due_of[number]
        self._surplus = max(0, self._surplus - 1)

    def _let_go(self, those: list[Connection]) -> None:
        if those:
            self._leaving.update(those)
            task = asyncio.create_task(self._close_leaving(those))
            self._goodbyes.add(task)
            task.add_done_callback(self._goodbyes.discard)

    async def _close_leaving(self, those: list[Connection]) -> None:
        """Close connections when they have finished what they are doing."""
        await self.scenario.leaving(those)
        for done, connection in enumerate(those, 1):
            if connection.is_open:
                connection.close()
            if done % _CLOSE_BATCH == 0:
                await asyncio.sleep(0)


def _overdue(due_ns: Iterable[int]) -> int:
    before_ns = perf_counter_ns() - _OVERDUE_NS
    return sum(it < before_ns for it in due_ns)


def _number(connection: Connection) -> int:
    return connection.number
