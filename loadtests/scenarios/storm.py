"""Drop many connections at once: how long until all are back, and what did they miss?

One connection, the first of the first process, keeps publishing and is never dropped; all follow
its numbered messages. A message that a client *missed* is not a lost one: it was sent while its
receiver was not connected, from its last message before the end to the completed handshake after
it.
"""

import asyncio
import random
from contextlib import suppress
from time import perf_counter_ns
from typing import Annotated, Final, Literal

from pydantic import Field

from loadtests.clients.connection import Connection
from loadtests.clients.pool import ConnectionPool
from loadtests.clients.reconnect import Reconnector
from loadtests.measure.ledger import Ledger
from loadtests.measure.load_window import LoadWindow
from loadtests.measure.recorder import Recorder
from loadtests.plan.plan import Plan, ProcessPlan
from loadtests.scenarios.correlation import PublishedParameters
from loadtests.scenarios.parameters import ReconnectParameters, Seconds
from loadtests.scenarios.publication import Publisher, StampReader, check_payload, observe
from loadtests.scenarios.scenario import Published, Scenario
from reports.figure import Better, measured_alike
from reports.measures import Measures

_NEVER_NS: Final = 2**63
_POLL_SECONDS: Final = 0.02


_MEASURES: Final = Measures(
    main=("delivered",),
    figures=measured_alike(
        "Counted by the swarm processes, for connections that end at the same moment and "
        "reconnect.",
        (
            ("storm.dropped", "connections dropped", Better.NEITHER, "Connections that ended."),
            ("storm.back", "clients back", Better.HIGHER, "Clients that came back."),
            ("storm.attempts", "reconnect attempts", Better.LOWER, "Attempts to reconnect."),
            (
                "storm.failed_attempts",
                "failed reconnect attempts",
                Better.LOWER,
                "Those of these attempts that failed.",
            ),
        ),
    ),
    in_bursts=True,
    has_ledger=True,
)


class StormParameters(PublishedParameters, ReconnectParameters):
    """Parameters settable with ``--param``."""

    share: Annotated[float, Field(gt=0, le=1)] = 1.0
    """The share of the connections that are dropped."""

    drop: Literal["abort", "close", "none"] = "abort"
    """Cut them, close them with a handshake, or drop none and wait until the server ends them."""

    at: Annotated[Seconds, Field(ge=0)] | None = None
    """When to drop them, after the load begins; a fifth into the duration by default."""

    within: Annotated[Seconds, Field(gt=0)] = 60.0
    """How long all clients may take after the load to be back."""


class Guest:
    """One receiver across all its connections.

    Attributes:
        away_ns: when it was last dropped or ended, 0 while it is connected.
        gaps: for each time it was away, the number it expected when its connection ended and the
            time when it was back, by the fleet's clock.
    """

    __slots__ = ("away_ns", "gaps", "ledger")

    def __init__(self) -> None:
        self.ledger = Ledger()
        self.away_ns = 0
        self.gaps: list[tuple[int, int]] = []

    def missed(self, sequence: int, sent_ns: int) -> bool:
        """Return whether a message that never arrived was sent while the receiver was away."""
        return any(sequence >= first and sent_ns <= back_ns for first, back_ns in self.gaps)


