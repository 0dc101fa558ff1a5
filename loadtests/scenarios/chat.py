"""Publish on many connections to everyone in their room: how long until all have it?

Connections are assigned to rooms in turn, by ``?room=r…`` in their address; the first ones, in the
order of their numbers, publish. Each receiver tracks each publisher of its room separately, so
loss, duplication and reordering are exact for every pair.
"""

import asyncio
from array import array
from collections.abc import Mapping, Sequence
from itertools import cycle
from time import perf_counter_ns
from typing import Annotated, NamedTuple
from urllib.parse import urlsplit, urlunsplit

from picows import WSMsgType
from pydantic import Field

from loadtests.clients.connection import Connection
from loadtests.clients.pool import ConnectionPool
from loadtests.errors import UsageError
from loadtests.measure.ledger import Ledger
from loadtests.measure.load_window import LoadWindow
from loadtests.measure.pacer import Pacer
from loadtests.measure.recorder import Recorder
from loadtests.measure.stamp import (
    CHAT_BYTES,
    STREAM_BYTES,
    STREAM_END,
    TAG_BYTES,
    run_tag,
    stream_tag,
)
from loadtests.plan.payload import Fillers
from loadtests.plan.plan import Plan, ProcessPlan
from loadtests.scenarios.correlation import Envelope, Finder, PublishedParameters, Reading, readings
from loadtests.scenarios.parameters import Count
from loadtests.scenarios.presence import Attendance
from loadtests.scenarios.publication import DELIVERIES
from loadtests.scenarios.scenario import Published, Scenario

# Messages a second from all publishers together, if the plan names no rate.
DEFAULT_RATE = 10.0

NUMBER = "{n}"

# A number this far ahead of the last one is a damaged stamp, not a gap to enter in the ledger.
_LARGEST_GAP = 1_000_000

# Marks a publisher from which nothing was received yet, where it may begin with any number.
_NOTHING_RECEIVED = 0xFFFF_FFFF

# How many texts are recognised once read; beyond that, all are read again.
_REMEMBERED = 4096


class ChatParameters(PublishedParameters):
    """Parameters settable with ``--param``."""

    publishers: Annotated[Count, Field(ge=1)] | None = None
    """How many connections publish, across the whole fleet; a tenth of them by default."""

    rooms: Annotated[Count, Field(ge=1)] | None = None
    """How many rooms the connections are spread over; by default one, which has no name."""

    publisher_receives: bool = True
    """Whether the server also sends a message back to its publisher."""

    prefix: str | None = None
    """What the server must put directly before a text, with ``{n}`` for the publisher's number,
    such as ``Client {n}: ``; without it, anything."""


