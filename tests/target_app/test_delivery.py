"""Fan-out and slow consumers, with clients that can be told to stop reading."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.frames import Frame, Opcode
from websockets.streams import StreamReader

from target_app.connections.connection import Connection, Endpoint
from target_app.connections.delivery import Delivery
from target_app.connections.fanout import QUEUED_BROADCASTS, QUEUED_BYTES, Fanout
from target_app.connections.lag import OVERHEAD_BYTES
from target_app.counters import Counters
from target_app.message import Message, received_bytes, received_data
from target_app.settings import Settings
from tests.target_app.conftest import DEADLINE_SECONDS

ENDPOINT = Endpoint("/ws", None, None, None)


LARGE = "x" * 2000


class Client:
    """A connection whose client can be told to stop reading, or to be gone."""

    def __init__(self):
        self.got = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.gone = False
        self.error = None
        self.connection = Connection(ENDPOINT, self.send)

    async def send(self, message):
        await self.reading.wait()
        if self.gone:
            raise ConnectionResetError
        if self.error is not None:
            raise self.error
        self.got.append(message.get("text", message.get("code")))


class Room:
    """A running fan-out with some clients, through ASGI alone: no wire behind them."""

    def __init__(self, clients, **settings):
        self.clients = [Client() for _ in range(clients)]
        self.members = {client.connection for client in self.clients}
        self.counters = Counters()
        patient = {"slow_consumer_seconds": 1000.0, "close_timeout_seconds": 1000.0}
        self.delivery = Delivery(self.counters, Settings(**(patient | settings)))
        self.fanout = Fanout(self.delivery, self.counters)

    async def __aenter__(self):
        self.running = [
            asyncio.create_task(self.delivery.run()),
            asyncio.create_task(self.fanout.run()),
        ]
        await asyncio.sleep(0)
        return self

    async def __aexit__(self, *_):
        for task in self.running:
            task.cancel()
        await asyncio.wait(self.running)

    async def say(self, *texts):
        for text in texts:
            await self.fanout.publish(Message(text), self.members)

    async def until(self, condition):
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not condition():  # noqa: ASYNC110 - a loop turn, not a time
                await asyncio.sleep(0)


async def test_a_stalled_client_delays_nobody_and_gets_all_in_order_later():
    async with Room(3) as room:
        stalled, *others = room.clients
        stalled.reading.clear()
        await room.say("1", "2", "3")
        await room.until(lambda: all(c.got == ["1", "2", "3"] for c in others))
        assert stalled.got == []
        stalled.reading.set()
        await room.say("4")
        await room.until(lambda: all(c.got == ["1", "2", "3", "4"] for c in room.clients))
        assert room.counters.messages_sent == 12
        await room.until(lambda: stalled.connection.lag is None)


async def test_a_client_with_too_many_waiting_messages_is_closed_with_1013():
    async with Room(2, slow_consumer_messages=2) as room:
        stalled, other = room.clients
        stalled.reading.clear()
        await room.say(*"12345")
        await room.until(lambda: room.counters.slow_consumers_closed == 1)
        stalled.reading.set()
        await room.until(lambda: stalled.got == [1013])
        await room.say("6")
        await room.until(lambda: other.got == list("123456"))
        assert stalled.got == [1013]
        assert room.counters.slow_consumers_closed == 1


async def test_a_client_that_lets_one_message_wait_too_long_is_closed_with_1013():
    async with Room(2, slow_consumer_seconds=0.001) as room:
        stalled, other = room.clients
        stalled.reading.clear()
        await room.say("1")
        await room.until(lambda: room.counters.slow_consumers_closed == 1)
        stalled.reading.set()
        await room.until(lambda: stalled.got == [1013])
        assert other.got == ["1"]


async def test_a_client_may_run_out_of_time_and_of_room_in_the_same_moment():
    async with Room(2, slow_consumer_seconds=1e-9, slow_consumer_messages=1) as room:
        stalled, other = room.clients
        stalled.reading.clear()
        await room.say(*"123456")
        await room.until(
            lambda: other.got == list("123456") or any(task.done() for task in room.running)
        )
        assert room.counters.slow_consumers_closed == 1


async def test_a_client_that_is_gone_is_passed_over_at_once_or_while_it_lags():
    async with Room(3) as room:
        gone, leaving, other = room.clients
        gone.gone = True
        leaving.reading.clear()
        await room.say("1", "2")
        await room.until(lambda: other.got == ["1", "2"])
        leaving.gone = True
        leaving.reading.set()
        await room.say("3")
        await room.until(lambda: other.got == ["1", "2", "3"])
        assert gone.got == leaving.got == []
        assert room.counters.messages_sent == 3
        assert room.counters.slow_consumers_closed == 0


async def test_a_connection_that_fails_in_any_way_ends_nothing_for_the_others():
    async with Room(3) as room:
        broken, breaking, other = room.clients
        broken.error = ValueError("expected in this test")
        breaking.reading.clear()
        await room.say("1")
        await room.until(lambda: other.got == ["1"])
        breaking.error = ValueError("expected in this test")
        breaking.reading.set()
        await room.say("2", "3")
        await room.until(lambda: other.got == ["1", "2", "3"])
        assert broken.got == breaking.got == []


@pytest.mark.parametrize("error", [RuntimeError, ValueError])
async def test_a_connection_that_fails_is_closed_with_1011_and_tried_no_more(error, caplog):
    async with Room(2) as room:
        broken, other = room.clients
        broken.error = error("expected in this test")
        await room.say("1")
        await room.until(lambda: other.got == ["1"] and broken.connection.close_code == 1011)
        broken.error = None
        await room.say("2", "3")
        await room.until(lambda: other.got == ["1", "2", "3"])
        assert broken.got == []
        assert (room.counters.messages_sent, room.counters.messages_lost) == (3, 3)
    assert caplog.messages[0] == "sending to unknown:0"


async def test_a_close_never_waits_for_the_client():
    async with Room(1) as room:
        stalled = room.clients[0]
        stalled.reading.clear()
        async with asyncio.timeout(DEADLINE_SECONDS):
            await room.delivery.close(stalled.connection, 1001, "enough")
        assert stalled.got == []
        stalled.reading.set()
        await room.until(lambda: stalled.got == [1001])


async def test_clients_may_come_and_go_while_a_broadcast_is_under_way():
    async with Room(1000) as room:
        await room.say("1")
        while not room.counters.messages_sent:  # noqa: ASYNC110 - a loop turn, not a time
            await asyncio.sleep(0)
        assert room.counters.messages_sent < 1000, "the loop was held for the whole broadcast"
        late = Client()
        room.members.add(late.connection)
        room.members.remove(room.clients[0].connection)
        await room.until(lambda: room.counters.messages_sent == 1000)
        await room.say("2")
        await room.until(lambda: late.got == ["2"])


@pytest.mark.parametrize(
    ("size", "admitted"),
    [(4, QUEUED_BROADCASTS), (QUEUED_BYTES // 8, 7), (QUEUED_BYTES + 1, 1)],
)
async def test_publishing_waits_when_too_much_is_queued_by_count_or_by_bytes(size, admitted):
    room = Room(1)
    message = Message("x" * size)
    publishing = [
        asyncio.create_task(room.fanout.publish(message, room.members)) for _ in range(1000)
    ]
    await asyncio.sleep(0)
    assert sum(task.done() for task in publishing) == admitted
    async with room:
        await asyncio.wait(publishing)
        await room.until(lambda: len(room.clients[0].got) == 1000)


async def test_a_broadcast_that_fails_is_told_to_who_counts_and_the_next_one_goes_out(caplog):
    def failing():
        raise ValueError("expected in this test")
        yield

    async with Room(1) as room:
        with pytest.raises(ValueError, match="expected"):
            await room.fanout.publish_and_count(Message("1"), failing())
        await room.fanout.publish(Message("2"), failing())
        assert await room.fanout.publish_and_count(Message("3"), room.members) == 1
        await room.fanout.flush()
    assert [record.message for record in caplog.records] == ["a broadcast of 3 bytes"]


async def test_nobody_waits_for_a_fan_out_that_has_ended():
    room = Room(300)
    async with room:
        counting = [
            asyncio.create_task(room.fanout.publish_and_count(Message("x"), room.members))
            for _ in range(2 * QUEUED_BROADCASTS)
        ]
        await room.until(lambda: room.counters.messages_sent)
    async with asyncio.timeout(DEADLINE_SECONDS):
        counts = await asyncio.gather(*counting)
        assert counts[-1] == await room.fanout.publish_and_count(Message("x"), room.members) == 0
        await room.fanout.publish(Message("x"), room.members)
        await room.fanout.flush()


@pytest.mark.parametrize(
    ("policy", "got"), [("drop-oldest", list("145")), ("drop-newest", list("123"))]
)
async def test_a_full_queue_drops_what_the_policy_says_and_closes_nobody(policy, got):
    async with Room(2, slow_consumer_messages=2, slow_consumer_policy=policy) as room:
        stalled, other = room.clients
        stalled.reading.clear()
        await room.say(*"12345")
        await room.until(lambda: other.got == list("12345"))
        stalled.reading.set()
        await room.until(lambda: stalled.got == got)
        assert room.counters.messages_dropped == 2
        assert room.counters.slow_consumers_closed == 0


async def test_a_queue_is_bounded_in_bytes_too():
    size = 100_000
    async with Room(1, slow_consumer_bytes=10 * size, slow_consumer_policy="drop-oldest") as room:
        stalled = room.clients[0]
        stalled.reading.clear()
        await room.say(*(f"{n:>{size}}" for n in range(50)))
        await room.until(lambda: room.counters.broadcasts == 50)
        state = stalled.connection.lag.state
        assert state.bytes == sum(len(m.frame) + OVERHEAD_BYTES for m in state.waiting)
        assert state.bytes <= 10 * size
        assert room.counters.messages_dropped == 50 - 1 - len(state.waiting)


@pytest.mark.parametrize(
    ("policy", "got"),
    [("drop-newest", ["1", LARGE]), ("drop-oldest", ["1", "3"]), ("disconnect", [1013])],
)
async def test_a_message_larger_than_the_whole_bound_waits_alone(policy, got):
    async with Room(1, slow_consumer_bytes=1000, slow_consumer_policy=policy) as room:
        stalled = room.clients[0]
        stalled.reading.clear()
        await room.say("1", LARGE, "3")
        await room.until(lambda: room.counters.broadcasts == 3)
        stalled.reading.set()
        await room.until(lambda: stalled.got == got)


async def test_a_close_comes_after_everything_that_waits():
    async with Room(1) as room:
        stalled = room.clients[0]
        stalled.reading.clear()
        await room.say("1", "2", "3")
        await room.until(lambda: room.counters.broadcasts == 3)
        await room.delivery.close(stalled.connection, 1001, "enough")
        assert not room.delivery.push(stalled.connection, Message("too late"))
        stalled.reading.set()
        await room.until(lambda: stalled.got == ["1", "2", "3", 1001])


async def test_the_slow_consumer_code_is_the_one_of_the_settings():
    async with Room(1, slow_consumer_messages=1, slow_consumer_code=1008) as room:
        stalled = room.clients[0]
        stalled.reading.clear()
        await room.say("1", "2", "3")
        await room.until(lambda: room.counters.slow_consumers_closed == 1)
        stalled.reading.set()
        await room.until(lambda: stalled.got == [1008])


async def test_how_many_a_broadcast_was_handed_to_is_told_when_its_turn_has_come():
    async with Room(5) as room:
        room.clients[0].gone = True
        room.clients[1].reading.clear()
        assert await room.fanout.publish_and_count(Message("1"), room.members) == 4
        assert await room.fanout.publish_and_count(Message("2"), ()) == 0


async def test_a_flush_returns_when_everything_published_was_handed_over():
    async with Room(300) as room:
        await room.say("1", "2", "3")
        await room.fanout.flush()
        assert all(client.got == ["1", "2", "3"] for client in room.clients)


@pytest.mark.parametrize(
    ("received", "data"),
    [
        ({"text": "a", "bytes": None}, "a"),
        ({"text": ""}, ""),
        ({"text": None, "bytes": b""}, b""),
        ({"bytes": b"a"}, b"a"),
    ],
)
def test_a_message_is_taken_in_the_type_it_came_in(received, data):
    message = {"type": "websocket.receive", **received}
    assert received_data(message) == data
    assert received_bytes(message) == len(data.encode() if isinstance(data, str) else data)


@given(st.one_of(st.text(), st.binary()), st.integers(min_value=0, max_value=70_000))
def test_a_prepared_frame_is_what_a_client_takes_for_the_message(data, padding):
    data += ("x" if isinstance(data, str) else b"x") * padding
    reader = StreamReader()
    reader.feed_data(Message(data).frame)
    parsing = Frame.parse(reader.read_exact, mask=False)
    with pytest.raises(StopIteration) as parsed:
        next(parsing)
    frame = parsed.value.value
    assert frame.fin
    assert (frame.rsv1, frame.rsv2, frame.rsv3) == (False, False, False)
    assert frame.opcode is (Opcode.TEXT if isinstance(data, str) else Opcode.BINARY)
    assert bytes(frame.data) == (data.encode() if isinstance(data, str) else data)
