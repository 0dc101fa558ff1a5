"""What a scenario is: what one swarm process does with its connections, and what it keeps of them.

The built-in ones are listed in ``registry.py``; a user's own is a subclass in a file of his
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
"""What a process says of what it sent, for the ledgers of all the others; JSON."""


P = TypeVar("P", bound=Parameters)


class Scenario(Generic[P]):
    """One swarm process's part of a scenario; what a subclass leaves out does nothing.

    Attributes:
        parameters_type: what ``--param`` may set, with types and ranges.
        default_rate: arrivals a second where the plan names no rate; None is the closed model, or
            nothing to send.
        is_spread: whether every connection sends, so that a rate may be of each.
        comes_back: whether clients return to a target that ended them all, or that was restarted.
        stops_target: whether it stops the server, so that nothing can run beside or after it.
        replaces: whether it ends connections itself and opens others for them, so that for a moment
            none may be open.
        ready: the steps before a connection counts as open, where the plan names none.
        joins: whether connections may come and go while the load lasts; where not, a live load is
            one of rounds, in each of which they are the same.
        takes_stages: whether connections may come and go by stages, which who joins can as well.
        measures: what it measures of its own, and how its load is to be judged.
        share: this process's share of the run; ``plan`` is the whole of it.
        live_part: this process's part of a rate that is of all connections, in a live load.
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
    def check(cls, plan: Plan, parameters: Any) -> None:  # noqa: ANN401 - each one's own
        """Refuse, before anything is started, a plan that cannot be carried out.

        Raises:
            UsageError: why not.
        """

    @classmethod
    def address(cls, url: str, parameters: Any) -> str:  # noqa: ANN401, ARG003 - the same
        """Return the address to connect to, ``{n}`` standing for the number of a connection."""
        return url

    def new_state(self, number: int) -> Any:  # noqa: ANN401, ARG002 - the same
        """Return what is kept for the connection of that number, which survives a reconnect."""
        return None

    def opened(self, connection: Connection) -> None:
        """Take a connection whose handshake is complete."""

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:  # noqa: ARG002
        """Take one message that arrived at ``now_ns``. Hot."""
        self.recorder.unsolicited += 1

    def closed(self, connection: Connection) -> None:
        """Take the end of a connection, whoever wanted it."""

    async def leaving(self, connections: Sequence[Connection]) -> None:
        """Let these finish what they are at; they are closed when this returns."""

    @property
    def away(self) -> int:
        """How many clients are not connected but will be back."""
        return 0

    def prepare(self, pool: ConnectionPool) -> None:
        """Take the connections that the load is put on, before any process begins it.

        Another process may begin earlier than this one gets its turn: what its messages are
        entered into must be there by then.
        """

    async def measure(self, pool: ConnectionPool, load: LoadWindow) -> Published:
        """Put the load on, from its start to its end, which may come early."""
        raise NotImplementedError

    def outstanding(self, published: Published) -> int:  # noqa: ARG002
        """Count what was sent and can still arrive; ``published`` is over the whole fleet."""
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
        """Fire at each arrival until the load is over, in a live one at the rate of the moment.

        Args:
            load: its time.
            fire: called with the moment at which a message is due.
            part: this process's part, where connections are the same all the time.
            senders: how many of the first connections may send at most, here and in all.
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
        """Return this process's arrivals a second: its share of those that are to be there now."""
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
        """Return this process's arrivals a second in a live load, for its connections now."""
        rate = self.plan.rate or self.default_rate
        assert rate is not None
        if self.plan.per_connection:
            return rate * self.recorder.open
        return rate * self.live_part


def merged(parts: Iterator[Published]) -> dict[str, Any]:
    """Put what all processes said together: numbers of one name are added, all else is joined."""
    whole: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            whole[name] = whole[name] + value if name in whole else value
    return whole
