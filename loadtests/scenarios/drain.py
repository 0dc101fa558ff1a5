"""Ask the server to stop while clients are connected: who is notified, when, and how does it end?

Half of the measurements concern the clients (when they are notified, how they are closed, what is
lost) and are made in this file; the other half concern the server's processes (whom they refuse,
when they exit, what they leave behind) and are made in :mod:`loadtests.run.target_shutdown`.

With a rate, one connection, the first of the first process, publishes before and during the drain.
*Lost* are the messages sent before the signal that never arrived and, of those sent after it, each
gap before the last message that a client got: nothing that is queued for a client may be lost
before its close frame.
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
from loadtests.measure.pacer import Pacer
from loadtests.measure.recorder import Recorder
from loadtests.plan.plan import Plan, ProcessPlan
from loadtests.scenarios.correlation import PublishedParameters
from loadtests.scenarios.parameters import ReconnectParameters, Seconds
from loadtests.scenarios.publication import Publisher, StampReader, check_payload, observe
from loadtests.scenarios.scenario import Published, Scenario
from reports.figure import Better, measured_alike
from reports.measures import Measures

SHUTTING_DOWN = "Server is shutting down, please disconnect."
_POLL_SECONDS = 0.02
_PUBLISHER = 0
_NEVER_NS = 2**63


# Without a rate there are no messages to be on a ledger, so that none need be there.
_MEASURES: Final = Measures(
    main=("delivered",),
    durations=measured_alike(
        "Timed by CLOCK_MONOTONIC in the swarm process that has the connection.",
        (
            (
                "told",
                "notified after the signal",
                Better.LOWER,
                "From the signal to stop until a client is notified of it.",
            ),
        ),
    ),
    figures=measured_alike(
        "Observed by the clients and by the process that signals the target: when clients are "
        "notified, when newcomers are refused, and when its processes end.",
        (
            (
                "drain.attempts",
                "reconnect attempts",
                Better.LOWER,
                "Attempts to reconnect to the restarted target.",
            ),
            (
                "drain.failed_attempts",
                "failed reconnect attempts",
                Better.LOWER,
                "Those of these attempts that failed.",
            ),
            ("drain.connected", "clients at the signal", Better.NEITHER, "Clients at the signal."),
            (
                "drain.processes",
                "target's processes at the signal",
                Better.NEITHER,
                "Processes of the target at the signal.",
            ),
            ("drain.told", "clients notified", Better.HIGHER, "Clients that were notified."),
            (
                "drain.told_first_seconds",
                "first client notified after",
                Better.LOWER,
                "From the signal until the first client was notified.",
            ),
            (
                "drain.told_median_seconds",
                "half of the clients notified after",
                Better.LOWER,
                "From the signal until half of the clients were notified.",
            ),
            (
                "drain.told_p99_seconds",
                "99 % of the clients notified after",
                Better.LOWER,
                "From the signal until 99 % of the clients were notified.",
            ),
            (
                "drain.told_last_seconds",
                "last client notified after",
                Better.LOWER,
                "From the signal until the last client was notified.",
            ),
            (
                "drain.accepted",
                "newcomers accepted",
                Better.LOWER,
                "Newcomers that were accepted after the signal.",
            ),
            (
                "drain.refused_status",
                "status of refusals",
                Better.NEITHER,
                "The HTTP status that newcomers got.",
            ),
            (
                "drain.refused_seconds",
                "first refusal after",
                Better.LOWER,
                "From the signal until the first newcomer was refused.",
            ),
            (
                "drain.exit_seconds",
                "target exited after",
                Better.LOWER,
                "From the signal until the target had exited.",
            ),
            ("drain.exit_status", "exit status", Better.NEITHER, "The exit status of the target."),
            (
                "drain.left_processes",
                "processes left behind",
                Better.LOWER,
                "Processes that the target left behind.",
            ),
        ),
    ),
    in_bursts=True,
)


class DrainParameters(PublishedParameters, ReconnectParameters):
    """Parameters settable with ``--param``."""

    signal: Literal["TERM", "INT"] = "TERM"
    """The signal sent to the root process of the target after the duration of the run."""

    notice: Annotated[str, Field(min_length=1)] = SHUTTING_DOWN
    """A text whose presence in a message notifies a client that the server is stopping."""

    leave: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The share of the clients that disconnect when notified; the others stay to the end."""

    leave_within: Annotated[Seconds, Field(ge=0)] = 2.0
    """The time over which the clients that leave do so, each at a random moment."""

    within: Annotated[Seconds, Field(gt=0)] = 60.0
    """How long after the signal everything must be over, and as long again for all to be back."""

    exit_status: int = 0
    """The exit status expected of the target, if the run started it."""

    restart: bool = False
    """Restart the target once it has exited; every client reconnects with its backoff."""


