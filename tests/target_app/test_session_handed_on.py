"""Whoever loses a session hands on what was not kept of it, also if nobody could ask for it."""

from __future__ import annotations

import asyncio
import contextlib
import json

import pytest

from target_app.bus import BusStatus
from target_app.bus.hub import Hub
from target_app.connections.connection import Connection, Endpoint
from target_app.connections.names import ClientId
from target_app.connections.registry import ConnectionManager
from target_app.counters import Counters
from target_app.protocol import SESSIONS, CloseCode
from target_app.sessions.registry import Sessions
from target_app.sessions.session import session_of
from target_app.sessions.state import NOBODY, Claim, compact, from_text, to_text
from target_app.sessions.store import Opened, StoreUnavailableError
from target_app.settings import Settings
from tests.target_app.conftest import until

READER = ClientId(SESSIONS, "reader")


class SharedStore:
    """What all workers share of one session, as one of them reaches it."""

    remote = True
    generation = "one"
    newest = NOBODY

    def __init__(self, kept):
        self.kept = kept
        self.available = True
        self.reaches = True
        self.answers_open = asyncio.Event()
        self.answers_open.set()
        self.opening = 0

    def _check(self):
        self.available = self.reaches
        if not self.reaches:
            raise StoreUnavailableError

    async def ask(self):
        self.available = self.reaches
        return self.available

    async def open(self, _session_id, _owner, claim):
        self._check()
        claim = Claim(max(claim.number, self.kept["claim"].number + 1), claim.worker)
        self.kept["claim"] = claim
        text = self.kept.get("text")
        self.opening += 1
        await self.answers_open.wait()
        self.opening -= 1
        return Opened(claim, None if text is None else from_text(text))

    async def save(self, _session_id, state, claim):
        self._check()
        if self.kept["claim"] > claim:
            return False
        self.kept |= {"claim": claim, "text": to_text(state)}
        return True

    async def touch(self, _session_id, _state, claim):
        self._check()
        return self.kept["claim"] <= claim

    async def answers(self, _session_id):
        return []

    async def nothing(self, *_):
        pass

    close = sweep = forget = offer = taken = withdraw = nothing

    def owned_by_other(self, *_):
        return False


class Air:
    """A bus whose workers may be deaf to it."""

    def __init__(self, buses):
        self.status = BusStatus("redis", connected=True)
        self.hears = True
        self._deliver = None
        self._buses = buses
        buses.append(self)

    async def run(self, deliver, ready):
        self._deliver = deliver
        ready.set()
        await asyncio.Event().wait()

    async def publish(self, payload):
        others = [bus for bus in self._buses if bus is not self and bus.hears]
        for bus in others:
            bus._deliver(payload)
        return len(others)

    post = publish

    def look_around(self):
        pass


class Worker:
    """A worker's sessions, and what their clients were told."""

    def __init__(self, kept, buses):
        self.store = SharedStore(kept)
        self.bus = Air(buses)
        self.hub = Hub(self.bus)
        self.connections = ConnectionManager(Counters(), Settings())
        self.told = []
        self.sessions = Sessions(
            self.connections, self, self.hub, self.store, session_seconds=300, unsaved_bytes=2**20
        )

    async def run(self):
        async with asyncio.TaskGroup() as group:
            group.create_task(self.hub.run())
            await self.hub.ready.wait()
            group.create_task(self.sessions.run())

    def push(self, connection, message):
        told = json.loads(message.data)
        if told["type"] == "SESSION_RESTORED":
            self.told.append((connection, told["payload"]["page"]))
        return True

    async def close(self, connection, code, _reason):
        connection.close_code = code

    async def connect(self, owner=None):
        connection = Connection(Endpoint("/"), None, id=READER, identity=owner)
        self.connections.add(connection)
        await self.sessions.open(connection)
        return connection

    async def note(self, connection, number):
        await self.sessions.progress(connection, compact({"page": number}))

    async def leave(self, connection):
        self.connections.remove(connection, 1000)
        await self.sessions.close(connection)

    @property
    def waiting(self):
        return self.sessions._keeper.waiting(READER.name)


class Place:
    """Workers that share what is kept of a session."""

    def __init__(self):
        self.kept = {"claim": NOBODY}
        self._buses = []
        self._tasks = asyncio.TaskGroup()
        self._running = []

    async def worker(self):
        worker = Worker(self.kept, self._buses)
        self._running.append(self._tasks.create_task(worker.run()))
        await worker.hub.ready.wait()
        return worker

    async def until_kept(self, number):
        async def kept():
            text = self.kept.get("text", "{}")
            return json.loads(text).get("progress") == {"page": number}

        await until(kept)


@pytest.fixture
async def place():
    found = Place()
    with contextlib.suppress(asyncio.CancelledError):
        async with found._tasks:
            yield found
            for running in found._running:
                running.cancel()


async def nobody_waits(worker):
    async def so():
        return worker.waiting is None

    await until(so)


