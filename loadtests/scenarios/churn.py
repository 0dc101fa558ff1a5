"""Let clients come and go continuously: what does an arrival cost, and does anything grow?

Arrivals follow an open model: each connection has an intended time, and ``arrival`` is timed from
it to the completed handshake, whether or not earlier arrivals are done. As many clients leave as
arrive, each drawn at random, so that their number stays about the same and lifetimes are
exponential (a client stays for connections / rate on average: Little's law). If all are still
arriving, the next to arrive leaves at once; if one cannot arrive, the next due to leave stays.
"""

import asyncio
import random
from contextlib import suppress
from time import perf_counter_ns
from typing import Annotated, Final, Literal

from pydantic import Field

from loadtests.clients.connection import Connection
from loadtests.clients.dial import DialError
from loadtests.clients.pool import ConnectionPool
from loadtests.measure.load_window import LoadWindow
from loadtests.measure.pacer import Pacer
from loadtests.measure.recorder import Recorder
from loadtests.plan.plan import ProcessPlan
from loadtests.scenarios.parameters import Parameters
from loadtests.scenarios.scenario import Published, Scenario
from reports.figure import Better, measured_alike
from reports.measures import Measures

_POLL_SECONDS: Final = 0.01
# Wait no longer than this for a server that does not answer a close.
_GOODBYE_SECONDS: Final = 10.0


_MEASURES: Final = Measures(
    main=("arrival",),
    figures=measured_alike(
        "Counted by the swarm processes as clients come and go.",
        (
            ("churn.arrivals", "arrivals due", Better.NEITHER, "Clients that should have arrived."),
            ("churn.arrived", "arrived", Better.HIGHER, "Clients that arrived."),
            ("churn.left", "left", Better.NEITHER, "Clients that left."),
        ),
    ),
)


class ChurnParameters(Parameters):
    """Parameters settable with ``--param``."""

    leave: Literal["close", "abort", "both"] = "both"
    """How clients leave: with a closing handshake, cut without one, or each half of the time."""

    at_once: Annotated[int, Field(ge=1)] = 1000
    """Handshakes that may be in progress at once; an arrival beyond that is an error of the run."""


class Churn(Scenario[ChurnParameters]):
    """One process's part of a churning pool; the rate is arrivals a second."""

    parameters_type = ChurnParameters
    default_rate = 100.0
    replaces = True
    measures = _MEASURES

    def __init__(self, share: ProcessPlan, parameters: ChurnParameters, recorder: Recorder) -> None:
        super().__init__(share, parameters, recorder)
        self._arrival = recorder.durations("arrival").append
        self._lateness = recorder.durations("lateness").append
        self._random = random.Random(share.plan.seed + share.process)
        self._here: list[Connection] = []
        self._places: dict[Connection, int] = {}
        self._arriving: set[asyncio.Task[None]] = set()
        # The numbers of those among them that are not open yet.
        self._expected: set[int] = set()
        self._departing: set[Connection] = set()
        # Departures still owed for arrivals; below 0, clients left for arrivals that failed.
        self._overdue = 0
        self._pool: ConnectionPool | None = None

    def opened(self, connection: Connection) -> None:
        """Register a client that has arrived."""
        self._places[connection] = len(self._here)
        self._here.append(connection)

    def closed(self, connection: Connection) -> None:
        """Unregister a client, whichever side ended its connection."""
        self._forget(connection)
        self._departing.discard(connection)
        if self._pool is not None:
            self._pool.forget(connection)

    @property
    def away(self) -> int:
        """How many more there will be, or fewer, once whoever is due has arrived or left."""
        return len(self._expected) - len(self._departing) - self._overdue

    async def measure(self, pool: ConnectionPool, load: LoadWindow) -> Published:
        """Let clients arrive and leave at the plan's rate."""
        self._pool = pool

        def fire(intended_ns: int) -> None:
            self._lateness(perf_counter_ns() - intended_ns)
            if len(self._arriving) >= self.parameters.at_once:
                self.recorder.errors["churn:too many under way"] += 1
                return
            self._overdue += 1
            self._leave()
            number = pool.fresh_number()
            self._expected.add(number)
            task = asyncio.create_task(self._arrive(pool, number, intended_ns))
            self._arriving.add(task)
            task.add_done_callback(self._arriving.discard)

        times = self.arrivals(1 / self.plan.processes)
        loop = asyncio.get_running_loop()
        await Pacer(loop, times, load, fire).run()
        if self._arriving:
            await asyncio.wait(set(self._arriving))
        # A client in the middle of a closing handshake would still be counted as open.
        with suppress(TimeoutError):
            async with asyncio.timeout(_GOODBYE_SECONDS):
                while self._departing:  # noqa: ASYNC110 - an event would cost the hot path more
                    await asyncio.sleep(_POLL_SECONDS)
        # Nobody comes any more for those whose arrival failed.
        self._overdue = 0
        return {}

    async def _arrive(self, pool: ConnectionPool, number: int, intended_ns: int) -> None:
        self.recorder.counts["churn.arrivals"] += 1
        try:
            await pool.open(number, lambda _: self._expected.discard(number))
        except DialError as error:
            pool.fail(error)
            self._overdue -= 1
        else:
            self._arrival(perf_counter_ns() - intended_ns)
            self.recorder.counts["churn.arrived"] += 1
            self._leave()
        finally:
            self._expected.discard(number)

    def _leave(self) -> None:
        """End one connection, drawn at random, if a departure is due and a connection is here."""
        if self._overdue <= 0 or not self._here:
            return
        self._overdue -= 1
        connection = self._random.choice(self._here)
        self._forget(connection)
        self._departing.add(connection)
        self.recorder.counts["churn.left"] += 1
        leave = self.parameters.leave
        if leave == "abort" or (leave == "both" and self._random.random() < 1 / 2):
            connection.abort()
        else:
            connection.close()

    def _forget(self, connection: Connection) -> None:
        """Remove a connection in constant time: the last one takes its place."""
        place = self._places.pop(connection, None)
        if place is None:
            return
        last = self._here.pop()
        if last is not connection:
            self._here[place] = last
            self._places[last] = place
