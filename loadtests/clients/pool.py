"""The connection pool of one swarm process: open, reopen and look up connections by number."""

import asyncio
import heapq
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any, Final, Protocol

from loadtests.clients.answers import answering, parse_answers
from loadtests.clients.connection import Connection, Receive
from loadtests.clients.dial import Dialer, DialError
from loadtests.clients.ready import EndedError, Preparation, parse_steps
from loadtests.clients.setup import NOTHING, NOTHING_TO_SET_UP, Handshake, Setup
from loadtests.measure.recorder import Recorder
from loadtests.plan.plan import ProcessPlan

ReportEvent = Callable[..., None]

_CLOSE_BATCH: Final = 200


class Crowd(Protocol):
    """The interface of a scenario to its connections."""

    @property
    def comes_back(self) -> bool:
        """Whether clients return after their connection has ended."""

    def new_state(self, number: int) -> Any:  # noqa: ANN401 - each scenario's own
        """Return what is kept for the connection with this number."""

    def opened(self, connection: Connection) -> None:
        """Handle a connection whose handshake is complete."""

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Handle one message."""

    def closed(self, connection: Connection) -> None:
        """Handle the end of a connection."""


class ConnectionPool:
    """A pool that opens connections and knows all that are or were open.

    Attributes:
        attempted: how many of the planned connections were tried.
        report_event: writes an event to the record: its name, and its details by keyword.
    """

    def __init__(
        self,
        share: ProcessPlan,
        crowd: Crowd,
        dialer: Dialer,
        recorder: Recorder,
        report_event: ReportEvent,
        *,
        setup: Setup = NOTHING_TO_SET_UP,
    ) -> None:
        """Prepare; nothing is opened yet.

        Args:
            share: this process's share of the plan.
            crowd: the scenario, notified of openings, messages and ends.
            dialer: opens one connection.
            recorder: where failures are counted.
            report_event: writes an event to the record.
            setup: what is done before each handshake.
        """
        self.attempted = 0
        self.report_event = report_event
        self._share = share
        self._answers = parse_answers(share.plan.answers)
        self._recorder = recorder
        self._crowd: Crowd
        self._receive: Receive
        self._closed: Callable[[Connection], None]
        self._take_crowd(crowd)
        self._dialer = dialer
        self._steps = parse_steps(share.plan.ready)
        self._ready = recorder.durations("ready").append
        self._setup = setup
        self._set_up = recorder.durations("setup").append
        self._by_number: dict[int, Connection] = {}
        self._vacant: list[int] = []
        self._failed = 0
        self._kinds: set[str] = set()

    async def open_planned(self, until: int) -> None:
        """Open the planned connections until ``until`` were tried, several at a time."""
        begun_ns = perf_counter_ns()
        first = self.attempted
        dialling = min(self._share.concurrent, until - first)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(dialling):
                tasks.create_task(self._dial_until(until, first, begun_ns))

    async def open(
        self, number: int, arrive: Callable[[Connection], None] | None = None
    ) -> Connection:
        """Open the connection with this number, for the first time or again.

        Args:
            number: its number in the fleet.
            arrive: called with the connection at the moment it begins to count as open.

        Raises:
            DialError: it did not open; the failure is not counted.
        """
        preparation = self._preparation()
        held: list[Connection] = []

        def make() -> Connection:
            most = self._share.plan.options.max_message_bytes
            connection = Connection(self._recorder, self._receive, None, max_message_bytes=most)
            connection.number = number
            connection.began = began
            if preparation is not None:
                connection.is_held = True
                held.append(connection)
                connection.redirect(self._answering(preparation.receive))
                connection.ended = preparation.ended
            return connection

        def began(connection: Connection) -> None:
            known = self._by_number.get(number)
            connection.serve(self._receive, known and known.state, self._closed)
            self._by_number[number] = connection
            if arrive is not None:
                arrive(connection)
            # Last, because a user's scenario may raise.
            self._introduce(connection, is_new=known is None)

        own = await self._own_handshake(number)
        try:
            connection = await self._dialer.dial(make, number, own)
            if preparation is not None:
                await self._make_ready(connection, preparation)
        except BaseException:
            # Nothing else knows about one that is not ready.
            for connection in held:
                connection.abort()
            raise
        return connection

    async def _own_handshake(self, number: int) -> Handshake:
        if self._setup.is_empty:
            return NOTHING
        begun_ns = perf_counter_ns()
        plan, row = self._share.plan, self._dialer.row(number)
        try:
            async with asyncio.timeout(plan.handshake_timeout_seconds) as patience:
                own = await self._setup.handshake(number, row, plan.url)
        except Exception as error:
            if patience.expired():
                raise DialError("setup:timeout") from error
            self._recorder.keep_fault(f"setup:{type(error).__name__}", error)
            raise DialError(f"setup:{type(error).__name__}") from error
        self._set_up(perf_counter_ns() - begun_ns)
        return own

    def _preparation(self) -> Preparation | None:
        plan = self._share.plan
        if not self._steps:
            return None
        return Preparation(self._steps, self._recorder, binary=plan.binary)

    async def _make_ready(self, connection: Connection, preparation: Preparation) -> None:
        """Carry out the steps required before a connection counts as open."""
        begun_ns = perf_counter_ns()
        row = self._dialer.row(connection.number)
        try:
            async with asyncio.timeout(self._share.plan.handshake_timeout_seconds):
                connection.saved = await preparation.carry_out(connection, row)
        except TimeoutError as error:
            raise DialError("ready:no answer") from error
        except EndedError as error:
            raise DialError(f"ready:closed-{connection.close_code}") from error
        self._ready(perf_counter_ns() - begun_ns)
        connection.enter()
        preparation.hand_over(connection)

    @property
    def connections(self) -> list[Connection]:
        """The latest connection of every number that was open and is not forgotten, in order.

        A reopened connection takes its predecessor's place.
        """
        return [self._by_number[number] for number in sorted(self._by_number)]

    def __getitem__(self, number: int) -> Connection:
        """Return the latest connection with this number; raise KeyError if it was never open."""
        return self._by_number[number]

    def forget(self, connection: Connection) -> None:
        """Forget a connection that has ended; it is not opened again."""
        if self._by_number.get(connection.number) is connection:
            del self._by_number[connection.number]
            self.vacate(connection.number)

    def fresh_number(self) -> int:
        """Return a number that no connection has had."""
        ordinal = self.attempted
        self.attempted += 1
        return self._share.number(ordinal)

    def vacant_number(self) -> int:
        """Return the lowest number that no connection has now."""
        return heapq.heappop(self._vacant) if self._vacant else self.fresh_number()

    def vacate(self, number: int) -> None:
        """Allow a number to be reused."""
        heapq.heappush(self._vacant, number)

    def serve(self, crowd: Crowd) -> None:
        """Switch to another scenario; connections stay open, with new state from it."""
        self._take_crowd(crowd)
        for connection in self.connections:
            if not connection.is_open:
                self.forget(connection)
                continue
            connection.serve(self._receive, None, self._closed)
            connection.notify(self._introduce)

    def _introduce(self, connection: Connection, *, is_new: bool = True) -> None:
        if is_new:
            connection.state = self._crowd.new_state(connection.number)
        self._crowd.opened(connection)

    def fail(self, error: DialError) -> None:
        """Count a connection that did not open; report the first of each kind with its cause."""
        self._failed += 1
        self._recorder.failed += 1
        self._recorder.errors[error.kind] += 1
        if error.kind not in self._kinds:
            self._kinds.add(error.kind)
            self.report_event("first_failure", kind=error.kind, cause=repr(error.__cause__))

    def _take_crowd(self, crowd: Crowd) -> None:
        self._crowd = crowd
        # Looked up once: each lookup makes an object, and every connection would keep two.
        self._receive, self._closed = self._answering(crowd.receive), crowd.closed
        if self._share.plan.live and not crowd.comes_back:
            self._closed = self._close_for_good

    def _answering(self, receive: Receive) -> Receive:
        return answering(receive, self._answers, self._recorder, binary=self._share.plan.binary)

    def _close_for_good(self, connection: Connection) -> None:
        try:
            self._crowd.closed(connection)
        finally:
            self.forget(connection)

    def open_connections(self) -> list[Connection]:
        """Return the connections that are open now."""
        return [connection for connection in self.connections if connection.is_open]

    async def close_all(self, over_seconds: float = 0.0) -> None:
        """Begin the closing handshake of every connection, evenly spread over that time."""
        begun_ns = perf_counter_ns()
        remaining = self.open_connections()
        for number, connection in enumerate(remaining, 1):
            connection.close()
            due_seconds = number / len(remaining) * over_seconds
            wait_seconds = due_seconds - (perf_counter_ns() - begun_ns) / 1e9
            if wait_seconds > 0 or number % _CLOSE_BATCH == 0:
                await asyncio.sleep(max(0.0, wait_seconds))

    def abort_all(self) -> None:
        """Cut whatever is still connected."""
        for connection in self.connections:
            if not connection.transport.is_disconnected:
                connection.abort()

    async def _dial_until(self, until: int, first: int, begun_ns: int) -> None:
        gap_seconds = self._share.plan.ramp_seconds / self._share.connections
        while self.attempted < until and not self._is_hopeless():
            ordinal, number = self.attempted, self.fresh_number()
            if gap_seconds:
                elapsed_seconds = (perf_counter_ns() - begun_ns) / 1e9
                await asyncio.sleep(max(0.0, (ordinal - first) * gap_seconds - elapsed_seconds))
            try:
                await self.open(number)
            except DialError as error:
                self.fail(error)

    def _is_hopeless(self) -> bool:
        """Return whether so many failed, and none opened, that going on would reveal nothing."""
        return not self._by_number and self._failed >= self._share.concurrent