async def moved_on_unheard(place):
    """Have a session at page 4 at a worker that reaches nobody, and then at another one.

    Return both workers and the connection at the other, which knows of page 3.
    """
    deaf, other = await place.worker(), await place.worker()
    client = await deaf.connect()
    await deaf.note(client, 3)
    await place.until_kept(3)
    deaf.store.reaches = deaf.bus.hears = False
    await deaf.note(client, 4)
    await deaf.leave(client)
    again = await other.connect()
    return deaf, other, again


async def test_what_a_worker_has_that_was_not_asked_comes_once_it_can_be_kept(place):
    deaf, other, again = await moved_on_unheard(place)
    assert other.told == [(again, 3)]
    deaf.store.reaches = True
    await place.until_kept(4)
    assert other.told == [(again, 3), (again, 4)]
    assert deaf.waiting is not None, "that somebody has it was said to nobody else"
    deaf.bus.hears = True
    await nobody_waits(deaf)


async def test_what_was_noted_since_is_newer_than_what_is_handed_on(place):
    deaf, other, again = await moved_on_unheard(place)
    await other.note(again, 9)
    deaf.store.reaches = deaf.bus.hears = True
    await nobody_waits(deaf)
    assert other.told == [(again, 3)]
    await place.until_kept(9)


@pytest.mark.parametrize("workers", [1, 2])
async def test_what_a_session_has_that_is_just_being_read_moves_with_it(place, workers):
    here = await place.worker()
    there = await place.worker() if workers == 2 else here
    read = await here.connect()
    await here.note(read, 87)
    await place.until_kept(87)
    here.store.reaches = False
    await here.note(read, 88)
    await here.leave(read)
    unread = await here.connect()
    assert not session_of(unread).loaded
    here.store.answers_open.clear()
    here.store.reaches = True

    async def is_being_read():
        return here.store.opening

    await until(is_being_read)
    if there is here:  # only the one who asks now is answered
        slow, here.store.answers_open = here.store.answers_open, asyncio.Event()
        here.store.answers_open.set()
    else:
        slow = here.store.answers_open
    again = await there.connect()
    assert there.told[-1] == (again, 88)
    slow.set()
    await place.until_kept(88)
    assert unread.close_code is None or session_of(unread).lost


@pytest.mark.parametrize("notes", [True, False])
@pytest.mark.parametrize("workers", [1, 2])
async def test_what_was_read_is_kept_also_if_its_reader_came_back_and_left_meanwhile(
    place, workers, notes
):
    here = await place.worker()
    there = await place.worker() if workers == 2 else here
    read = await here.connect()
    await here.note(read, 87)
    await place.until_kept(87)
    here.store.reaches = there.store.reaches = False
    await here.note(read, 88)
    await here.leave(read)
    unread = await there.connect()
    assert there.told[-1] == (unread, 88)
    if notes:
        await there.note(unread, 89)
    await there.leave(unread)
    here.store.reaches = there.store.reaches = True
    await place.until_kept(89 if notes and there is here else 88)
    again = await there.connect()
    assert there.told[-1] == (again, 89 if notes else 88)
    await nobody_waits(here)
    await nobody_waits(there)


async def test_what_is_refused_late_is_not_put_over_what_came_after_it(place):
    worker = await place.worker()
    read = await worker.connect()
    await worker.note(read, 87)
    await place.until_kept(87)
    worker.store.reaches = False
    unread = await worker.connect()
    await worker.note(unread, 88)
    await worker.leave(read)
    await worker.leave(unread)
    # What was sent for the first one is answered only now: somebody has claimed the session since.
    session_of(read).unsaved = True
    worker.sessions._holder.lose(read)
    again = await worker.connect()
    assert worker.told[-1] == (again, 88)


async def test_what_waits_belongs_to_whoever_changed_it_last(place):
    worker = await place.worker()
    read = await worker.connect()
    worker.store.reaches = False
    await worker.note(read, 3)
    await worker.leave(read)
    unread = await worker.connect("alice")
    await worker.note(unread, 4)
    await worker.leave(unread)
    stranger = await worker.connect("bob")

    async def closed():
        return stranger.close_code

    assert await until(closed) == CloseCode.NOT_OWNER
    assert stranger not in dict(worker.told)


async def test_what_waits_of_a_session_that_was_not_read_is_not_put_over_what_was_noted_since(
    place,
):
    old, new = await place.worker(), await place.worker()
    old.store.reaches = new.store.reaches = old.bus.hears = False
    unread = await old.connect()
    await old.note(unread, 3)
    await old.leave(unread)
    client = await new.connect()
    await new.note(client, 10)
    new.store.reaches = True
    await place.until_kept(10)
    await new.leave(client)
    old.store.reaches = old.bus.hears = True
    for worker in (new, old):
        again = await worker.connect()
        assert worker.told[-1] == (again, 10)
        await worker.leave(again)
