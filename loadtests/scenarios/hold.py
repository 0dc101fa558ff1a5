"""Open the connections and hold them idle: what do waiting clients cost?"""

import asyncio
from collections.abc import Sequence
from time import perf_counter_ns

from pydantic import BaseModel, ConfigDict

from loadtests.connection import Connection
from loadtests.meter import Meter
from loadtests.plan import Plan, ProcessPlan


class HoldParameters(BaseModel):
    """None."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def check_hold(plan: Plan, parameters: HoldParameters) -> None:
    """Refuse nothing: any number of connections can be held."""


class Hold:
    """Sends nothing; whatever arrives is counted as unsolicited."""

    def __init__(self, share: ProcessPlan, parameters: HoldParameters, meter: Meter) -> None:  # noqa: ARG002
        self._duration_ns = round(share.plan.duration_seconds * 1e9)
        self._meter = meter

    def new_state(self) -> None:
        """Keep nothing for a connection."""

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:  # noqa: ARG002
        """Count a message that nobody asked for, such as a heartbeat."""
        self._meter.unsolicited += 1

    async def measure(self, connections: Sequence[Connection], start_ns: int) -> int:  # noqa: ARG002
        """Wait out the duration."""
        await asyncio.sleep((start_ns + self._duration_ns - perf_counter_ns()) / 1e9)
        return 0

    def outstanding(self, published: int) -> int:  # noqa: ARG002
        """Nothing is ever under way."""
        return 0

    def account(self, published: int) -> None:
        """There is no ledger to close."""