class Client:
    """One client: when it was first notified (0: not yet), and which messages it received."""

    __slots__ = ("at_ns", "leaves", "ledger")

    def __init__(self, *, leaves: bool) -> None:
        self.at_ns = 0
        self.leaves = leaves
        self.ledger = Ledger()


class Drain(Scenario[DrainParameters]):
    """One process's clients of a server that shuts down."""

    parameters_type = DrainParameters
    stops_target = True
    measures = _MEASURES

    def __init__(self, share: ProcessPlan, parameters: DrainParameters, recorder: Recorder) -> None:
        super().__init__(share, parameters, recorder)
        self._notice = parameters.notice.encode()
        self._random = random.Random(share.plan.seed + share.process)
        self._publisher = Publisher(share, parameters, recorder)
        self._stamp = StampReader(share, parameters, recorder)
        self._delivered = recorder.durations("delivered").append
        self._back = recorder.durations("back").append
        seed = self._random.getrandbits(32)
        self._reconnector = Reconnector("drain", parameters.policy(), recorder, seed)
        self._publishing: asyncio.Task[None] | None = None
        self._pool: ConnectionPool | None = None
        self._here: list[Connection] = []
        self._signal_ns = 0
        self._back_at_ns: list[int] = []

    @classmethod
    def check(cls, plan: Plan, parameters: DrainParameters) -> None:  # noqa: ARG003
        """Reject a plan whose messages could not be sent."""
        if plan.rate is not None:
            check_payload(plan)

    def new_state(self, number: int) -> Client:
        """Draw whether the client leaves when notified; the publisher is among the last to."""
        draw = 0.0 if number == _PUBLISHER else self._random.random()
        return Client(leaves=draw < self.parameters.leave)

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Enter a message in its receiver's ledger, or handle it as the notice."""
        if self._notice in payload:
            self._on_notice(connection, now_ns)
            return
        stamp = self._stamp
        if payload != stamp.seen and not stamp.read(payload, now_ns):
            return
        client: Client = connection.state
        if stamp.sequence == client.ledger.next_expected:
            client.ledger.next_expected = stamp.sequence + 1
        elif not observe(client.ledger, stamp.sequence, self.recorder):
            return
        self._delivered(now_ns - stamp.intended_ns)

    def _on_notice(self, connection: Connection, now_ns: int) -> None:
        """Record when a client is first notified, and make it leave if it is one that does."""
        client: Client = connection.state
        if client.at_ns:
            return
        client.at_ns = now_ns
        if client.leaves:
            last = self.parameters.leave_within
            delay = last if connection.number == _PUBLISHER else self._random.uniform(0, last)
            asyncio.get_running_loop().call_later(delay, _leave, connection)

    def opened(self, connection: Connection) -> None:  # noqa: ARG002
        """Record when a client came back."""
        if self._pool is not None:
            self._back_at_ns.append(perf_counter_ns())

    def closed(self, connection: Connection) -> None:
        """Reconnect a client if the target is to be restarted."""
        if self._pool is not None and self.parameters.restart:
            self._reconnector.bring_back(self._pool, connection)

    async def measure(self, pool: ConnectionPool, load: LoadWindow) -> Published:
        """Run the load for the duration; it then continues until the connections end."""
        self._here = pool.open_connections()
        if self.plan.rate is not None and self.share.process == 0 and self._here:
            self._publishing = asyncio.create_task(self._publish(self._here[0], load))
        await load.over()
        self._pool = pool
        # For a load that is ended early; otherwise :meth:`see_off` returns it.
        return {"sent_ns": list(self._publisher.sent_ns)}

    async def _publish(self, connection: Connection, load: LoadWindow) -> None:
        longer = LoadWindow(load.start_ns, load.end_ns + round(self.parameters.within * 1e9))
        load.when_cut(longer.cut)

        def fire(intended_ns: int) -> None:
            if connection.is_open:
                self._publisher.publish(connection, intended_ns)

        await Pacer(asyncio.get_running_loop(), self.arrivals(), longer, fire).run()

    def expect_end(self) -> int:
        """Treat every close from now on as expected; return how many connections are open."""
        self._here = [connection for connection in self._here if connection.is_open]
        for connection in self._here:
            connection.expect_end()
        return len(self._here)

    async def see_off(self, signal_ns: int) -> Published:
        """Wait until nobody is connected or time is up; then record when clients were notified."""
        self._signal_ns = signal_ns
        end_ns = signal_ns + round(self.parameters.within * 1e9)
        while perf_counter_ns() < end_ns and not all(  # noqa: ASYNC110 - see _until in the swarm
            connection.transport.is_disconnected for connection in self._here
        ):
            await asyncio.sleep(_POLL_SECONDS)
        if self._publishing is not None:
            self._publishing.cancel()
            with suppress(asyncio.CancelledError):
                await self._publishing
        record = self.recorder.durations("told").append
        for connection in self._here:
            if at_ns := connection.state.at_ns:
                # A notice that arrived before the signal was read belongs to an earlier stop.
                record(max(0, at_ns - signal_ns))
        return {"sent_ns": list(self._publisher.sent_ns)}

    async def come_back(self, restarted_ns: int) -> None:
        """Wait until every client is back at the restarted target."""
        with suppress(TimeoutError):
            async with asyncio.timeout(self.parameters.within):
                await self._reconnector.all_back()
        if self._reconnector.away:
            self.recorder.errors["drain:not back"] += self._reconnector.away
        self._pool = None
        self._reconnector.give_up()
        for at_ns in self._back_at_ns:
            # A client that came back before the target was seen to listen was not late at all.
            self._back(max(0, at_ns - restarted_ns))

    def account(self, published: Published) -> None:
        """Count the clients that the server mishandled, and the messages that it lost."""
        if self._signal_ns:
            self._account_ends()
        self._account_messages(published.get("sent_ns", []))

    def _account_ends(self) -> None:
        errors = self.recorder.errors
        for connection in self._here:
            if not connection.state.at_ns:
                errors["drain:not told"] += 1
            if not connection.transport.is_disconnected:
                errors["drain:still connected"] += 1
            elif not connection.was_closed_in_order:
                errors["drain:no close frame"] += 1

    def _account_messages(self, sent_ns: list[int]) -> None:
        # If no server was asked to stop, every message sent had to arrive.
        lost_before_ns = self._signal_ns or _NEVER_NS
        for connection in self._here:
            ledger: Ledger = connection.state.ledger
            missing = [
                sequence
                for sequence in ledger.missing(len(sent_ns))
                if sequence < ledger.next_expected or sent_ns[sequence] < lost_before_ns
            ]
            arrived = ledger.next_expected - ledger.lost(ledger.next_expected)
            self.recorder.integrity["expected"] += arrived + len(missing)
            self.recorder.integrity["lost"] += len(missing)


def _leave(connection: Connection) -> None:
    if not connection.transport.is_disconnected:
        connection.close()
