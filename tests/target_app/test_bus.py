"""The bus: one contract for both makes, over real Unix sockets and a real Redis."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import sys

import pytest
import zmq
from hypothesis import given
from hypothesis import strategies as st

from target_app.bus.hub import Envelope, Hub
from target_app.bus.local import LocalBus
from target_app.bus.make import make_bus
from target_app.bus.parts import Assembly, split
from target_app.bus.redis import RedisBus
from target_app.bus.sequence import Arrivals, Stamp
from target_app.bus.zmq import ZmqBus
from target_app.counters import Counters
from target_app.redis_client import EndingConnection, make_redis
from target_app.stats.collector import StatsCollector
from tests.target_app.conftest import DEADLINE_SECONDS

MAKES = pytest.mark.parametrize("make", ["zmq", "redis"])


class Worker:
    """A running bus, and what it was given."""

    def __init__(self, bus):
        self.bus = bus
        self.got = []
        self.ready = asyncio.Event()

    def deliver(self, payload):
        self.got.append(payload)

    async def start(self):
        self.task = asyncio.create_task(self.bus.run(self.deliver, self.ready))
        async with asyncio.timeout(DEADLINE_SECONDS):
            await self.ready.wait()
        return self

    async def stop(self):
        self.task.cancel()
        await asyncio.wait([self.task])


class Picky(list):
    """A list that refuses some payloads."""

    def append(self, payload):
        if payload == b"bad":
            raise RuntimeError("expected in this test")
        super().append(payload)


async def until(condition):
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not condition():  # noqa: ASYNC110 - the state is ZeroMQ's or Redis's
            await asyncio.sleep(0.002)


@pytest.fixture
async def workers(request, tmp_path, make):
    """Make running workers, ``await workers(3)``; those that are there know each other."""
    url = request.getfixturevalue("redis").url if make == "redis" else "zmq"
    async with contextlib.AsyncExitStack() as stack:
        names = iter(range(100))

        async def more(count):
            made = []
            for _ in range(count):
                bus = make_bus(url, directory=tmp_path, name=f"{next(names)}-1")
                made.append(await Worker(bus).start())
                stack.push_async_callback(made[-1].stop)
            return made

        yield more


@MAKES
async def test_a_payload_reaches_every_other_worker_and_not_its_own(workers):
    one, two, three = await workers(3)
    assert await one.bus.publish(b"hello") == 2
    await until(lambda: two.got == three.got == [b"hello"])
    assert await two.bus.publish(b"") == 2
    await until(lambda: one.got == [b""] and three.got == [b"hello", b""])
    assert one.bus.status.published == 1
    assert three.bus.status.received == 2
    assert one.bus.status.peers == 2


@MAKES
async def test_the_order_of_each_publisher_is_kept(workers):
    publishers = await workers(3)
    [receiver] = await workers(1)
    each = 1500

    async def publish_all(name, worker):
        for n in range(each):
            await worker.bus.publish(b"%d:%d" % (name, n))

    async with asyncio.TaskGroup() as group:
        for name, worker in enumerate(publishers):
            group.create_task(publish_all(name, worker))
    await until(lambda: len(receiver.got) == 3 * each)
    for name in range(3):
        own = [payload for payload in receiver.got if payload.startswith(b"%d:" % name)]
        assert own == [b"%d:%d" % (name, n) for n in range(each)]
    assert receiver.bus.status.missed == 0


@MAKES
async def test_a_newcomer_gets_everything_from_the_moment_it_is_ready(workers):
    [first] = await workers(1)
    await first.bus.publish(b"nobody is there")
    [newcomer] = await workers(1)
    for n in range(100):
        assert await first.bus.publish(b"%d" % n) == 1
    await until(lambda: newcomer.got == [b"%d" % n for n in range(100)])
    assert newcomer.bus.status.missed == 0


@MAKES
async def test_a_worker_that_ends_is_no_longer_published_to(workers):
    one, two, leaving = await workers(3)
    assert await one.bus.publish(b"1") == 2
    await leaving.stop()

    async def only_one_is_left():
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await one.bus.publish(b"2") != 1:  # noqa: ASYNC110 - Redis's state
                await asyncio.sleep(0.002)

    await only_one_is_left()
    await until(lambda: b"2" in two.got)


@MAKES
async def test_what_a_receiver_raises_is_its_own_affair(workers):
    one, two = await workers(2)
    two.got = Picky()
    for payload in (b"good", b"bad", b"good again"):
        await one.bus.publish(payload)
    await until(lambda: two.got == [b"good", b"good again"])


# ZeroMQ


async def zmq_pair(tmp_path, **options):
    return [await Worker(ZmqBus(tmp_path, f"{n}-1", **options)).start() for n in (1, 2)]


async def test_a_stuck_peer_is_passed_over_and_delays_nobody(tmp_path):
    one, two = await zmq_pair(tmp_path, queued=10)
    with zmq.Context() as context, context.socket(zmq.PULL) as stuck:
        stuck.setsockopt(zmq.RCVHWM, 10)
        stuck.bind(f"ipc://{tmp_path / '3-1.bus'}")
        payload = b"x" * 100_000
        published = 0
        while one.bus.status.dropped < 5:
            await one.bus.publish(payload)
            published += 1
            await until(lambda: len(two.got) == published)  # noqa: B023
        assert two.bus.status.missed == 0
    await one.stop()
    await two.stop()


async def test_the_file_of_a_dead_peer_removed_is_the_end_of_it(tmp_path):
    one, two = await zmq_pair(tmp_path)
    (tmp_path / "9-9.bus").touch()
    await until(lambda: one.bus.status.peers == 2)
    assert await one.bus.publish(b"1") == 2
    (tmp_path / "9-9.bus").unlink()
    await until(lambda: one.bus.status.peers == 1)
    assert await one.bus.publish(b"2") == 1
    await until(lambda: two.got == [b"1", b"2"])
    await one.stop()
    await two.stop()


async def test_what_was_published_last_is_not_lost_when_the_bus_ends(tmp_path):
    one, two = await zmq_pair(tmp_path)
    for n in range(1000):
        await one.bus.publish(b"%d" % n)
    await one.stop()
    await until(lambda: len(two.got) == 1000)
    assert not (tmp_path / "1-1.bus").exists()
    await two.stop()


OTHER_PROCESS = """
import asyncio, pathlib, sys
from target_app.bus.zmq import ZmqBus
from target_app.stats.collector import StatsCollector
from target_app.counters import Counters

