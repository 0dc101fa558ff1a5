"""The parts by themselves: times, coroutines, fan-out and drain, without a server."""

from __future__ import annotations

import asyncio
import math
import os
import signal
import threading

import pytest
from pydantic import ValidationError

from target_app.app import create_app
from target_app.connections import Connection
from target_app.eager import advance
from target_app.fanout import Fanout
from target_app.heartbeat import heartbeat
from target_app.protocol import send_back, text_message
from target_app.schedule import Ticks
from target_app.settings import Settings
from target_app.shutdown import GracefulShutdown
from target_app.stats import Counters

# Times


@pytest.mark.parametrize(
    ("now", "due"),
    [(100.0, 110.0), (99.0, 110.0), (109.999, 110.0), (110.0, 120.0), (145.0, 150.0)],
)
def test_the_next_tick_is_the_first_multiple_later_than_now(now, due):
    assert Ticks(start=100.0, interval=10.0).after(now) == due


@pytest.mark.parametrize("interval", [0.1, 1 / 3, 7.0, 1e-3])
def test_each_tick_follows_the_one_before_and_none_is_given_twice(interval):
    ticks = Ticks(start=12345.678, interval=interval)
    now = ticks.start
    for n in range(1, 2000):
        now = ticks.after(now)
        assert math.isclose(now, 12345.678 + n * interval, rel_tol=1e-12)


class Clock:
    """A clock that only sleeping moves, and that wakes up late (early, if negative)."""

    def __init__(self, *, late):
        self.now = 1000.0
        self.late = late

    def __call__(self):
        return self.now

    async def sleep(self, seconds):
        self.now += seconds + (self.late if seconds > 1 else 0)
        await asyncio.sleep(0)


async def beats(clock, *, interval, count, beat_takes=0.0):
    times = []
    enough = asyncio.Event()

    async def beat():
        times.append(clock.now)
        clock.now += beat_takes
        if len(times) == count:
            enough.set()
            await asyncio.Event().wait()

    task = asyncio.create_task(heartbeat(beat, interval, clock=clock, sleep=clock.sleep))
    await enough.wait()
    task.cancel()
    await asyncio.wait([task])
    return [round(time - 1000.0, 6) for time in times]


async def test_a_heartbeat_that_is_always_late_does_not_drift():
    assert await beats(Clock(late=0.25), interval=10.0, count=4) == [10.25, 20.25, 30.25, 40.25]


async def test_a_heartbeat_that_wakes_too_early_waits_for_its_time():
    assert await beats(Clock(late=-0.25), interval=10.0, count=3) == [10, 20, 30]


async def test_heartbeats_missed_during_a_long_beat_are_left_out():
    assert await beats(Clock(late=0.0), interval=10.0, count=3, beat_takes=25.0) == [10, 40, 70]


async def test_a_heartbeat_interval_of_0_is_no_heartbeat():
    async def beat():
        raise AssertionError

    await heartbeat(beat, 0.0)


# Coroutines


async def test_a_coroutine_that_does_not_wait_is_done_at_once():
    done = []

    async def quick():
        done.append(True)

    assert advance(quick()) is None
    assert done == [True]


async def test_a_coroutine_that_waits_goes_on_in_another_task():
    door, told = asyncio.Event(), []

    async def slow():
        for n in range(3):
            await door.wait()
            await asyncio.sleep(0)
            told.append(n)

    async def finish(rest):
        await rest

    rest = advance(slow())
    task = asyncio.create_task(finish(rest))
    await asyncio.sleep(0)
    assert told == []
    door.set()
    await task
    assert told == [0, 1, 2]


async def test_what_a_coroutine_raises_is_raised_where_it_is_run():
    async def fails(*, waits):
        if waits:
            await asyncio.sleep(0)
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        advance(fails(waits=False))
    rest = advance(fails(waits=True))
    with pytest.raises(ConnectionResetError):
        await rest


async def test_cancelling_what_is_left_cancels_the_coroutine():
    ended = []

    async def waits():
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(True)

    rest = advance(waits())
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0):
            await rest
    assert ended == [True]


# Fan-out


class Client:
    """A connection whose client can be told to stop reading, or to be gone."""

    def __init__(self):
        self.got = []
        self.reading = asyncio.Event()
        self.reading.set()
        self.gone = False
        self.connection = Connection("/ws", self.send)

    async def send(self, message):
        await self.reading.wait()
        if self.gone:
            raise ConnectionResetError
        self.got.append(message.get("text", message.get("code")))


class Room:
    """A running fan-out with some clients."""

    def __init__(self, clients, *, slow_seconds=1000.0, slow_messages=1000):
        self.clients = [Client() for _ in range(clients)]
        self.members = {client.connection for client in self.clients}
        self.counters = Counters()
        self.fanout = Fanout(
            self.counters,
            slow_consumer_seconds=slow_seconds,
            slow_consumer_messages=slow_messages,
            close_timeout_seconds=1000.0,
        )

    async def __aenter__(self):
        self.running = asyncio.create_task(self.fanout.run())
        return self

    async def __aexit__(self, *_):
        self.running.cancel()
        await asyncio.wait([self.running])

    async def say(self, *texts):
        for text in texts:
            await self.fanout.publish(text_message(text), self.members)

    async def until(self, condition):
        async with asyncio.timeout(60):
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
    async with Room(2, slow_messages=2) as room:
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
    async with Room(2, slow_seconds=0.001) as room:
        stalled, other = room.clients
        stalled.reading.clear()
        await room.say("1")
        await room.until(lambda: room.counters.slow_consumers_closed == 1)
        stalled.reading.set()
        await room.until(lambda: stalled.got == [1013])
        assert other.got == ["1"]


