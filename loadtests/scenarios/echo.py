"""Send messages that come back to their sender: how long does a round trip take?

A codec (``codec.py``) translates messages for a server that wraps them: ``events`` and ``session``
are this scenario with what the reference server's protocols need.

Open model when the plan has a rate: arrivals go to all active connections in turn. Closed model
when it has none: every active connection sends its next message when a reply arrives, or when it
has waited too long for one.
"""

import asyncio
import random
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import cycle
from time import perf_counter_ns
from typing import Annotated, ClassVar, Final

from picows import WSMsgType
from pydantic import Field

from loadtests.clients.connection import Connection
from loadtests.clients.pool import ConnectionPool
from loadtests.errors import UsageError
from loadtests.measure.ledger import Ledger
from loadtests.measure.load_window import LoadWindow
from loadtests.measure.messages import Messages
from loadtests.measure.recorder import Recorder
from loadtests.measure.stamp import ECHO_BYTES, TAG_BYTES, run_tag
from loadtests.plan.plan import Plan, ProcessPlan
from loadtests.plan.schedule import ArrivalKind
from loadtests.plan.schedule import share as part_of
from loadtests.scenarios.codec import Codec
from loadtests.scenarios.correlation import SEVERAL, CorrelatedParameters, are_several, readings
from loadtests.scenarios.parameters import Parameters
from loadtests.scenarios.scenario import Published, Scenario
from reports.measures import Measures

# Think times drawn in advance; after that many, they repeat.
_THINKS: Final = 65_536
# How long replies may take to arrive on connections that are about to leave.
_LAST_REPLIES_SECONDS: Final = 2.0
_POLL_SECONDS: Final = 0.01
# How often to look for overdue replies, as a fraction of the timeout, but at least once a second;
# after this many connections, other tasks get their turn.
_LOOK_RATIO: Final = 0.1
_LOOK_SECONDS: Final = 1.0
_LOOKED_AT_ONCE: Final = 50

TIMEOUT: Final = "reply:timeout"
"""The error of a message whose user, in a closed model, waited for its reply in vain."""


class EchoParameters(CorrelatedParameters):
    """Parameters settable with ``--param``."""

    active: Annotated[int | None, Field(ge=1)] = None
    """How many connections send, across the whole fleet; the others stay idle. All by default."""

    acknowledged: str | None = None
    """A text that an acknowledgement contains, if each message gets one before its reply; they are
    timed, in the order of the messages."""


class Stream:
    """One connection's messages: how many were sent, which are under way, which came back."""

    __slots__ = ("counted", "given_up", "issued", "ledger", "overdue", "pending")

    def __init__(self) -> None:
        self.issued = 0
        # How many of these the ledger's counts include.
        self.counted = 0
        # The last message whose reply the user of a closed model has waited for in vain.
        self.given_up = -1
        self.ledger = Ledger()
        # Sequence number, intended and actual send time in nanoseconds, keyed by the bytes that
        # identify a reply: its number is never parsed while all goes well.
        self.pending: dict[bytes, tuple[int, int, int]] = {}
        # The same for messages counted as lost because they took too long; or None.
        self.overdue: dict[bytes, tuple[int, int, int]] | None = None

    def give_up(self, before_ns: int) -> int:
        """Give up messages sent before ``before_ns`` as lost; return how many."""
        keys = []
        # In the order in which they were sent.
        for key, (_, _, sent_ns) in self.pending.items():
            if sent_ns >= before_ns:
                break
            keys.append(key)
        if keys and self.overdue is None:
            self.overdue = {}
        for key in keys:
            assert self.overdue is not None
            self.overdue[key] = self.pending.pop(key)
        return len(keys)

    def under_way(self, key: bytes) -> tuple[int, int, int] | None:
        """Return what is known about a message that may still come back."""
        return self.pending.get(key) or (self.overdue.get(key) if self.overdue else None)


# Shared by every connection that does not send.
_IDLE = Stream()