async def main():
    bus = ZmqBus(pathlib.Path(sys.argv[1]), "777-1")
    ready = asyncio.Event()
    echo = lambda payload: asyncio.ensure_future(bus.publish(b"back:" + payload))
    running = asyncio.create_task(bus.run(echo, ready))
    await ready.wait()
    print("ready", flush=True)
    await running

asyncio.run(main())
"""


async def test_another_process_is_reached_and_its_violent_death_disturbs_nobody(tmp_path):
    one, two = await zmq_pair(tmp_path)
    other = await asyncio.create_subprocess_exec(
        sys.executable, "-c", OTHER_PROCESS, str(tmp_path), stdout=asyncio.subprocess.PIPE
    )
    assert await other.stdout.readline() == b"ready\n"
    assert await one.bus.publish(b"hello") == 2
    # Two publishers: either may be heard first.
    await until(lambda: one.got == [b"back:hello"] and {*two.got} == {b"hello", b"back:hello"})
    other.kill()
    await other.wait()
    assert await one.bus.publish(b"still here") == 2, "its file is still there"
    (tmp_path / "777-1.bus").unlink()
    one.bus.look_around()
    assert await one.bus.publish(b"and gone") == 1
    await until(lambda: two.got[-1] == b"and gone")
    await one.stop()
    await two.stop()


async def test_two_that_start_in_the_same_instant_always_find_each_other(tmp_path):
    for n in range(200):
        directory = tmp_path / str(n)
        directory.mkdir()
        one, two = [Worker(ZmqBus(directory, f"{name}-1")) for name in (1, 2)]
        async with asyncio.TaskGroup() as group:
            for worker in (one, two):
                group.create_task(worker.start())
        # At once: what a later look into the directory finds comes too late for this.
        assert await one.bus.publish(b"from one") == 1, n
        assert await two.bus.publish(b"from two") == 1, n
        await until(lambda: (one.got, two.got) == ([b"from two"], [b"from one"]))  # noqa: B023
        async with asyncio.TaskGroup() as group:
            for worker in (one, two):
                group.create_task(worker.stop())


async def test_a_newcomer_is_found_whatever_the_time_of_the_directory_says(tmp_path):
    one = await Worker(ZmqBus(tmp_path, "1-1")).start()
    await one.bus.publish(b"nobody is there")
    before = tmp_path.stat()
    two = await Worker(ZmqBus(tmp_path, "2-1")).start()
    # As if both had happened within one tick of the file system's clock.
    os.utime(tmp_path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert await one.bus.publish(b"hello") == 1
    await until(lambda: two.got == [b"hello"])
    await one.stop()
    await two.stop()


async def test_those_that_come_and_go_at_once_know_all_who_stay(tmp_path):
    staying = [await Worker(ZmqBus(tmp_path, f"{n}-1")).start() for n in range(2)]
    for n in range(20):
        passing = [Worker(ZmqBus(tmp_path, f"{n}-{name}")) for name in (2, 3, 4)]
        async with asyncio.TaskGroup() as group:
            for worker in passing:
                group.create_task(worker.start())
        for worker in (*staying, *passing):
            assert await worker.bus.publish(b"") == 4
        async with asyncio.TaskGroup() as group:
            for worker in passing:
                group.create_task(worker.stop())
        await until(lambda: all(worker.bus.status.peers == 1 for worker in staying))
    for worker in staying:
        assert worker.bus.status.missed == 0
        await worker.stop()


async def test_a_newcomer_does_not_wait_long_for_a_peer_that_does_not_answer(tmp_path):
    (tmp_path / "9-9.bus").touch()
    one, two = await zmq_pair(tmp_path)
    assert await one.bus.publish(b"hello") == 2
    await until(lambda: two.got == [b"hello"])
    await one.stop()
    await two.stop()


async def test_what_waits_for_a_stuck_peer_is_bounded_in_bytes(tmp_path):
    one, two = await zmq_pair(tmp_path, queued_bytes=3_000_000)
    with zmq.Context() as context, context.socket(zmq.PULL) as stuck:
        stuck.setsockopt(zmq.RCVHWM, 1)
        stuck.bind(f"ipc://{tmp_path / '3-1.bus'}")
        one.bus.look_around()
        payload = bytes(1_000_000)
        for published in range(1, 101):
            await one.bus.publish(payload)
            await until(lambda: len(two.got) == published)  # noqa: B023
        # 3 wait here, 16 MiB in ZeroMQ's own queue, and some in the two sockets' buffers.
        assert one.bus.status.dropped >= 100 - 3 - 17 - 10
        assert two.bus.status.missed == 0
        assert all(got == payload for got in two.got)
    await one.stop()
    await two.stop()


async def test_a_payload_larger_than_the_bound_still_passes_alone(tmp_path):
    one, two = await zmq_pair(tmp_path, queued_bytes=1000)
    payload = random.Random(1).randbytes(3_000_000)
    assert await one.bus.publish(payload) == 1
    await until(lambda: two.got == [payload])
    await one.stop()
    await two.stop()


def test_a_path_too_long_for_a_socket_is_told(tmp_path):
    with pytest.raises(ValueError, match="too long for a socket's path"):
        ZmqBus(tmp_path / ("x" * 100), "1-1")


# Redis


async def test_redis_may_go_away_and_come_back(redis):
    one, two = [await Worker(RedisBus(redis.url)).start() for _ in range(2)]
    assert await one.bus.publish(b"before") == 1
    await until(lambda: two.got == [b"before"])
    redis.kill()
    await until(lambda: not one.bus.status.connected and not two.bus.status.connected)
    async with asyncio.timeout(DEADLINE_SECONDS):
        assert [await one.bus.publish(b"lost") for _ in range(7)] == [0] * 7
    assert one.bus.status.dropped == 7
    redis.start()
    await until(lambda: one.bus.status.connected and two.bus.status.connected)
    assert await one.bus.publish(b"after") == 1
    await until(lambda: two.got == [b"before", b"after"])
    assert two.bus.status.missed == 7
    assert (two.bus.status.reconnects, one.bus.status.reconnects) == (1, 1)
    assert two.bus.status.gap_seconds > 0
    await one.stop()
    await two.stop()


async def test_a_bus_starts_without_redis_and_finds_it_later(redis):
    redis.kill()
    one, two = [await Worker(RedisBus(redis.url)).start() for _ in range(2)]
    assert not one.bus.status.connected
    assert await one.bus.publish(b"lost") == 0
    redis.start()
    await until(lambda: one.bus.status.connected and two.bus.status.connected)
    await one.bus.publish(b"found")
    await until(lambda: two.got == [b"found"])
    await one.stop()
    await two.stop()


async def test_a_redis_that_hangs_is_noticed(redis, monkeypatch):
    monkeypatch.setattr("target_app.bus.redis.TIMEOUT_SECONDS", 0.2)
    worker = await Worker(RedisBus(redis.url)).start()
    redis.process.send_signal(19)  # SIGSTOP
    try:
        await until(lambda: not worker.bus.status.connected)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await worker.bus.publish(b"into the void")
    finally:
        redis.process.send_signal(18)
    await until(lambda: worker.bus.status.connected)
    await worker.stop()


async def test_a_bus_ends_whenever_it_is_asked_to(redis, monkeypatch):
    """Also in the moment in which a ping is written, of which there is one all the while here."""
    monkeypatch.setattr("target_app.bus.redis.TIMEOUT_SECONDS", 0.002)
    for number in range(300):
        worker = await Worker(RedisBus(redis.url)).start()
        await asyncio.sleep(number % 10 * 0.0005)
        async with asyncio.timeout(DEADLINE_SECONDS):
            await worker.stop()


async def test_a_task_whose_cancellation_a_library_swallows_ends_all_the_same():
    class Swallowing:
        used = True

        async def send_packed_command(self, command, check_health):
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.Event().wait()

        async def disconnect(self, nowait):
            self.used = False

    class Connection(EndingConnection, Swallowing):
        pass

    connection, goes_on = Connection(), []

    async def work():
        await connection.send_packed_command("PING")
        goes_on.append(True)

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert not goes_on
    assert not connection.used


async def test_a_task_that_ends_may_still_write(redis):
    """As what says goodbye does: its own cancellation is behind it."""
    said = []

    async def work():
        async with make_redis(redis.url, connections=1) as client:
            try:
                await asyncio.Event().wait()
            finally:
                said.append(await client.ping())

    task = asyncio.create_task(work())
    await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait([task])
    assert task.cancelled()
    assert said == [True]


async def test_what_is_said_after_redis_closed_an_idle_connection_is_heard_once(redis):
    one, two = [await Worker(RedisBus(redis.url)).start() for _ in range(2)]
    for n in range(30):
        redis.close_connections("normal")
        assert await one.bus.publish(b"%d" % n) == 1
        await until(lambda: len(two.got) > n)  # noqa: B023
    assert two.got == [b"%d" % n for n in range(30)]
    assert (one.bus.status.dropped, two.bus.status.missed) == (0, 0)
    await one.stop()
    await two.stop()


async def test_a_subscription_that_redis_closed_is_made_again_and_the_gap_is_counted(redis):
    one, two = [await Worker(RedisBus(redis.url)).start() for _ in range(2)]
    redis.close_connections("pubsub")
    published = 0
    while not two.got:
        await one.bus.publish(b"%d" % published)
        published += 1
    await until(lambda: len(two.got) + two.bus.status.missed + int(two.got[0]) >= published)
    await one.stop()
    await two.stop()


@pytest.mark.parametrize(("bound", "most"), [("QUEUED", 10), ("QUEUED_BYTES", 200)])
async def test_nobody_who_posts_waits_for_a_redis_that_hangs(redis, monkeypatch, bound, most):
    monkeypatch.setattr("target_app.redis_client.TIMEOUT_SECONDS", 600.0)
    monkeypatch.setattr(f"target_app.bus.redis.{bound}", most)
    worker = await Worker(RedisBus(redis.url)).start()
    redis.pause()
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            for _ in range(500):
                await worker.bus.post(b"into the void")
        assert worker.bus.status.dropped >= 480
    finally:
        redis.resume()
        await worker.stop()


# Which, and numbers


async def test_without_other_workers_there_is_nobody_to_publish_to():
    worker = await Worker(LocalBus()).start()
    assert await worker.bus.publish(b"hello") == 0
    await worker.stop()
    assert worker.got == []


@pytest.mark.parametrize("url", ["", "nats://localhost", "redis", "zmq://x"])
def test_an_unknown_bus_is_told_by_name(tmp_path, url):
    with pytest.raises(ValueError, match=f"no bus {url!r}"):
        make_bus(url, directory=tmp_path, name="1-1")


@given(st.lists(st.tuples(st.integers(0, 2), st.booleans()), max_size=60))
def test_what_is_missed_is_what_was_lost_between_two_that_arrived(sent):
    stamps = [Stamp() for _ in range(3)]
    arrivals = Arrivals(own=b"somebody")
    arrived, pending, expected = set(), [0, 0, 0], 0
    for publisher, arrives in sent:
        packet = stamps[publisher].put(b"payload")
        if not arrives:
            pending[publisher] += publisher in arrived
            continue
        assert arrivals.take(packet) == b"payload"
        arrived.add(publisher)
        expected += pending[publisher]
        pending[publisher] = 0
    assert arrivals.missed == expected


@given(st.lists(st.integers(1, 3), max_size=20))
def test_a_packet_that_comes_again_is_taken_once(times):
    stamp, arrivals = Stamp(), Arrivals(own=b"somebody")
    taken = []
    for n, count in enumerate(times):
        packet = stamp.put(b"%d" % n)
        taken += [arrivals.take(packet) for _ in range(count)]
    assert [payload for payload in taken if payload is not None] == [
        b"%d" % n for n in range(len(times))
    ]
    assert arrivals.missed == 0


def test_our_own_packets_are_not_taken_and_what_is_none_is_an_error():
    stamp = Stamp()
    arrivals = Arrivals(own=stamp.publisher)
    assert arrivals.take(stamp.put(b"mine")) is None
    with pytest.raises(ValueError, match="no header"):
        arrivals.take(b"short")


# Parts


@given(
    st.lists(st.tuples(st.sampled_from([b"publish1", b"publish2"]), st.binary(max_size=40))),
    st.integers(1, 10),
    st.randoms(use_true_random=False),
)
def test_packets_come_out_of_their_parts_however_publishers_interleave(sent, part_bytes, draw):
    queues = {name: [] for name in (b"publish1", b"publish2")}
    for publisher, packet in sent:
        queues[publisher] += split(publisher, packet, part_bytes)
    got = {name: [] for name in queues}
    assembly = Assembly()
    while waiting := [name for name, parts in queues.items() if parts]:
        name = draw.choice(waiting)
        part = queues[name].pop(0)
        assert len(part) <= part_bytes + 9
        if (packet := assembly.take(part)) is not None:
            got[name].append(packet)
    for name, packets in got.items():
        assert packets == [packet for publisher, packet in sent if publisher == name]


def test_what_a_publisher_did_not_end_is_forgotten():
    assembly = Assembly()
    first, *_ = split(b"publish1", b"abcdef", 2)
    assert assembly.take(first) is None
    assembly.forget(b"publish1")
    [whole] = split(b"publish1", b"x")
    assert assembly.take(whole) == b"x"


# The hub


async def test_what_waits_to_be_handled_is_bounded_in_bytes_and_the_overflow_counted_as_missed():
    hub = Hub(LocalBus())
    payload = Envelope("slow", data=bytes(2**24)).encode()
    for _ in range(6):
        hub._deliver(payload)
    assert hub.overflowed == 3
    hub.bus.status.missed = 1
    told = StatsCollector(Counters(), None, None, None, (), None, hub)._bus()
    assert (told.missed, told.dropped) == (4, 0)
