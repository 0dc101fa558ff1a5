"""Send messages that come back to their sender: how long does a round trip take?

On endpoints that wrap a message, a wire (:mod:`loadtests.wires`) tells how: ``events`` and
``session`` are this scenario on the event and session protocols of the reference server.

Open model when the plan has a rate: arrivals over all active connections, in turn. Closed model
when it has none: every active connection sends its next message when a reply arrives.
"""

import asyncio
from collections.abc import Sequence
from itertools import cycle
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
from loadtests.schedule import share as part_of
from loadtests.stamp import ECHO_BYTES, TAG_BYTES, padding, run_tag
from loadtests.wires import WireMaker


class EchoParameters(BaseModel):
    """What ``--param`` may set."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    active: Annotated[int | None, Field(ge=1)] = None
    """How many connections send, over the whole fleet; the others stay idle. All by default."""


def check_echo(plan: Plan, parameters: EchoParameters) -> None:
    """Refuse what could not be sent. Raises UsageError."""
    if plan.payload_bytes < ECHO_BYTES:
        raise UsageError(
            f"a payload of {plan.payload_bytes} bytes is too small; an echo message carries a "
            f"stamp, so it must be of {ECHO_BYTES} or more"
        )
    if parameters.active is not None and parameters.active > plan.connections:
        raise UsageError(
            f"parameter active is {parameters.active}, more than the {plan.connections} connections"
        )


class Stream:
    """One connection's messages: how many were sent, which are under way, which came back."""

    __slots__ = ("issued", "ledger", "pending")

    def __init__(self) -> None:
        self.issued = 0
        self.ledger = Ledger()
        # Sequence number, intended and actual send time in nanoseconds, by stamp: a reply is found
        # by the bytes it begins with, and its number is never parsed while all goes well.
        self.pending: dict[bytes, tuple[int, int, int]] = {}


# Of every connection that does not send.
_IDLE = Stream()


class Echo:
    """One process's echo load."""

    def __init__(
        self,
        share: ProcessPlan,
        parameters: EchoParameters,
        meter: Meter,
        make_wire: WireMaker | None = None,
    ) -> None:
        plan = share.plan
        active = parameters.active or plan.connections
        self._share = share
        self._active_total = active
        self._active_here = part_of(active, plan.processes, share.process)
        self._meter = meter
        self._streams: list[Connection] = []
        self._running = False
        self._closed_model = plan.rate is None
        self._tag = run_tag(plan.seed)
        self._padding = padding(plan.payload_bytes, ECHO_BYTES)
        self._kind = WSMsgType.BINARY if plan.binary else WSMsgType.TEXT
        stamped_bytes = ECHO_BYTES + len(self._padding)
        self._wire = make_wire and make_wire(self._tag, stamped_bytes, meter)
        self._latency = meter.durations("latency").append
        self._service_time = meter.durations("service_time").append
        self._lateness = meter.durations("lateness").append

    def new_state(self) -> Stream:
        """Keep nothing of its own for a connection until it is known to be active."""
        return _IDLE

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Match a reply with its message, time it, enter it in the ledger. Hot."""
        stream: Stream = connection.state
        if self._wire is not None:
            stamped = self._wire.unwrap(connection, payload, now_ns)
            if stamped is None:
                self._meter.unsolicited += 1
                return
            payload = stamped
        sent = stream.pending.pop(payload[:ECHO_BYTES], None)
        if sent is None or payload[ECHO_BYTES:] != self._padding:
            self._on_other(stream, payload)
            return
        sequence, intended_ns, sent_ns = sent
        ledger = stream.ledger
        if sequence == ledger.next_expected:
            ledger.next_expected = sequence + 1
        else:
            self._out_of_order(ledger, sequence)
        self._latency(now_ns - intended_ns)
        self._service_time(now_ns - sent_ns)
        if self._closed_model and self._running:
            self._send(connection, now_ns)

    def _send(self, connection: Connection, intended_ns: int) -> None:
        """Send the next message of a connection. Hot."""
        stream: Stream = connection.state
        sequence = stream.issued
        stream.issued = sequence + 1
        stamp = b"%b%012x" % (self._tag, sequence)
        sent_ns = perf_counter_ns()
        stream.pending[stamp] = (sequence, intended_ns, sent_ns)
        message = stamp + self._padding
        if self._wire is not None:
            message = self._wire.wrap(connection, message)
        connection.transport.send(self._kind, message)
        self._meter.sent += 1

    def _out_of_order(self, ledger: Ledger, sequence: int) -> None:
        reordered = ledger.reordered
        ledger.observe(sequence)
        self._meter.integrity["reordered"] += ledger.reordered - reordered

    def _on_other(self, stream: Stream, payload: bytes) -> None:
        """Tell apart what is no reply under way: another's message, a damaged or a second reply."""
        if payload[:TAG_BYTES] != self._tag:
            self._meter.unsolicited += 1
            return
        try:
            sequence = int(payload[TAG_BYTES:ECHO_BYTES], 16)
        except ValueError:
            sequence = stream.issued
        if sequence < stream.issued and payload[ECHO_BYTES:] == self._padding:
            stream.ledger.observe(sequence)
            self._meter.integrity["duplicated"] += 1
        else:
            self._meter.integrity["corrupted"] += 1

    async def measure(self, connections: Sequence[Connection], start_ns: int) -> int:
        """Send from ``start_ns`` for the plan's duration."""
        plan = self._share.plan
        self._streams = list(connections[: self._active_here])
        for connection in self._streams:
            connection.state = Stream()
        if not self._streams:
            return 0
        end_ns = start_ns + round(plan.duration_seconds * 1e9)
        self._running = True
        if plan.rate is None:
            await self._measure_closed(start_ns, end_ns)
        else:
            await self._measure_open(plan.rate, start_ns, end_ns)
        self._running = False
        return 0

    async def _measure_closed(self, start_ns: int, end_ns: int) -> None:
        await asyncio.sleep((start_ns - perf_counter_ns()) / 1e9)
        for connection in self._streams:
            if connection.is_open:
                self._send(connection, perf_counter_ns())
        await asyncio.sleep((end_ns - perf_counter_ns()) / 1e9)

    async def _measure_open(self, rate: float, start_ns: int, end_ns: int) -> None:
        plan, part = self._share.plan, self._share.process
        turn = cycle(self._streams)

        def fire(intended_ns: int) -> None:
            connection = next(turn)
            if connection.is_open:
                # A closed model has no schedule to be late against.
                self._lateness(perf_counter_ns() - intended_ns)
                self._send(connection, intended_ns)
            else:
                self._meter.errors["send:closed"] += 1

        times = arrivals(
            plan.arrivals,
            # Of those asked for, not of those that opened: refused ones must not thin the load.
            rate * self._active_here / self._active_total,
            seed=plan.seed + part,
            phase=part / plan.processes,
        )
        await Pacer(asyncio.get_running_loop(), times, start_ns, end_ns, fire).run()

    def outstanding(self, published: int) -> int:  # noqa: ARG002 - an echo is not published
        """Count the replies that can still come."""
        return sum(
            connection.state.ledger.lost(connection.state.issued)
            for connection in self._streams
            if connection.is_open
        )

    def account(self, published: int) -> None:  # noqa: ARG002 - an echo is not published
        """Count what was sent and never came back."""
        for connection in self._streams:
            stream: Stream = connection.state
            self._meter.integrity["expected"] += stream.issued
            self._meter.integrity["lost"] += stream.ledger.lost(stream.issued)
