"""Publish on one connection and receive on every connection: how long until all have it?

The first connection of the first process publishes; every connection of every process receives.
Where connections come and go, each receives what is published while it is connected.
"""

from array import array
from collections.abc import Iterable, Iterator, Sequence

from loadtests.clients.connection import Connection
from loadtests.clients.pool import ConnectionPool
from loadtests.errors import UsageError
from loadtests.measure.ledger import Ledger
from loadtests.measure.load_window import LoadWindow
from loadtests.measure.recorder import Recorder
from loadtests.plan.plan import Plan, ProcessPlan
from loadtests.scenarios.correlation import PublishedParameters
from loadtests.scenarios.presence import Attendance
from loadtests.scenarios.publication import (
    DELIVERIES,
    Publisher,
    StampReader,
    check_payload,
    observe,
)
from loadtests.scenarios.scenario import Published, Scenario

# Broadcasts a second if the plan names no rate.
DEFAULT_RATE = 1.0


class BroadcastParameters(PublishedParameters):
    """Parameters settable with ``--param``."""

    publisher_receives: bool = True
    """Whether the server also sends a broadcast back to its publisher."""


class Broadcast(Scenario[BroadcastParameters]):
    """One process's part of a broadcast load."""

    parameters_type = BroadcastParameters
    default_rate = DEFAULT_RATE
    takes_stages = True
    measures = DELIVERIES

    def __init__(
        self, share: ProcessPlan, parameters: BroadcastParameters, recorder: Recorder
    ) -> None:
        super().__init__(share, parameters, recorder)
        self._receivers: list[Connection] = []
        self._publisher = Publisher(share, parameters, recorder)
        self._stamp = StampReader(share, parameters, recorder)
        self._by_stages = share.plan.population is not None
        self._attendance = Attendance()

    @classmethod
    def check(cls, plan: Plan, parameters: BroadcastParameters) -> None:
        """Reject a plan whose messages could not be sent or accounted for."""
        check_payload(plan)
        if plan.population is not None and not parameters.publisher_receives:
            raise UsageError(
                "parameter publisher_receives needs connections that stay the same; leave it out, "
                "or give the number of connections without stages"
            )

    def new_state(self, number: int) -> Ledger:  # noqa: ARG002
        """Return a new ledger for a receiver."""
        return Ledger(from_first=self._by_stages)

    def opened(self, connection: Connection) -> None:
        """Record when a receiver joins, if receivers come and go."""
        if self._by_stages:
            self._attendance.come(connection, self.share.now_ns())

    def closed(self, connection: Connection) -> None:
        """Record when a receiver has left."""
        self._attendance.go(connection, self.share.now_ns())

    async def leaving(self, connections: Sequence[Connection]) -> None:
        """Record which receivers are about to leave; they publish no more."""
        for connection in connections:
            self.closed(connection)

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Time one delivery and enter it in its receiver's ledger. Hot path."""
        stamp = self._stamp
        if payload != stamp.seen and not stamp.read(payload, now_ns):
            return
        sequence = stamp.sequence
        ledger: Ledger = connection.state
        if sequence == ledger.next_expected:
            ledger.next_expected = sequence + 1
        elif not observe(ledger, sequence, self.recorder):
            return
        deliveries = self.recorder.deliveries
        times_ns = deliveries.get(sequence)
        if times_ns is None:
            times_ns = deliveries[sequence] = array("q")
        times_ns.append(now_ns - stamp.intended_ns)

    async def measure(self, pool: ConnectionPool, load: LoadWindow) -> Published:
        """Publish for the whole load if this process has the publisher."""
        if self._by_stages:
            on = self._first_here if self.share.process == 0 else None
            await self._publisher.run(on, self.arrivals(), load)
            return {"sent_ns": list(self._publisher.sent_ns)}
        connections = pool.connections
        is_publisher = self.share.process == 0 and bool(connections)
        self._receivers = connections
        if is_publisher and not self.parameters.publisher_receives:
            self._receivers = connections[1:]
            # Whatever comes back anyway is not a delivery that anyone waited for.
            connections[0].redirect(self._count_own)
        on = (lambda: connections[0]) if is_publisher else None
        await self._publisher.run(on, self.arrivals(), load)
        return {"count": len(self._publisher.sent_ns)}

    def _count_own(self, connection: Connection, payload: bytes, now_ns: int) -> None:  # noqa: ARG002
        self.recorder.unsolicited += 1

    def _first_here(self) -> Connection | None:
        """Return the earliest arrival among the connections still here, if any."""
        return next(iter(self._attendance.here), None)

    def outstanding(self, published: Published) -> int:
        """Count the deliveries that can still arrive."""
        if self._by_stages:
            here = (connection.state for connection in self._attendance.here)
            return sum(lost for _, lost in self._accounts(here, published))
        count = published.get("count", 0)
        return sum(
            connection.state.lost(count) for connection in self._receivers if connection.is_open
        )

    def account(self, published: Published) -> None:
        """Count the messages that were published but never delivered."""
        integrity = self.recorder.integrity
        if self._by_stages:
            for expected, lost in self._accounts(self._attendance.presences, published):
                integrity["expected"] += expected
                integrity["lost"] += lost
            return
        count = published.get("count", 0)
        integrity["expected"] += count * len(self._receivers)
        for connection in self._receivers:
            integrity["lost"] += connection.state.lost(count)

    def _accounts(
        self, ledgers: Iterable[Ledger], published: Published
    ) -> Iterator[tuple[int, int]]:
        """Yield the expected and the lost deliveries of each receiver that came or went."""
        sent_ns = published.get("sent_ns", [])
        late_ns = round(self.plan.late_seconds * 1e9)
        for ledger in ledgers:
            received = (ledger.begin, ledger.next_expected) if ledger.has_begun else None
            first, last = self._attendance.presences[ledger].due(sent_ns, received, late_ns)
            yield last - first, last - first - ledger.arrived
