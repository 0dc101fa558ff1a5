"""The scenario interface: what one swarm process does with its connections and keeps for them.

The built-in scenarios are listed in ``registry.py``; a user writes a subclass in a separate file
(docs/scripting.md).
"""

import asyncio
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from time import perf_counter_ns
from typing import Any, ClassVar, Generic, TypeVar

from loadtests.clients.connection import Connection
from loadtests.clients.pool import ConnectionPool
from loadtests.measure.load_window import LoadWindow
from loadtests.measure.pacer import Pacer
from loadtests.measure.recorder import Recorder
from loadtests.plan.plan import Plan, ProcessPlan
from loadtests.plan.schedule import FollowingArrivals, arrivals, profile_arrivals
from loadtests.scenarios.parameters import Parameters
from reports.measures import Measures

Published = Mapping[str, Any]
"""What a process reports about what it sent, for the ledgers of all the others; JSON."""


P = TypeVar("P", bound=Parameters)


class Scenario(Generic[P]):
    """One swarm process's part of a scenario; methods that a subclass omits do nothing.

    Attributes:
        parameters_type: the parameters settable with ``--param``, with types and ranges.
        default_rate: arrivals a second if the plan names no rate; None means the closed model, or
            nothing to send.
        is_spread: whether every connection sends, so that a rate may be per connection.
        comes_back: whether clients return to a target that ended them all or was restarted.
        stops_target: whether it stops the server, so that nothing can run alongside or after it.
        replaces: whether it ends connections itself and opens others in their place, so that for a
            moment none may be open.
        ready: the steps before a connection counts as open, if the plan names none.
        joins: whether connections may come and go while the load lasts; if not, a live load runs in
            rounds with a fixed set of connections.
        takes_stages: whether connections may come and go by stages; implied by ``joins``.
        measures: what it measures itself, and how its load is to be judged.
        share: this process's share of the run; ``plan`` is the whole run.
        live_part: this process's part of a rate over all connections, in a live load.
    """

    parameters_type: ClassVar[type[Parameters]] = Parameters
    default_rate: ClassVar[float | None] = None
    is_spread: ClassVar[bool] = False
    comes_back: ClassVar[bool] = False
    stops_target: ClassVar[bool] = False
    replaces: ClassVar[bool] = False
    ready: ClassVar[tuple[str, ...]] = ()
    joins: ClassVar[bool] = False
    takes_stages: ClassVar[bool] = False
    measures: ClassVar[Measures] = Measures()

    def __init__(self, share: ProcessPlan, parameters: P, recorder: Recorder) -> None:
        self.share = share
        self.plan = share.plan
        self.live_part = 1 / share.plan.processes
        self.parameters = parameters
        self.recorder = recorder

    @classmethod
    def check(cls, plan: Plan, parameters: Any) -> None:  # noqa: ANN401 - each has its own type
        """Reject a plan that cannot be carried out, before anything starts.

        Raises:
            UsageError: it cannot, and why.
        """

    @classmethod
    def address(cls, url: str, parameters: Any) -> str:  # noqa: ANN401, ARG003 - the same
        """Return the address to connect to, with ``{n}`` for the number of a connection."""
        return url

    def new_state(self, number: int) -> Any:  # noqa: ANN401, ARG002 - the same
        """Return the state kept for the connection of that number, which survives a reconnect."""
        return None

    def opened(self, connection: Connection) -> None:
        """Handle a connection whose handshake is complete."""

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:  # noqa: ARG002
        """Handle one message that arrived at ``now_ns``. Hot path."""
        self.recorder.unsolicited += 1

    def closed(self, connection: Connection) -> None:
        """Handle the end of a connection, whichever side ended it."""

    async def leaving(self, connections: Sequence[Connection]) -> None:
        """Let these connections finish their work; they are closed when this returns."""

    @property
    def away(self) -> int:
        """How many more connections than now there will be by its own doing; may be negative.

        It changes at the same moment as the number of open connections, so that their sum stays.
        """
        return 0

    def prepare(self, pool: ConnectionPool) -> None:
        """Prepare the connections for the load, before any process begins it.

        Another process may begin before this one gets its turn: whatever its messages are entered
        into must exist by then.
        """

    async def measure(self, pool: ConnectionPool, load: LoadWindow) -> Published:
        """Apply the load from its start to its end, which may come early."""
        raise NotImplementedError

    def outstanding(self, published: Published) -> int:  # noqa: ARG002
        """Count the messages that can still arrive; ``published`` covers the whole fleet."""
        return 0

    def account(self, published: Published) -> None:
        """Enter the ledger's final counts into the recorder."""

    def arrivals(self, part: float = 1.0) -> Iterator[int]:
        """Return when messages are due, in nanoseconds since the start of the load.

        Args:
            part: this process's part of the load; the parts of all processes interleave.
        """
        plan, seed = self.plan, self.plan.seed + self.share.process
        phase = self.share.process / plan.processes
        if plan.profile is not None:
            return profile_arrivals(plan.profile, plan.arrivals, part=part, seed=seed, phase=phase)
        rate = plan.total_rate or self.default_rate
        assert rate is not None
        return arrivals(plan.arrivals, rate * part, seed=seed, phase=phase)

    async def pace(
        self,
        load: LoadWindow,
        fire: Callable[[int], None],
        part: float = 1.0,
        senders: tuple[float, float] = (math.inf, math.inf),
    ) -> None:
        """Fire at each arrival until the load is over; a live load follows the current rate.

        Args:
            load: the load window.
            fire: called with the time at which a message is due.
            part: this process's part, if the connections stay the same throughout.
            senders: how many of the first connections may send at most, here and in total.
        """
        loop = asyncio.get_running_loop()
        by_stages = self.plan.population is not None
        if not (by_stages or (self.plan.live and self.joins)):
            await Pacer(loop, self.arrivals(part), load, fire).run()
            return
        seed = self.plan.seed + self.share.process
        rate_now = partial(self._rate_by_stages, load, *senders) if by_stages else self._rate_now
        times = FollowingArrivals(self.plan.arrivals, rate_now, seed=seed)

        def fire_if_due(intended_ns: int) -> None:
            if times.is_due:
                fire(intended_ns)

        await Pacer(loop, times, load, fire_if_due).run()

    def _rate_by_stages(self, load: LoadWindow, most_here: float, most: float) -> float:
        """Return this process's arrivals a second: its share of the connections planned for now."""
        plan, stages = self.plan, self.plan.population
        rate = plan.rate or self.default_rate
        assert rate is not None
        assert stages is not None
        if plan.per_connection:
            return rate * self.recorder.open
        seconds = (perf_counter_ns() - load.start_ns) / 1e9
        sending = min(stages.at(seconds), most)
        here = min(stages.part(plan.processes, self.share.process).at(seconds), most_here)
        return rate * here / sending if sending else 0.0

    def _rate_now(self) -> float:
        """Return this process's arrivals a second in a live load, for its current connections."""
        rate = self.plan.rate or self.default_rate
        assert rate is not None
        if self.plan.per_connection:
            return rate * self.recorder.open
        return rate * self.live_part


def merged(parts: Iterator[Published]) -> dict[str, Any]:
    """Combine what all processes reported: numbers of one name are added, all else is joined."""
    whole: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            whole[name] = whole[name] + value if name in whole else value
    return whole
