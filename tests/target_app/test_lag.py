"""A connection that is behind, under every order of what can happen to it."""

from __future__ import annotations

import asyncio

from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from target_app.connections.connection import Connection, Endpoint
from target_app.connections.delivery import Delivery
from target_app.connections.lag import OVERHEAD_BYTES, Bounds, Close, Lag, Phase
from target_app.counters import Counters
from target_app.message import Message
from target_app.settings import Settings

POLICIES = st.sampled_from(["disconnect", "drop-oldest", "drop-newest"])
SIZES = st.integers(min_value=0, max_value=120)
NOTHING = Endpoint("/ws", None, None, None)


class LagUnderEveryOrder(RuleBasedStateMachine):
    """Drives a Lag as a CatchUp may, and keeps a ledger of every message."""

    @rule(
        policy=POLICIES,
        messages=st.integers(min_value=1, max_value=4),
        size=st.integers(min_value=1, max_value=300),
        begun=st.booleans(),
    )
    @precondition(lambda self: not self.alive())
    def fall_behind(self, policy, messages, size, begun):
        self.bounds = Bounds(policy, messages, size, seconds=10.0)
        self.counters = Counters()
        self.lag = Lag(self.bounds, self.counters)
        self.now = 0.0
        self.pushed = 0
        self.written = []
        self.writing = None
        self.over = False
        if begun:
            self.lag.begin(self.now)
            self.writing = self.pushed
            self.pushed += 1

    def alive(self):
        return hasattr(self, "lag") and not self.over

    @rule(size=SIZES)
    @precondition(alive)
    def push(self, size):
        before = self.counters.messages_sent, self.lag.phase, self.lag.close
        message = Message(f"{self.pushed:0{size}}")
        self.pushed += 1
        held = self.lag.push(message)
        assert held == (message in self.lag.waiting)
        if before[1:] == (Phase.BEHIND, None) and self.bounds.policy != "disconnect":
            assert self.lag.phase is Phase.BEHIND
        if before[1] is not Phase.BEHIND or before[2] is not None:
            assert not held

    @rule(seconds=st.floats(min_value=0, max_value=5))
    @precondition(alive)
    def time_passes(self, seconds):
        self.now += seconds

    @rule()
    @precondition(lambda self: self.alive() and self.writing is None)
    def go_on(self):
        waited = list(self.lag.waiting)
        message = self.lag.next(self.now)
        if message is not None:
            assert message is waited[0]
            self.writing = int(message.data)
            if self.bounds.policy == "disconnect":
                assert self.lag.deadline == self.now + self.bounds.seconds
            else:
                assert self.lag.deadline is None
            return
        assert self.lag.phase is not Phase.BEHIND, "nothing to write and nothing to do"
        if self.lag.phase is Phase.CAUGHT_UP:
            assert not waited
        self.end()

    @rule()
    @precondition(lambda self: self.alive() and self.writing is not None)
    def write_is_done(self):
        self.lag.written()
        self.written.append(self.writing)
        self.writing = None

    @rule()
    @precondition(lambda self: self.alive() and self.writing is not None)
    def time_runs_out(self):
        self.lag.run_out()
        self.writing = None
        assert self.lag.phase is Phase.CLOSING

    @rule(code=st.sampled_from([1001, 1012]))
    @precondition(alive)
    def close_is_asked_for(self, code):
        before = self.lag.close
        self.lag.close_after(Close(code, ""))
        assert self.lag.close == (before or (code, ""))

    @rule()
    @precondition(alive)
    def connection_is_lost(self):
        self.writing = None
        self.lag.lose()
        self.end()

    def end(self):
        self.over = True
        if self.lag.phase is Phase.CLOSING:
            self.lag.lose()
        counted = self.counters
        assert counted.messages_sent == len(self.written)
        total = counted.messages_sent + counted.messages_dropped + counted.messages_lost
        assert total == self.pushed
        if self.lag.phase is not Phase.CAUGHT_UP:
            assert not self.lag.push(Message("late"))
            assert counted.messages_lost >= 1

    @invariant()
    def bounds_hold_and_every_message_is_in_one_place(self):
        if not self.alive():
            return
        waiting = self.lag.waiting
        assert self.lag.bytes == sum(len(m.frame) + OVERHEAD_BYTES for m in waiting)
        assert len(waiting) <= self.bounds.messages
        assert self.lag.bytes <= self.bounds.bytes or len(waiting) == 1
        numbers = [*self.written, *(int(m.data) for m in waiting)]
        assert numbers == sorted(numbers)
        counted = self.counters
        total = counted.messages_sent + counted.messages_dropped + counted.messages_lost
        assert total + len(waiting) + (self.writing is not None) == self.pushed


TestLagUnderEveryOrder = LagUnderEveryOrder.TestCase
TURNS = st.integers(min_value=0, max_value=4)