class Echo(Scenario[EchoParameters]):
    """Messages that come back to their sender, as they are or wrapped in the server's format."""

    parameters_type: ClassVar[type[Parameters]] = EchoParameters
    is_spread = True
    joins = True
    measures = Measures(main=("latency", "service_time"), reaches_rate=True, has_ledger=True)

    def __init__(self, share: ProcessPlan, parameters: EchoParameters, recorder: Recorder) -> None:
        super().__init__(share, parameters, recorder)
        plan = share.plan
        active = parameters.active or plan.connections
        self._active_total = active
        self._active_here = part_of(active, plan.processes, share.process)
        self._recorder = recorder
        self._streams: list[Connection] = []
        self._turn = -1
        # Each connection's place in the list, and those about to leave: only in a live load.
        self._places: dict[Connection, int] = {}
        self._leaving: set[Connection] = set()
        self._running = False
        self._closed_model = plan.rate is None
        self._tag = run_tag(plan.seed)
        self._messages = Messages(plan)
        self._kept = self._messages.kept
        self._is_whole = self._messages.is_whole
        self._key_bytes = self._messages.key_bytes
        self._is_fixed = self._messages.is_fixed
        drawn = plan.think and plan.think.draw(plan.seed + share.process, _THINKS)
        self._thinks = cycle(drawn) if drawn else None
        self._kind = WSMsgType.BINARY if plan.binary else WSMsgType.TEXT
        self._codec = self._make_codec()
        self._latency = recorder.durations("latency").append
        self._service_time = recorder.durations("service_time").append
        self._lateness = recorder.durations("lateness").append

    @classmethod
    def check(cls, plan: Plan, parameters: EchoParameters) -> None:
        """Reject a plan whose messages could not be sent."""
        if plan.payload_bytes < ECHO_BYTES:
            raise UsageError(
                f"a payload of {plan.payload_bytes} bytes is too small; an echo message carries a "
                f"stamp, so it must have at least {ECHO_BYTES}"
            )
        if parameters.active is not None and plan.per_connection:
            raise UsageError(
                "parameter active cannot be combined with --per-connection; give the rate of all "
                "connections"
            )
        if parameters.active is not None and parameters.active > plan.connections:
            raise UsageError(
                f"parameter active is {parameters.active}, more than the {plan.connections} "
                "connections"
            )

    def _make_codec(self) -> Codec | None:
        """Return the codec, or None if messages travel as they are."""
        parameters = self.parameters
        if (parameters.wrap, parameters.find, parameters.acknowledged) == (None, None, None):
            return None
        return Codec(
            parameters,
            self.plan.row_for(parameters.wrap),
            self.recorder,
            parameters.acknowledged,
        )

    def new_state(self, number: int) -> Stream:  # noqa: ARG002
        """Return a stream that connections share until they are known to be active."""
        return _IDLE

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Match a reply with its message, time it and enter it in the ledger. Hot path."""
        stream: Stream = connection.state
        if self._codec is not None:
            text = self._codec.text_in(connection, payload, now_ns)
            if text is None:
                return
            payload = text
        # A reply that equals its message is recognised by its bytes, without parsing them.
        sent = stream.pending.pop(payload, None) if self._is_whole else None
        sent = sent or self._answered(stream, payload)
        if sent is None:
            return
        sequence, intended_ns, sent_ns = sent
        ledger = stream.ledger
        if sequence == ledger.next_expected:
            ledger.next_expected = sequence + 1
        else:
            self._out_of_order(ledger, sequence)
        self._latency(now_ns - intended_ns)
        self._service_time(now_ns - sent_ns)
        is_to_go_on = self._closed_model and self._running and sequence > stream.given_up
        if is_to_go_on and connection not in self._leaving:
            if self._thinks is None:
                self._send(connection, now_ns)
            else:
                self._send_after_thought(connection)

    def _send(self, connection: Connection, intended_ns: int) -> None:
        """Send the next message of a connection. Hot path."""
        stream: Stream = connection.state
        sequence = stream.issued
        stream.issued = sequence + 1
        kept = self._kept
        message = kept[sequence] if sequence < len(kept) else self._messages.make(sequence)
        key = message if self._is_whole else message[:ECHO_BYTES]
        stream.pending[key] = (sequence, intended_ns, perf_counter_ns())
        if self._codec is not None:
            message = self._codec.form_of(message, connection)
        if not self._is_fixed or self._codec is not None:
            self._recorder.sent_bytes += len(message)
        connection.transport.send(self._kind, message)
        self._recorder.sent += 1

    def _send_after_thought(self, connection: Connection) -> None:
        """Send the next message after a think time, whose end is its intended time."""
        assert self._thinks is not None
        asyncio.get_running_loop().call_later(next(self._thinks), self._send_now, connection)

    def _send_now(self, connection: Connection) -> None:
        if self._running and connection.is_open and connection not in self._leaving:
            self._send(connection, perf_counter_ns())

    def _out_of_order(self, ledger: Ledger, sequence: int) -> None:
        reordered = ledger.reordered
        ledger.observe(sequence)
        self._recorder.integrity["reordered"] += ledger.reordered - reordered

    def _answered(self, stream: Stream, payload: bytes) -> tuple[int, int, int] | None:
        """Find the pending message that a payload contains; count what is not a reply."""
        sent = stream.pending.get(payload[: self._key_bytes])
        if sent is not None and self._messages.is_same(sent[0], payload):
            del stream.pending[payload[: self._key_bytes]]
            return sent
        if are_several(payload, self._tag, ECHO_BYTES):
            self._recorder.errors[SEVERAL] += 1
            return None
        for _, stamped in readings(payload, self._tag):
            key = stamped[: self._key_bytes]
            sent = stream.under_way(key)
            if sent is not None and self._messages.is_intact(sent[0], stamped):
                self._arrive(stream, key)
                return sent
        self._on_other(stream, payload)
        return None

    def _arrive(self, stream: Stream, key: bytes) -> None:
        """Mark a message as answered; if it was counted as lost, undo that."""
        if stream.pending.pop(key, None) is None:
            assert stream.overdue is not None
            del stream.overdue[key]
            self._recorder.integrity["lost"] -= 1

    def _on_other(self, stream: Stream, payload: bytes) -> None:
        """Count what answers no pending message: a foreign message, a damaged or a second reply."""
        if self._tag not in payload:
            self._recorder.unsolicited += 1
            return
        for _, stamped in readings(payload, self._tag):
            try:
                sequence = int(stamped[TAG_BYTES:ECHO_BYTES], 16)
            except ValueError:
                continue
            if sequence < stream.issued and self._messages.is_intact(sequence, stamped):
                stream.ledger.observe(sequence)
                self._recorder.integrity["duplicated"] += 1
                return
        self._recorder.integrity["corrupted"] += 1

    async def measure(self, pool: ConnectionPool, load: LoadWindow) -> Published:
        """Send from the start of the load to its end."""
        is_live = self.plan.live
        for connection in pool.connections[: None if is_live else self._active_here]:
            self._join(connection)
        if not (self._streams or is_live):
            return {}
        self._running = True
        looking = asyncio.create_task(self._look_for_losses())
        try:
            if self.plan.rate is None:
                await self._measure_closed(load)
            else:
                await self._measure_open(load)
        finally:
            looking.cancel()
        self._running = False
        return {}

    async def _measure_closed(self, load: LoadWindow) -> None:
        await load.begun()
        for connection in self._streams:
            self._start(connection)
        await load.over()

    async def _look_for_losses(self) -> None:
        """Enter the messages sent and those overdue into the ledger while the load lasts.

        In a closed model, a user whose reply does not come continues: a lost reply would silence it
        for good.
        """
        timeout_seconds = self.plan.reply_timeout_seconds
        while True:
            await asyncio.sleep(min(_LOOK_SECONDS, timeout_seconds * _LOOK_RATIO))
            for number, connection in enumerate(list(self._streams), 1):
                self._look_at(connection, perf_counter_ns() - round(timeout_seconds * 1e9))
                if number % _LOOKED_AT_ONCE == 0:
                    await asyncio.sleep(0)

    def _look_at(self, connection: Connection, before_ns: int) -> None:
        if self.plan.live and connection not in self._places:
            # It has ended in the meantime, and its account is closed.
            return
        stream: Stream = connection.state
        self._count_issued(stream)
        if not (overdue := stream.give_up(before_ns)):
            return
        self._recorder.integrity["lost"] += overdue
        if self._closed_model and not stream.pending and connection.is_open:
            stream.given_up = stream.issued - 1
            self._recorder.errors[TIMEOUT] += 1
            self._send_now(connection)

    def _count_issued(self, stream: Stream) -> None:
        if stream.issued == stream.counted:
            return
        self._recorder.integrity["expected"] += stream.issued - stream.counted
        stream.counted = stream.issued

    def _start(self, connection: Connection) -> None:
        """Send the first message of a closed model."""
        if self._thinks is not None:
            # As if each were already thinking: sending all at once would be a burst.
            self._send_after_thought(connection)
        elif connection.is_open:
            self._send(connection, perf_counter_ns())

    async def _measure_open(self, load: LoadWindow) -> None:
        turn = self._turns()

        def fire(intended_ns: int) -> None:
            if not self._streams:
                # In a live load, there may be no connections yet, or none any more.
                return
            connection = turn()
            if connection.is_open:
                # A closed model has no schedule, and so no lateness.
                self._lateness(perf_counter_ns() - intended_ns)
                self._send(connection, intended_ns)
            else:
                self._recorder.errors["send:closed"] += 1

        # Count those requested, not those that opened: refused ones must not thin the load.
        senders = (self._active_here, self._active_total)
        await self.pace(load, fire, self._active_here / self._active_total, senders)

    def _turns(self) -> Callable[[], Connection]:
        """Return a function that chooses the next sender.

        Independent Poisson arrivals on each connection are, taken together, one Poisson process
        whose every arrival falls on a connection at random (Kingman, Poisson Processes, 1993).
        Evenly spaced ones on each, with staggered phases, fall on one connection after the other.
        """
        if not (self.plan.per_connection and self.plan.arrivals is ArrivalKind.POISSON):
            return self._next_in_turn
        choose = random.Random(self.plan.seed + self.share.process).choice
        return lambda: choose(self._streams)

    def _next_in_turn(self) -> Connection:
        self._turn = (self._turn + 1) % len(self._streams)
        return self._streams[self._turn]

    def _join(self, connection: Connection) -> None:
        """Add a connection to those that send."""
        active = self.parameters.active
        if self.plan.live and active is not None and connection.number >= active:
            return
        connection.state = Stream()
        if self.plan.live:
            self._places[connection] = len(self._streams)
        self._streams.append(connection)

    def opened(self, connection: Connection) -> None:
        """Start sending on a connection that was opened while the load lasts."""
        if self._running and self.plan.live:
            self._join(connection)
            if self._closed_model and connection in self._places:
                self._start(connection)

    def closed(self, connection: Connection) -> None:
        """Close the account of a connection that ended while the load lasts."""
        if connection in self._places:
            self._account(connection.state)
            self._drop(connection)
            self._leaving.discard(connection)
            if self._codec is not None:
                self._codec.forget(connection)

    async def leaving(self, connections: Sequence[Connection]) -> None:
        """Stop sending on these connections, and wait for their pending replies."""
        those = [connection for connection in connections if connection in self._places]
        for connection in those:
            self._drop(connection)
            # Its account is closed when it has ended.
            self._places[connection] = -1
            self._leaving.add(connection)
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST_REPLIES_SECONDS):
                while any(  # noqa: ASYNC110 - an event would cost the hot path more
                    it.state.pending for it in those if it.is_open
                ):
                    await asyncio.sleep(_POLL_SECONDS)

    def _drop(self, connection: Connection) -> None:
        """Remove a connection in constant time: the last one takes its place."""
        place = self._places.pop(connection)
        if place < 0:
            return
        last = self._streams.pop()
        if last is not connection:
            self._streams[place] = last
            self._places[last] = place

    def outstanding(self, published: Published) -> int:  # noqa: ARG002 - an echo is not published
        """Count the replies that can still arrive."""
        return sum(
            connection.state.ledger.lost(connection.state.issued)
            for connection in self._streams
            if connection.is_open
        )

    def account(self, published: Published) -> None:  # noqa: ARG002 - an echo is not published
        """Count the messages that were sent but never came back."""
        for connection in (*self._streams, *self._leaving):
            self._account(connection.state)
        self._places.clear()
        self._leaving.clear()

    def _account(self, stream: Stream) -> None:
        self._count_issued(stream)
        # Those that took too long are already counted.
        overdue = len(stream.overdue or ())
        self._recorder.integrity["lost"] += stream.ledger.lost(stream.issued) - overdue


class EventsParameters(EchoParameters):
    """Parameters settable with ``--param`` for the reference server's event protocol."""

    wrap: str | None = (
        '{"event":"send_to_client","client_id":"{saved.id}","data":{"data":{"text":"{}"}}}'
    )


class Events(Echo):
    """Events to the client that sends them, on ``/ws/py_client`` of the reference server."""

    parameters_type: ClassVar[type[Parameters]] = EventsParameters
    ready = (r'=> regex:"event":"connect","client_id":"(?P<id>[^"]*)"',)


class SessionParameters(EchoParameters):
    """Parameters settable with ``--param`` for the reference server's session protocol."""

    wrap: str | None = '{"type":"STUDENT_INTERRUPTION","payload":{"questionText":"{}"}}'
    acknowledged: str | None = "INTERRUPTION_ACKNOWLEDGED"


class Session(Echo):
    """Questions and their answers, on ``/ws/{session_id}`` of the reference server."""

    parameters_type: ClassVar[type[Parameters]] = SessionParameters
