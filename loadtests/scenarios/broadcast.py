"""Publish on one connection what every connection receives: how long until all have it?

The first connection of the first process publishes; every connection of every process receives.
One publisher keeps one order, so loss, duplication and reordering are exact at every receiver.
"""

import asyncio
from array import array
from collections.abc import Sequence
from time import perf_counter_ns
from typing import Annotated

from picows import WSMsgType
from pydantic import BaseModel, ConfigDict, Field

from loadtests.connection import Connection
from loadtests.errors import UsageError
from loadtests.ledger import Ledger
from loadtests.meter import Meter
from loadtests.pacer import Pacer
from loadtests.plan import Plan, ProcessPlan
from loadtests.schedule import arrivals
from loadtests.stamp import (
    BROADCAST_BYTES,
    INTENDED_END,
    SENT_END,
    SEQUENCE_END,
    TAG_BYTES,
    padding,
    run_tag,
)

# Broadcasts a second where the plan does not say.
DEFAULT_RATE = 1.0

# A number this far ahead of the last one is a damaged stamp, not a gap to enter in the ledger.
_LARGEST_GAP = 1_000_000


class BroadcastParameters(BaseModel):
    """What ``--param`` may set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    publisher_receives: Annotated[bool, Field()] = True
    """Whether the server sends a broadcast back to its publisher too."""


def check_broadcast(plan: Plan, parameters: BroadcastParameters) -> None:  # noqa: ARG001
    """Refuse what could not be sent. Raises UsageError."""
    if plan.payload_bytes < BROADCAST_BYTES:
        raise UsageError(
            f"a payload of {plan.payload_bytes} bytes is too small; a broadcast message carries a "
            f"stamp, so it must be of {BROADCAST_BYTES} or more"
        )


class Broadcast:
    """One process's part of a broadcast load."""

    def __init__(self, share: ProcessPlan, parameters: BroadcastParameters, meter: Meter) -> None:
        plan = share.plan
        self._share = share
        self._publisher_receives = parameters.publisher_receives
        self._meter = meter
        self._receivers: Sequence[Connection] = ()
        self._published = 0
        self._tag = run_tag(plan.seed)
        self._padding = padding(plan.payload_bytes, BROADCAST_BYTES)
        self._kind = WSMsgType.BINARY if plan.binary else WSMsgType.TEXT
        self._lateness = meter.durations("lateness").append
        # Every receiver gets the same bytes, so a stamp is read once and then recognised.
        self._seen = b""
        self._seen_sequence = -1
        self._seen_intended_ns = 0

    def new_state(self) -> Ledger:
        """Keep a ledger for each receiver."""
        return Ledger()

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Time one delivery and enter it in its receiver's ledger. Hot."""
        if payload != self._seen and not self._read_stamp(payload, now_ns):
            return
        sequence = self._seen_sequence
        ledger: Ledger = connection.state
        if sequence == ledger.next_expected:
            ledger.next_expected = sequence + 1
        elif not self._out_of_order(ledger, sequence):
            return
        deliveries = self._meter.deliveries
        times_ns = deliveries.get(sequence)
        if times_ns is None:
            times_ns = deliveries[sequence] = array("q")
        times_ns.append(now_ns - self._seen_intended_ns)

    def _read_stamp(self, payload: bytes, now_ns: int) -> bool:
        """Read a stamp that was not seen before; tells whether it is one of this run's."""
        # A chat server may put a name before it.
        start = payload.find(self._tag)
        if start < 0:
            self._meter.unsolicited += 1
            return False
        stamped = payload[start:]
        try:
            sequence = int(stamped[TAG_BYTES:SEQUENCE_END], 16)
            intended_ns = int(stamped[SEQUENCE_END:INTENDED_END], 16)
        except ValueError:
            self._meter.integrity["corrupted"] += 1
            return False
        damaged = (
            stamped[SENT_END:] != self._padding
            or sequence > self._seen_sequence + _LARGEST_GAP
            or intended_ns > now_ns
        )
        if damaged:
            self._meter.integrity["corrupted"] += 1
            return False
        self._seen = payload
        self._seen_sequence = sequence
        self._seen_intended_ns = intended_ns
        return True

    def _out_of_order(self, ledger: Ledger, sequence: int) -> bool:
        integrity = self._meter.integrity
        reordered = ledger.reordered
        if ledger.observe(sequence):
            integrity["reordered"] += ledger.reordered - reordered
            return True
        integrity["duplicated"] += 1
        return False

    async def measure(self, connections: Sequence[Connection], start_ns: int) -> int:
        """Publish from ``start_ns`` for the plan's duration, if this process has the publisher."""
        plan = self._share.plan
        is_publisher = self._share.process == 0 and bool(connections)
        skip = int(is_publisher and not self._publisher_receives)
        self._receivers = connections[skip:]
        end_ns = start_ns + round(plan.duration_seconds * 1e9)
        if not is_publisher:
            await asyncio.sleep((end_ns - perf_counter_ns()) / 1e9)
            return 0
        publisher = connections[0]

        def fire(intended_ns: int) -> None:
            if publisher.is_open:
                self._publish(publisher, intended_ns)
            else:
                self._meter.errors["send:closed"] += 1

        times = arrivals(plan.arrivals, plan.rate or DEFAULT_RATE, seed=plan.seed)
        await Pacer(asyncio.get_running_loop(), times, start_ns, end_ns, fire).run()
        return self._published

    def _publish(self, publisher: Connection, intended_ns: int) -> None:
        sent_ns = perf_counter_ns()
        payload = b"%b%012x%016x%016x%b" % (
            self._tag,
            self._published,
            intended_ns,
            sent_ns,
            self._padding,
        )
        publisher.transport.send(self._kind, payload)
        self._published += 1
        self._meter.sent += 1
        self._lateness(sent_ns - intended_ns)

    def outstanding(self, published: int) -> int:
        """Count the deliveries that can still come."""
        return sum(
            connection.state.lost(published) for connection in self._receivers if connection.is_open
        )

    def account(self, published: int) -> None:
        """Count what was published and never delivered."""
        self._meter.integrity["expected"] += published * len(self._receivers)
        for connection in self._receivers:
            self._meter.integrity["lost"] += connection.state.lost(published)