class StubbornClient:
    """The ASGI server of one client that reads, stops reading, leaves or breaks when told to."""

    def __init__(self):
        self.reading = asyncio.Event()
        self.reading.set()
        self.error = None
        self.got = []
        self.connection = Connection(NOTHING, self.send)

    async def send(self, message):
        await self.reading.wait()
        if self.error is not None:
            raise self.error
        if self.connection.close_sent:
            raise RuntimeError("after websocket.close")
        self.got.append(message.get("text", message.get("code")))


PUSHES = st.tuples(st.just("push"), st.lists(st.integers(1, 400), min_size=1, max_size=5))
STEPS = st.one_of(
    PUSHES,
    st.tuples(st.just("reads"), st.booleans()),
    st.tuples(st.just("close"), st.sampled_from([1001, 4001])),
    st.tuples(st.just("close_at_once"), st.just(1008)),
    st.tuples(st.just("out_of_time"), st.just(0)),
    st.tuples(
        st.just("fails"),
        st.sampled_from([ConnectionResetError, TimeoutError, RuntimeError, ValueError]),
    ),
)


async def loop_turns(count):
    for _ in range(count):
        await asyncio.sleep(0)


class Driven:
    """A Delivery with one client, and the steps that can happen to it."""

    def __init__(self, policy, messages):
        self.counters = Counters()
        self.delivery = Delivery(
            self.counters,
            Settings(
                slow_consumer_policy=policy,
                slow_consumer_messages=messages,
                slow_consumer_bytes=500,
                slow_consumer_seconds=1000.0,
                close_timeout_seconds=1000.0,
            ),
        )
        self.client = StubbornClient()
        self.pushed = []
        self.tasks = []

    async def push(self, sizes):
        for size in sizes:
            text = f"{len(self.pushed):0{size}}"
            self.pushed.append(text)
            self.delivery.push(self.client.connection, Message(text))

    async def reads(self, reads):
        (self.client.reading.set if reads else self.client.reading.clear)()

    async def close(self, code):
        await self.delivery.close(self.client.connection, code, "")

    async def close_at_once(self, code):
        closing = self.client.connection.close(code, "", 1000.0)
        self.tasks.append(asyncio.create_task(closing))

    async def out_of_time(self, _):
        lag = self.client.connection.lag
        if lag is not None and lag.state.deadline is not None:
            lag._interrupt()

    async def fails(self, kind):
        self.client.error = self.client.error or kind("expected in this test")

    def counted(self):
        counters = self.counters
        return counters.messages_sent + counters.messages_dropped + counters.messages_lost


@settings(deadline=None, max_examples=300)
@given(
    POLICIES,
    st.integers(min_value=1, max_value=3),
    st.booleans(),
    st.lists(st.tuples(PUSHES, TURNS), max_size=3),
    st.lists(st.tuples(STEPS, TURNS), max_size=8),
)
def test_whatever_happens_each_message_is_sent_dropped_or_lost_and_counted_once(
    policy, messages, reads, pushes, steps
):
    async def drive():
        driven = Driven(policy, messages)
        client, delivery, counters = driven.client, driven.delivery, driven.counters
        running = asyncio.create_task(delivery.run())
        await asyncio.sleep(0)
        await driven.reads(reads)
        for (step, argument), turns in (*pushes, *steps):
            await getattr(driven, step)(argument)
            await loop_turns(turns)
        await loop_turns(30)
        lag = client.connection.lag
        if lag is not None and lag.state.phase in {Phase.CLOSING, Phase.LOST}:
            assert client.connection.close_code or client.error, "given up, and never closed"
        client.reading.set()
        for _ in range(1000):
            if not delivery.lagging and all(task.done() for task in driven.tasks):
                break
            await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert not running.done()
        assert delivery.lagging == 0, "a connection is behind, and nothing happens"
        assert driven.counted() == len(driven.pushed)
        texts = [got for got in client.got if isinstance(got, str)]
        codes = [got for got in client.got if isinstance(got, int)]
        assert texts == sorted(texts, key=int)
        assert counters.messages_sent == len(texts)
        assert len(codes) <= 1, "closed twice"
        connection = client.connection
        ended = client.error is not None or connection.close_code is not None
        if not ended:
            assert connection.lag is None
            assert counters.messages_lost == 0
            assert delivery.push(connection, Message("9" * 20))
            assert client.got[-1] == "9" * 20
        elif client.error is None:
            assert codes == [connection.close_code], "asked to close, and never told"
            assert client.got[-1] == connection.close_code
            assert not delivery.push(connection, Message("late"))
        assert counters.slow_consumers_closed == (connection.close_code == 1013)
        running.cancel()
        await asyncio.wait([running, *driven.tasks])

    asyncio.run(drive())
