"""Ask the server to stop while clients are connected: who is told, when, and how does it end?

Half of what is measured here belongs to the clients (told when, closed how), which is this file;
the other half to the server's processes (refuses whom, exits when, leaves what behind), which is
:mod:`loadtests.departure`.
"""

import asyncio
import random
from collections.abc import Sequence
from time import perf_counter_ns
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from loadtests.connection import Connection
from loadtests.meter import Meter
from loadtests.plan import Plan, ProcessPlan

SHUTTING_DOWN = "Server is shutting down, please disconnect."
_POLL_SECONDS = 0.02


class DrainParameters(BaseModel):
    """What ``--param`` may set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    signal: Literal["TERM", "INT"] = "TERM"
    """What the root process of the target is sent after the duration of the run."""

    notice: Annotated[str, Field(min_length=1)] = SHUTTING_DOWN
    """A message that has this in it tells a client that the server stops."""

    leave: Annotated[float, Field(ge=0, le=1)] = 1.0
    """The share of the clients that disconnect when told; the others stay to the end."""

    leave_within: Annotated[float, Field(ge=0)] = 2.0
    """Seconds over which those who leave do so, each at a random moment."""

    within: Annotated[float, Field(gt=0)] = 60.0
    """Seconds after the signal by which everything must be over."""

    exit_status: int = 0
    """What the target is to exit with, if the run started it."""


def check_drain(plan: Plan, parameters: DrainParameters) -> None:
    """Refuse nothing here; that there is a process to signal is known once it is looked for."""


class Told:
    """When one client was first told, by CLOCK_MONOTONIC in nanoseconds; 0 is not yet."""

    __slots__ = ("at_ns", "leaves")

    def __init__(self, *, leaves: bool) -> None:
        self.at_ns = 0
        self.leaves = leaves


class Drain:
    """One process's clients of a server that stops."""

    def __init__(self, share: ProcessPlan, parameters: DrainParameters, meter: Meter) -> None:
        self._duration_ns = round(share.plan.duration_seconds * 1e9)
        self._parameters = parameters
        self._notice = parameters.notice.encode()
        self._meter = meter
        self._random = random.Random(share.plan.seed + share.process)
        self._here: list[Connection] = []

    def new_state(self) -> Told:
        """Draw whether the client leaves when told."""
        return Told(leaves=self._random.random() < self._parameters.leave)

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Note when a client is first told, and let it go if it is one that does."""
        if self._notice not in payload:
            self._meter.unsolicited += 1
            return
        told: Told = connection.state
        if told.at_ns:
            return
        told.at_ns = now_ns
        if told.leaves:
            delay = self._random.uniform(0, self._parameters.leave_within)
            asyncio.get_running_loop().call_later(delay, _leave, connection)

    async def measure(self, connections: Sequence[Connection], start_ns: int) -> int:  # noqa: ARG002
        """Hold the connections for the duration, so that they are settled."""
        await asyncio.sleep((start_ns + self._duration_ns - perf_counter_ns()) / 1e9)
        return 0

    def expect_end(self, connections: Sequence[Connection]) -> int:
        """Take every close from now on for the server's right; return how many are open."""
        self._here = [connection for connection in connections if connection.is_open]
        for connection in self._here:
            connection.expect_end()
        return len(self._here)

    async def see_off(self, signal_ns: int) -> None:
        """Wait until nobody is connected, or the time is over; then time who was told when."""
        end_ns = signal_ns + round(self._parameters.within * 1e9)
        while perf_counter_ns() < end_ns and not all(  # noqa: ASYNC110 - see _until in the swarm
            connection.transport.is_disconnected for connection in self._here
        ):
            await asyncio.sleep(_POLL_SECONDS)
        told = self._meter.durations("told").append
        for connection in self._here:
            if at_ns := connection.state.at_ns:
                # A notice that came before the signal was read is one of an earlier stop.
                told(max(0, at_ns - signal_ns))

    def outstanding(self, published: int) -> int:  # noqa: ARG002
        """Nothing is under way any more."""
        return 0

    def account(self, published: int) -> None:  # noqa: ARG002
        """Count the clients to whom the server did not do right."""
        errors = self._meter.errors
        for connection in self._here:
            if not connection.state.at_ns:
                errors["drain:not told"] += 1
            if not connection.transport.is_disconnected:
                errors["drain:still connected"] += 1
            elif not connection.was_closed_in_order:
                errors["drain:no close frame"] += 1


def _leave(connection: Connection) -> None:
    if not connection.transport.is_disconnected:
        connection.close()