def publishers_of(plan: Plan, parameters: ChatParameters) -> int:
    """Return how many connections publish."""
    return parameters.publishers or max(1, plan.connections // 10)


class _Message(NamedTuple):
    """A message that was read: its publisher, its place in the ledgers, and when it was due."""

    publisher: int
    room: int
    slot: int
    sequence: int
    intended_ns: int
    key: int


class Listener:
    """One connection as a receiver.

    Attributes:
        number: its number in the fleet, under which it also publishes.
        room: the number of its room.
        expected_next: the next number expected from each publisher of its room.
        begins: where connections come and go, the lowest number received from each publisher;
            otherwise empty, as that is 0.
        arrived: first arrivals, from all publishers together.
        ledgers: the ledgers of publishers from whom a message was missing or came again.
    """

    __slots__ = ("arrived", "begins", "expected_next", "ledgers", "number", "room")

    def __init__(self, number: int, room: int) -> None:
        self.number = number
        self.room = room
        self.expected_next = array("I")
        self.begins = array("I")
        self.arrived = 0
        self.ledgers: dict[int, Ledger] | None = None


class Chat(Scenario[ChatParameters]):
    """One process's part of a chat."""

    parameters_type = ChatParameters
    default_rate = DEFAULT_RATE
    takes_stages = True
    measures = DELIVERIES

    def __init__(self, share: ProcessPlan, parameters: ChatParameters, recorder: Recorder) -> None:
        super().__init__(share, parameters, recorder)
        plan = share.plan
        self._share = share
        self._recorder = recorder
        # Making one for each of hundreds of messages a second would delay their sending.
        recorder.has_delivery_histograms = False
        self._rooms = parameters.rooms or 1
        self._publishers = publishers_of(plan, parameters)
        self._publisher_receives = parameters.publisher_receives
        self._slots = -(-self._publishers // self._rooms)
        self._prefix = parameters.prefix or ""
        self._write = Envelope(parameters.wrap, plan.row_for(parameters.wrap)).write
        self._listeners: Sequence[Connection] = ()
        self._issued: dict[int, int] = {}
        self._tag = run_tag(plan.seed)
        self._finder = Finder(parameters.find, self._tag, CHAT_BYTES, recorder)
        self._fillers = Fillers(plan, CHAT_BYTES)
        self._kind = WSMsgType.BINARY if plan.binary else WSMsgType.TEXT
        self._lateness = recorder.durations("lateness").append
        self._delivered = recorder.durations("delivered").append
        # If connections come and go: who is there, who publishes, and when messages were sent.
        self._by_stages = plan.population is not None
        self._attendance = Attendance()
        self._speakers: list[Connection] = []
        self._sent_ns: dict[int, array[int]] = {}
        # Every receiver gets the same bytes, so a text is read once and then recognised.
        self._messages: dict[bytes, _Message] = {}

    @classmethod
    def check(cls, plan: Plan, parameters: ChatParameters) -> None:
        """Reject a plan whose messages could not be sent."""
        if plan.payload_bytes < CHAT_BYTES:
            raise UsageError(
                f"a payload of {plan.payload_bytes} bytes is too small; a chat message carries a "
                f"stamp, so it must have at least {CHAT_BYTES}"
            )
        for name in ("publishers", "rooms"):
            value = getattr(parameters, name)
            if value is not None and value > plan.connections:
                raise UsageError(
                    f"parameter {name} is {value}, more than the {plan.connections} connections"
                )

    @classmethod
    def address(cls, url: str, parameters: ChatParameters) -> str:
        """Return the address with each connection's room in its query (RFC 3986 section 3.4)."""
        if parameters.rooms is None:
            return url
        parts = urlsplit(url)
        room = f"room=r{{n%{parameters.rooms}}}"
        query = f"{parts.query}&{room}" if parts.query else room
        return urlunsplit(parts._replace(query=query))

    def new_state(self, number: int) -> Listener:
        """Return a new receiver, which keeps ledgers."""
        return Listener(number, number % self._rooms)

    def receive(self, connection: Connection, payload: bytes, now_ns: int) -> None:
        """Time one delivery and enter it in its receiver's ledger. Hot path."""
        message = self._messages.get(payload) or self._read(payload, now_ns)
        if message is None:
            return
        publisher, room, slot, sequence, intended_ns, key = message
        listener: Listener = connection.state
        if publisher == listener.number and not self._publisher_receives:
            # It would offset a message that another receiver has lost.
            self.recorder.unsolicited += 1
            return
        if listener.room != room or not listener.expected_next:
            self._recorder.errors["chat:wrong-room"] += 1
            return
        if sequence == listener.expected_next[slot]:
            listener.expected_next[slot] = sequence + 1
        elif not self._out_of_order(listener, slot, sequence):
            return
        listener.arrived += 1
        self._delivered(now_ns - intended_ns)
        deliveries = self._recorder.deliveries
        times_ns = deliveries.get(key)
        if times_ns is None:
            times_ns = deliveries[key] = array("q")
        times_ns.append(now_ns - intended_ns)

    def _read(self, payload: bytes, now_ns: int) -> _Message | None:
        """Read a text not seen before; return None if it does not belong to this run."""
        text = self._finder.text(payload)
        if text is None:
            return None
        for reading in readings(text, self._tag):
            message = self._message_of(reading, now_ns)
            if message is not None:
                if len(self._messages) >= _REMEMBERED:
                    self._messages.clear()
                self._messages[payload] = message
                return message
        self._recorder.integrity["corrupted"] += 1
        return None

    def _message_of(self, reading: Reading, now_ns: int) -> _Message | None:
        """Read a stamp; return None if any part of what was sent is missing."""
        stamp = reading.stamped
        try:
            publisher = int(stamp[TAG_BYTES:STREAM_END], 16)
            sequence = int(stamp[STREAM_END:STREAM_BYTES], 16)
            intended_ns = int(stamp[STREAM_BYTES:CHAT_BYTES], 16) - self.share.clock_ns
        except ValueError:
            return None
        damaged = (
            publisher >= self._publishers
            or intended_ns > now_ns + self.share.clock_error_ns
            or not stamp.startswith(self._fillers[sequence], CHAT_BYTES)
            or not reading.before.endswith(self._prefix.replace(NUMBER, str(publisher)).encode())
        )
        if damaged:
            return None
        slot, room = divmod(publisher, self._rooms)
        key = publisher << 24 | sequence
        return _Message(publisher, room, slot, sequence, min(intended_ns, now_ns), key)

    def _out_of_order(self, listener: Listener, slot: int, sequence: int) -> bool:
        """Enter an out-of-order message; return whether it is the first of its number."""
        if listener.begins and listener.expected_next[slot] == _NOTHING_RECEIVED:
            listener.begins[slot] = sequence
            listener.expected_next[slot] = sequence + 1
            return True
        if sequence - listener.expected_next[slot] > _LARGEST_GAP:
            self._recorder.integrity["corrupted"] += 1
            return False
        if listener.ledgers is None:
            listener.ledgers = {}
        ledger = listener.ledgers.setdefault(slot, Ledger())
        # Until now, and as long as all went well, only this number was kept up to date.
        ledger.next_expected = listener.expected_next[slot]
        ledger.begin = listener.begins[slot] if listener.begins else 0
        integrity = self._recorder.integrity
        reordered = ledger.reordered
        is_first = ledger.observe(sequence)
        listener.expected_next[slot] = ledger.next_expected
        if listener.begins:
            listener.begins[slot] = ledger.begin
        integrity["reordered"] += ledger.reordered - reordered
        integrity["duplicated"] += not is_first
        return is_first

    def prepare(self, pool: ConnectionPool) -> None:
        """Allocate each receiver's next expected numbers, one per publisher of its room."""
        for connection in pool.connections:
            connection.state.expected_next = array("I", bytes(4 * self._slots))

    def opened(self, connection: Connection) -> None:
        """Record when a receiver joins, if receivers come and go."""
        if self._by_stages:
            listener: Listener = connection.state
            listener.expected_next = array("I", [_NOTHING_RECEIVED]) * self._slots
            listener.begins = array("I", listener.expected_next)
            self._attendance.come(connection, self.share.now_ns())
            if connection.number < self._publishers:
                self._speakers.append(connection)

    def closed(self, connection: Connection) -> None:
        """Record when a receiver has left."""
        self._attendance.go(connection, self.share.now_ns())
        if connection in self._speakers:
            self._speakers.remove(connection)

    async def leaving(self, connections: Sequence[Connection]) -> None:
        """Record which receivers are about to leave; they publish no more."""
        for connection in connections:
            self.closed(connection)

    async def measure(self, pool: ConnectionPool, load: LoadWindow) -> Published:
        """Publish for the whole load, on the publishers in turn."""
        if self._by_stages:
            return await self._measure_by_stages(load)
        plan, part, connections = self.plan, self.share.process, pool.connections
        self._listeners = list(connections)
        publishing = [it for it in connections if it.state.number < self._publishers]
        if not publishing:
            await load.over()
            return {}
        # Count those requested, not those that opened: refused ones must not thin the load.
        asked = len(range(part, self._publishers, plan.processes))
        if plan.live:
            # Numbers stay with their connections while processes come and go.
            asked = len(publishing)
        turn = cycle(publishing)

        def fire(intended_ns: int) -> None:
            publisher = next(turn)
            if publisher.is_open:
                self._publish(publisher, intended_ns)
            else:
                self._recorder.errors["send:closed"] += 1

        times = self.arrivals(asked / self._publishers)
        await Pacer(asyncio.get_running_loop(), times, load, fire).run()
        return {str(publisher): count for publisher, count in self._issued.items()}

    async def _measure_by_stages(self, load: LoadWindow) -> Published:
        """Publish on the publishers that are here, in turn."""
        numbers = range(self.share.process, self._publishers, self.plan.processes)
        if not numbers:
            await load.over()
            return {}
        self._sent_ns = {number: array("q") for number in numbers}
        turn = -1

        def fire(intended_ns: int) -> None:
            nonlocal turn
            if not self._speakers:
                return
            turn = (turn + 1) % len(self._speakers)
            publisher = self._speakers[turn]
            if publisher.is_open:
                self._sent_ns[publisher.number].append(self._publish(publisher, intended_ns))

        await self.pace(load, fire, senders=(len(numbers), self._publishers))
        return {str(publisher): list(sent_ns) for publisher, sent_ns in self._sent_ns.items()}

    def _publish(self, publisher: Connection, intended_ns: int) -> int:
        """Send a publisher's next message; return the time sent, by the fleet's clock."""
        number = publisher.state.number
        sequence = self._issued.get(number, 0)
        self._issued[number] = sequence + 1
        sent_ns = perf_counter_ns()
        message = b"%b%06x%016x%b" % (
            stream_tag(self._tag, number),
            sequence,
            intended_ns + self.share.clock_ns,
            self._fillers[sequence],
        )
        payload = self._write(message, number, publisher.saved)
        publisher.transport.send(self._kind, payload)
        self._recorder.sent += 1
        self._recorder.sent_bytes += len(payload)
        self._lateness(sent_ns - intended_ns)
        return sent_ns + self.share.clock_ns

    def outstanding(self, published: Published) -> int:
        """Count the deliveries that can still arrive."""
        if self._by_stages:
            here = (connection.state for connection in self._attendance.here)
            return sum(self._due(it, published) - it.arrived for it in here)
        counts = _by_publisher(published)
        in_room = self._published_in_rooms(counts)
        return sum(
            self._expected(connection.state, counts, in_room) - connection.state.arrived
            for connection in self._listeners
            if connection.is_open
        )

    def account(self, published: Published) -> None:
        """Count the messages that were published but never delivered."""
        integrity = self._recorder.integrity
        if self._by_stages:
            for listener in self._attendance.presences:
                due = self._due(listener, published)
                integrity["expected"] += due
                integrity["lost"] += due - listener.arrived
            return
        counts = _by_publisher(published)
        in_room = self._published_in_rooms(counts)
        for connection in self._listeners:
            expected = self._expected(connection.state, counts, in_room)
            integrity["expected"] += expected
            # Every first arrival has a number that was published, so the rest never arrived.
            integrity["lost"] += expected - connection.state.arrived

    def _due(self, listener: Listener, published: Published) -> int:
        """Return how many messages were due to a receiver that came or went."""
        late_ns = round(self.plan.late_seconds * 1e9)
        due = 0
        for publisher, sent_ns in published.items():
            slot, room = divmod(int(publisher), self._rooms)
            is_own = int(publisher) == listener.number and not self._publisher_receives
            if room != listener.room or is_own:
                continue
            has_received = listener.expected_next[slot] != _NOTHING_RECEIVED
            received = (
                (listener.begins[slot], listener.expected_next[slot]) if has_received else None
            )
            first, last = self._attendance.presences[listener].due(sent_ns, received, late_ns)
            due += last - first
        return due

    def _published_in_rooms(self, counts: Mapping[int, int]) -> list[int]:
        in_room = [0] * self._rooms
        for publisher, count in counts.items():
            in_room[publisher % self._rooms] += count
        return in_room

    def _expected(
        self, listener: Listener, counts: Mapping[int, int], in_room: Sequence[int]
    ) -> int:
        own = 0 if self._publisher_receives else counts.get(listener.number, 0)
        return in_room[listener.room] - own


def _by_publisher(published: Published) -> dict[int, int]:
    return {int(publisher): count for publisher, count in published.items()}
