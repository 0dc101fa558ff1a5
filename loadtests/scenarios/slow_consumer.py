"""Let some clients stop reading: what happens to everyone else, to the server, and to them?

One connection publishes; all receive. For the first half of the duration all read; then a share of
them reads slowly or not at all. Deliveries to the others are timed separately before and alongside
the slow ones, so that one run shows the difference. Afterwards the slow ones resume reading, and
what the server did to them is counted: messages withheld, connections ended, and with which close
codes.
"""

import asyncio
import random
import socket
from contextlib import suppress
from time import perf_counter_ns
from typing import Annotated, Final

from pydantic import Field

from loadtests.clients.connection import Connection
from loadtests.clients.pool import ConnectionPool
from loadtests.measure.ledger import Ledger
from loadtests.measure.load_window import LoadWindow
from loadtests.measure.recorder import Recorder
from loadtests.plan.plan import Plan, ProcessPlan
from loadtests.scenarios.correlation import PublishedParameters
from loadtests.scenarios.parameters import Bytes
from loadtests.scenarios.publication import Publisher, StampReader, check_payload, observe
from loadtests.scenarios.scenario import Published, Scenario
from reports.figure import Better, measured_alike
from reports.measures import Measures

_TICK_SECONDS: Final = 0.05
_QUIET_SECONDS: Final = 0.3
_UNBOUNDED: Final = 2**62
_WIDE_BYTES: Final = 2**20


_MEASURES: Final = Measures(
    main=("delivered_beside_slow", "delivered_before"),
    durations=measured_alike(
        "Timed by CLOCK_MONOTONIC from the intended send time of a broadcast to when each of its "
        "receivers has read it.",
        (
            (
                "delivered_before",
                "delivery before slow ones",
                Better.LOWER,
                "Delivery before there were slow receivers.",
            ),
            (
                "delivered_beside_slow",
                "delivery beside slow ones",
                Better.LOWER,
                "Delivery to the others while some receivers are slow.",
            ),
        ),
    ),
    figures=measured_alike(
        "Counted by the swarm processes, for clients that stop reading.",
        (
            ("slow-consumer.slow", "slow clients", Better.NEITHER, "Clients that became slow."),
            (
                "slow-consumer.withheld",
                "withheld from slow ones",
                Better.NEITHER,
                "Messages that slow clients never received.",
            ),
            (
                "slow-consumer.ended",
                "slow clients ended",
                Better.NEITHER,
                "Slow clients whose connection the server ended.",
            ),
        ),
    ),
    reaches_rate=True,
    in_bursts=True,
    has_ledger=True,
)


class SlowConsumerParameters(PublishedParameters):
    """Parameters settable with ``--param``."""

    share: Annotated[float, Field(gt=0, lt=1)] = 0.01
    """The share of the connections that become slow, at least one."""

    read: Annotated[Bytes, Field(ge=0)] = 0
    """How much a slow connection reads in a second; 0 means nothing at all."""

    receive_buffer: Annotated[Bytes, Field(ge=0)] = 0
    """The kernel's receive buffer of a slow connection, so the server notices sooner; 0 keeps it.

    It is set before the load begins: if a window had already been offered, TCP would drop what no
    longer fits, and the server's kernel would send it again seconds later (RFC 9293 section 3.8.6).
    The rounds of a live load share their connections, so this can still happen from the second
    round on. Below the size of a segment (64 KiB on loopback), TCP lets messages through in bursts.
    """


class Reader:
    """One receiver.

    Attributes:
        is_chosen: whether it is one of those that become slow, whose deliveries are not timed.
        allowance: bytes that a slow receiver may still read.
    """

    __slots__ = ("allowance", "is_chosen", "ledger")

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.is_chosen = False
        self.allowance = _UNBOUNDED


