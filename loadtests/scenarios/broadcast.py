"""Publish on one connection what every connection receives: how long until all have it?

The first connection of the first process publishes; every connection of every process receives.
"""

from array import array

from loadtests.connection import Connection
from loadtests.correlation import PublishedParameters
from loadtests.ledger import Ledger
from loadtests.meter import Meter
from loadtests.plan import Plan, ProcessPlan
from loadtests.population import Population
from loadtests.publication import Publisher, StampReader, check_payload, observe
from loadtests.scenario import Published, Scenario
from loadtests.span import Span

# Broadcasts a second where the plan does not say.
DEFAULT_RATE = 1.0


class BroadcastParameters(PublishedParameters):
    """What ``--param`` may set."""

    publisher_receives: bool = True
    """Whether the server sends a broadcast back to its publisher too."""


class Broadcast(Scenario[BroadcastParameters]):
    """One process's part of a broadcast load."""

    parameters_type = BroadcastParameters
    default_rate = DEFAULT_RATE

    def __init__(self, share: ProcessPlan, parameters: BroadcastParameters, meter: Meter) -> None:
        super().__init__(share, parameters, meter)
        self._receivers: list[Connection] = []
        self._publisher = Publisher(share, parameters, meter)
        self._stamp = StampReader(share, parameters, meter)

    @classmethod
    def check(cls, plan: Plan, parameters: BroadcastParameters) -> None:  # noqa: ARG003
        """Refuse what could not be sent."""
        check_payload(plan)

    def new_state(self, number: int) -> Ledger:  # noqa: ARG002
        """Keep a ledger for each receiver."""
        return Ledger()

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Time one delivery and enter it in its receiver's ledger. Hot."""
        stamp = self._stamp
        if payload != stamp.seen and not stamp.read(payload, now_ns):
            return
        sequence = stamp.sequence
        ledger: Ledger = connection.state
        if sequence == ledger.next_expected:
            ledger.next_expected = sequence + 1
        elif not observe(ledger, sequence, self.meter):
            return
        deliveries = self.meter.deliveries
        times_ns = deliveries.get(sequence)
        if times_ns is None:
            times_ns = deliveries[sequence] = array("q")
        times_ns.append(now_ns - stamp.intended_ns)

    async def measure(self, population: Population, load: Span) -> Published:
        """Publish all the while, if this process has the publisher."""
        connections = population.connections
        is_publisher = self.share.process == 0 and bool(connections)
        self._receivers = connections[is_publisher and not self.parameters.publisher_receives :]
        on = (lambda: connections[0]) if is_publisher else None
        await self._publisher.run(on, self.arrivals(), load)
        return {"count": len(self._publisher.sent_ns)}

    def outstanding(self, published: Published) -> int:
        """Count the deliveries that can still come."""
        count = published.get("count", 0)
        return sum(
            connection.state.lost(count) for connection in self._receivers if connection.is_open
        )

    def account(self, published: Published) -> None:
        """Count what was published and never delivered."""
        count = published.get("count", 0)
        self.meter.integrity["expected"] += count * len(self._receivers)
        for connection in self._receivers:
            self.meter.integrity["lost"] += connection.state.lost(count)