class Storm(Scenario[StormParameters]):
    """One process's part of a reconnect storm."""

    parameters_type = StormParameters
    default_rate = 10.0
    comes_back = True
    measures = _MEASURES

    def __init__(self, share: ProcessPlan, parameters: StormParameters, recorder: Recorder) -> None:
        super().__init__(share, parameters, recorder)
        self._publisher = Publisher(share, parameters, recorder)
        self._stamp = StampReader(share, parameters, recorder)
        self._delivered = recorder.durations("delivered").append
        self._back = recorder.durations("back").append
        self._random = random.Random(share.plan.seed + share.process)
        seed = self._random.getrandbits(32)
        self._reconnector = Reconnector("storm", parameters.policy(), recorder, seed)
        self._pool: ConnectionPool | None = None
        self._first: int | None = None
        self._guests: list[Guest] = []

    @classmethod
    def check(cls, plan: Plan, parameters: StormParameters) -> None:  # noqa: ARG003
        """Reject a plan whose messages could not be sent."""
        check_payload(plan)

    def new_state(self, number: int) -> Guest:  # noqa: ARG002
        """Return a new receiver with its ledger."""
        return Guest()

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Time one delivery and enter it in its receiver's ledger. Hot path."""
        stamp = self._stamp
        if payload != stamp.seen and not stamp.read(payload, now_ns):
            return
        guest: Guest = connection.state
        ledger = guest.ledger
        if stamp.sequence == ledger.next_expected:
            ledger.next_expected = stamp.sequence + 1
        elif not observe(ledger, stamp.sequence, self.recorder):
            return
        self._delivered(now_ns - stamp.intended_ns)

    def opened(self, connection: Connection) -> None:
        """Record that a client is back."""
        guest: Guest = connection.state
        if self._pool is None or not guest.away_ns:
            return
        now_ns = perf_counter_ns()
        self._back(now_ns - guest.away_ns)
        guest.away_ns = 0
        first, _ = guest.gaps[-1]
        guest.gaps[-1] = (first, now_ns + self.share.clock_ns)
        self.recorder.counts["storm.back"] += 1
        connection.expect_end()

    def closed(self, connection: Connection) -> None:
        """Reconnect a client, whichever side ended its connection."""
        guest: Guest = connection.state
        if self._pool is None:
            return
        # For a dropped client, the storm began before its connection ended.
        guest.away_ns = guest.away_ns or perf_counter_ns()
        guest.gaps.append((guest.ledger.next_expected, _NEVER_NS))
        self.recorder.counts["storm.dropped"] += 1
        self._reconnector.bring_back(self._pool, connection)

    @property
    def away(self) -> int:
        """How many clients are not back yet."""
        return self._reconnector.away

    async def measure(self, pool: ConnectionPool, load: LoadWindow) -> Published:
        """Publish for the whole load; drop connections, and wait until everyone is back."""
        self._pool = pool
        here = pool.connections
        self._guests = [connection.state for connection in here]
        for connection in here:
            connection.expect_end()
        if self.share.process == 0 and here:
            self._first = here[0].number
        storming = asyncio.create_task(self._drop(pool, load))
        first = self._first
        on = None if first is None else lambda: pool[first]
        await self._publisher.run(on, self.arrivals(), load)
        with suppress(TimeoutError):
            async with asyncio.timeout(self.parameters.within):
                await storming
                await self._reconnector.all_back()
        if self._reconnector.away:
            self.recorder.errors["storm:not back"] += self._reconnector.away
        self._pool = None
        self._reconnector.give_up()
        for connection in pool.open_connections():
            connection.expect_no_end()
        return {"sent_ns": list(self._publisher.sent_ns)}

    async def _drop(self, pool: ConnectionPool, load: LoadWindow) -> None:
        if self.parameters.drop == "none":
            return
        at = self.parameters.at
        at_ns = load.start_ns + round((load.seconds / 5 if at is None else at) * 1e9)
        if not await load.reaches(at_ns):
            return
        those = [it for it in pool.open_connections() if it.number != self._first]
        chosen = self._random.sample(those, round(len(those) * self.parameters.share))
        now_ns = perf_counter_ns()
        pool.report_event("storm", dropped=len(chosen), how=self.parameters.drop)
        for connection in chosen:
            connection.state.away_ns = now_ns
            if self.parameters.drop == "abort":
                connection.abort()
            else:
                connection.close()
        # Before they have ended, nobody is away.
        while not all(it.transport.is_disconnected for it in chosen):  # noqa: ASYNC110 - see _until
            await asyncio.sleep(_POLL_SECONDS)
        await self._reconnector.all_back()
        if self._reconnector.away:
            return
        last_ns = max((it.state.gaps[-1][1] - self.share.clock_ns for it in chosen), default=now_ns)
        pool.report_event("all back", after_seconds=(last_ns - now_ns) / 1e9)

    def outstanding(self, published: Published) -> int:
        """Count the deliveries that can still arrive."""
        sent_ns = published.get("sent_ns", [])
        return sum(
            not guest.missed(sequence, sent_ns[sequence])
            for guest in self._guests
            for sequence in guest.ledger.missing(len(sent_ns))
        )

    def account(self, published: Published) -> None:
        """Count what never arrived, the missed separately from the lost."""
        sent_ns = published.get("sent_ns", [])
        integrity = self.recorder.integrity
        for guest in self._guests:
            integrity["expected"] += len(sent_ns)
            for sequence in guest.ledger.missing(len(sent_ns)):
                missed = guest.missed(sequence, sent_ns[sequence])
                integrity["missed" if missed else "lost"] += 1