class SlowConsumer(Scenario[SlowConsumerParameters]):
    """One process's part of the load."""

    parameters_type = SlowConsumerParameters
    default_rate = 20.0
    measures = _MEASURES

    def __init__(
        self, share: ProcessPlan, parameters: SlowConsumerParameters, recorder: Recorder
    ) -> None:
        super().__init__(share, parameters, recorder)
        self._publisher = Publisher(share, parameters, recorder)
        self._stamp = StampReader(share, parameters, recorder)
        self._before = recorder.durations("delivered_before").append
        self._beside = recorder.durations("delivered_beside_slow").append
        self._to_others = self._before
        self._random = random.Random(share.plan.seed + share.process)
        self._slow: list[Connection] = []
        self._others: list[Connection] = []

    @classmethod
    def check(cls, plan: Plan, parameters: SlowConsumerParameters) -> None:  # noqa: ARG003
        """Reject a plan whose messages could not be sent."""
        check_payload(plan)

    def new_state(self, number: int) -> Reader:  # noqa: ARG002
        """Return a new receiver with its ledger."""
        return Reader()

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Enter a message in its receiver's ledger; time it unless that is slow. Hot path."""
        reader: Reader = connection.state
        if reader.is_chosen:
            reader.allowance -= len(payload)
            if reader.allowance <= 0 and self.parameters.read:
                _pause(connection)
        stamp = self._stamp
        if payload != stamp.seen and not stamp.read(payload, now_ns):
            return
        ledger = reader.ledger
        if stamp.sequence == ledger.next_expected:
            ledger.next_expected = stamp.sequence + 1
        elif not observe(ledger, stamp.sequence, self.recorder):
            return
        if not reader.is_chosen:
            self._to_others(now_ns - stamp.intended_ns)

    def closed(self, connection: Connection) -> None:
        """Count the slow connections that the server ended; for the others, that is an error."""
        if connection.was_ended_as_expected:
            self.recorder.counts["slow-consumer.ended"] += 1

    def prepare(self, pool: ConnectionPool) -> None:
        """Draw the connections that become slow, whose deliveries are not timed."""
        here = pool.open_connections()
        first = int(self.share.process == 0)
        count = min(len(here[first:]), max(1, round(len(here) * self.parameters.share)))
        for connection in self._random.sample(here[first:], count):
            connection.state.is_chosen = True
            if self.parameters.receive_buffer:
                _set_receive_buffer(connection, self.parameters.receive_buffer)

    async def measure(self, pool: ConnectionPool, load: LoadWindow) -> Published:
        """Publish for the whole load; let some connections become slow halfway."""
        here = pool.open_connections()
        self._slow = [connection for connection in here if connection.state.is_chosen]
        self._others = [connection for connection in here if not connection.state.is_chosen]
        slowing = asyncio.create_task(self._slow_down(pool, load))
        try:
            on = (lambda: here[0]) if self.share.process == 0 and here else None
            await self._publisher.run(on, self.arrivals(), load)
        finally:
            slowing.cancel()
            with suppress(asyncio.CancelledError):
                await slowing
        await self._read_on()
        return {"count": len(self._publisher.sent_ns)}

    async def _slow_down(self, pool: ConnectionPool, load: LoadWindow) -> None:
        half_ns = (load.start_ns + load.end_ns) // 2
        await asyncio.sleep((half_ns - perf_counter_ns()) / 1e9)
        pool.report_event("slow", connections=len(self._slow), read_bytes=self.parameters.read)
        self.recorder.counts["slow-consumer.slow"] += len(self._slow)
        self._to_others = self._beside
        for connection in self._slow:
            # What happens to it from now on is what is being measured, not an error.
            connection.expect_end()
            connection.state.allowance = 0
            _pause(connection)
        while self.parameters.read:
            await asyncio.sleep(_TICK_SECONDS)
            for connection in self._slow:
                reader: Reader = connection.state
                share = round(self.parameters.read * _TICK_SECONDS)
                reader.allowance = min(share, reader.allowance + share)
                if reader.allowance > 0:
                    _resume(connection)

    async def _read_on(self) -> None:
        """Let the slow connections read what is still queued for them, until no more arrives."""
        for connection in self._slow:
            connection.state.allowance = _UNBOUNDED
            if self.parameters.receive_buffer:
                # With the small buffer, the kernel would let the rest through only now and then.
                _set_receive_buffer(connection, _WIDE_BYTES)
            _resume(connection)
        # Count only what was published: a server may send heartbeats at any time.
        arrived = -1
        while arrived != (arrived := sum(it.state.ledger.arrived for it in self._slow)):  # noqa: ASYNC110
            await asyncio.sleep(_QUIET_SECONDS)

    def outstanding(self, published: Published) -> int:
        """Count the deliveries to the others that can still arrive."""
        count = published.get("count", 0)
        return sum(it.state.ledger.lost(count) for it in self._others if it.is_open)

    def account(self, published: Published) -> None:
        """Count what never arrived: lost for the others, withheld for the slow ones."""
        count = published.get("count", 0)
        self.recorder.integrity["expected"] += count * len(self._others)
        for connection in self._others:
            self.recorder.integrity["lost"] += connection.state.ledger.lost(count)
        for connection in self._slow:
            self.recorder.counts["slow-consumer.withheld"] += connection.state.ledger.lost(count)


def _pause(connection: Connection) -> None:
    if not connection.transport.is_disconnected:
        connection.transport.underlying_transport.pause_reading()


def _resume(connection: Connection) -> None:
    if not connection.transport.is_disconnected:
        connection.transport.underlying_transport.resume_reading()


def _set_receive_buffer(connection: Connection, size_bytes: int) -> None:
    if connection.transport.is_disconnected:
        return
    underlying = connection.transport.underlying_transport.get_extra_info("socket")
    underlying.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, size_bytes)