async def test_a_client_may_run_out_of_time_and_of_room_in_the_same_moment():
    async with Room(2, slow_seconds=0.0, slow_messages=1) as room:
        stalled, other = room.clients
        stalled.reading.clear()
        await room.say(*"123456")
        await room.until(lambda: other.got == list("123456") or room.running.done())
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


async def test_publishing_waits_when_too_much_is_queued():
    room = Room(1)  # not running: nothing is taken from the queue
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await room.say(*("more" for _ in range(1000)))


# Drain


class FakeClients:
    """Clients that leave when told, and a note of how the rest was closed."""

    def __init__(self, count):
        self.count = count
        self.left = asyncio.Event()
        self.closed_with = None

    def __len__(self):
        return self.count

    def leave(self):
        self.count = 0
        self.left.set()

    async def wait_empty(self):
        if self.count:
            await self.left.wait()

    async def close_all(self, code, reason, within_seconds):
        self.closed_with = code
        self.leave()


def drain_of(clients, *, announce=None, announce_seconds=1000.0, timeout_seconds=1000.0):
    async def nothing():
        pass

    return GracefulShutdown(
        clients,
        announce or nothing,
        announce_seconds=announce_seconds,
        timeout_seconds=timeout_seconds,
        close_timeout_seconds=1.0,
    )


async def test_a_drain_ends_when_the_last_client_has_left():
    clients = FakeClients(1)
    announced = []

    async def announce():
        announced.append(len(clients))
        if len(announced) == 3:
            clients.leave()

    drain = drain_of(clients, announce=announce, announce_seconds=0.001)
    assert not drain.draining
    drain.ask(signal.SIGTERM)
    assert drain.draining
    await drain.run()
    assert announced == [1, 1, 1]
    assert clients.closed_with is None
    assert not drain.forced


async def test_a_drain_that_times_out_closes_with_1001():
    clients = FakeClients(1)
    drain = drain_of(clients, timeout_seconds=0.0)
    drain.ask(signal.SIGTERM)
    await drain.run()
    assert clients.closed_with == 1001


async def test_an_announcement_that_cannot_be_made_does_not_hold_up_the_drain():
    clients = FakeClients(1)
    drain = drain_of(clients, announce=asyncio.Event().wait, timeout_seconds=0.001)
    drain.ask(signal.SIGTERM)
    await drain.run()
    assert clients.closed_with == 1001


async def test_two_sigints_force_the_end_with_1012():
    clients = FakeClients(1)
    drain = drain_of(clients)
    drain.ask(signal.SIGINT)
    drain.ask(signal.SIGINT)
    await drain.run()
    assert drain.forced
    assert clients.closed_with == 1012


async def test_the_kept_handler_is_called_after_the_drain_and_stays_installed():
    called = []

    def server_handler(signum, frame):
        called.append((signum, clients.count))

    before = {s: signal.signal(s, server_handler) for s in (signal.SIGINT, signal.SIGTERM)}
    try:
        clients = FakeClients(1)
        drain = drain_of(clients)
        task = asyncio.create_task(drain.run_and_hand_over())
        await asyncio.sleep(0)
        os.kill(os.getpid(), signal.SIGTERM)
        while not drain.draining:  # noqa: ASYNC110 - a loop turn, not a time
            await asyncio.sleep(0)
        assert called == []
        clients.leave()
        await task
        assert called == [(signal.SIGTERM, 0)]
        assert signal.getsignal(signal.SIGTERM) is server_handler
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


async def test_the_lifespan_leaves_the_signal_handlers_as_it_found_them():
    before = [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)]
    app = create_app(Settings(heartbeat_seconds=0))
    async with app.router.lifespan_context(app):
        await asyncio.sleep(0)
        assert signal.getsignal(signal.SIGTERM) is not before[1]
    assert [signal.getsignal(s) for s in (signal.SIGINT, signal.SIGTERM)] == before


def test_outside_the_main_thread_the_lifespan_runs_without_catching_signals():
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    async def live():
        app = create_app(Settings(heartbeat_seconds=0))
        async with app.router.lifespan_context(app):
            await asyncio.sleep(0)
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=lambda: asyncio.run(live()))
    thread.start()
    thread.join()
    assert seen == [before]


# Settings and messages


def test_settings_come_from_the_environment_and_are_fixed(monkeypatch):
    monkeypatch.setenv("TARGET_HEARTBEAT_SECONDS", "2.5")
    settings = Settings()
    assert settings.heartbeat_seconds == 2.5
    assert Settings(heartbeat_seconds=0).heartbeat_seconds == 0
    with pytest.raises(ValidationError):
        settings.heartbeat_seconds = 1.0


@pytest.mark.parametrize(
    "wrong",
    [
        {"heartbeat_seconds": -1},
        {"heartbeat_seconds": math.nan},
        {"drain_announce_seconds": 0},
        {"drain_timeout_seconds": math.inf},
        {"port": 65536},
        {"host": ""},
        {"no_such_setting": 1},
    ],
)
def test_settings_that_make_no_sense_are_refused(wrong):
    with pytest.raises(ValidationError):
        Settings(**wrong)


@pytest.mark.parametrize(
    ("received", "sent"),
    [
        ({"text": "a", "bytes": None}, {"text": "a"}),
        ({"text": ""}, {"text": ""}),
        ({"text": None, "bytes": b""}, {"bytes": b""}),
        ({"bytes": b"a"}, {"bytes": b"a"}),
    ],
)
def test_a_message_is_sent_back_in_the_type_it_came_in(received, sent):
    message = send_back({"type": "websocket.receive", **received})
    assert message == {"type": "websocket.send", **sent}
