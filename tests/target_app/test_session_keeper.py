"""What is known of a session while its store is slow, or hears of it at the same moment."""

from __future__ import annotations

import asyncio
import contextlib
import json

from redis.asyncio import Redis

from target_app.connections.connection import Connection, Endpoint
from target_app.connections.names import ClientId
from target_app.protocol import SESSIONS
from target_app.sessions.keeper import Keeper
from target_app.sessions.memory_store import MemoryStore
from target_app.sessions.recipients import Recipients
from target_app.sessions.redis_answers import ANSWERS, RedisAnswers
from target_app.sessions.session import Session
from target_app.sessions.state import Claim, compact
from tests.target_app.conftest import DEADLINE_SECONDS


class SlowStore(MemoryStore):
    """A store elsewhere, which keeps nothing before it is told to."""

    remote = True

    def __init__(self):
        super().__init__(3600, 2**20)
        self.goes_on = asyncio.Event()

    async def save(self, *what):
        await self.goes_on.wait()
        return await super().save(*what)


async def test_what_is_being_kept_when_its_client_leaves_is_known_here_until_it_is_kept():
    store, supersede = SlowStore(), None
    async with asyncio.TaskGroup() as tasks:
        keeper = Keeper(store, None, tasks.create_task, supersede, most_bytes=2**20)
        session = Session("reader", None, Claim(1, "a"), 0, 0, loaded=True)
        await store.open(session.id, None, session.claim)
        connection = Connection(Endpoint("/"), None, id=ClientId(SESSIONS, "reader"), state=session)
        session.state = session.state.changed(session.claim, progress=b'{"page":3}')
        await keeper.keep(connection)
        keeper.closed(connection)
        await keeper.try_again(connection)
        # Whoever opens it now, here or at another worker, would find less in the store.
        assert keeper.waiting("reader") is session
        keeper.forget(session)
        session.lost = True
        keeper.closed(connection)
        assert keeper.waiting("reader") is None
        session.lost = False
        keeper.closed(connection)
        store.goes_on.set()
    assert keeper.waiting("reader") is None
    opened = await store.open("reader", None, Claim(2, "b"))
    assert opened.state.progress == b'{"page":3}'


async def test_what_was_not_kept_because_of_a_claim_waits_until_whoever_made_it_asks():
    store = SlowStore()
    session = Session("reader", None, Claim(1, "a"), 0, 0, loaded=True)
    connection = Connection(Endpoint("/"), None, id=ClientId(SESSIONS, "reader"), state=session)

    def lose(connection):
        session.lost = True
        keeper.hold(connection)

    async with asyncio.TaskGroup() as tasks:
        keeper = Keeper(store, None, tasks.create_task, lose, most_bytes=2**20)
        await store.open(session.id, None, session.claim)
        session.state = session.state.changed(session.claim, progress=b'{"page":3}')
        await keeper.keep(connection)
        keeper.closed(connection)
        # Another worker claims it; the store says so before that worker does.
        await store.open(session.id, None, Claim(2, "b"))
        store.goes_on.set()
    await keeper.try_again(connection)
    assert keeper.waiting("reader") is session
    assert session.state.progress == b'{"page":3}'


class Nowhere:
    """The other workers, of which there are none."""

    async def deliver(self, *_):
        return False


class MeanwhileStore(MemoryStore):
    """A store whose session comes back while an answer to it is being kept."""

    came = False

    async def keep_answer(self, *answer, **options):
        await super().keep_answer(*answer, **options)
        self.came = True


class Reader:
    """The session's connection, in place of the holder and of the delivery."""

    def __init__(self, store):
        self._store = store
        session = Session("reader", None, Claim(1, "a"), 0, 0, loaded=True, ready=True)
        client_id = ClientId(SESSIONS, "reader")
        self.connection = Connection(Endpoint("/"), None, id=client_id, state=session)
        self.listens = asyncio.Event()
        self.received = asyncio.Queue()

    def here(self, _session_id):
        return [(self.connection, self.connection.state)] if self._store.came else []

    def all(self):
        self.listens.set()
        return iter(())

    async def for_each(self, *_):
        pass

    def push(self, _connection, message):
        self.received.put_nowait(json.loads(message.data)["payload"])
        return True


async def test_an_answer_reaches_a_session_that_comes_while_it_is_kept(redis):
    store = MeanwhileStore(3600, 2**20)
    reader = Reader(store)
    recipients = Recipients(reader, reader, store)
    async with Redis.from_url(redis.url) as client, asyncio.timeout(DEADLINE_SECONDS):
        answers = RedisAnswers(client, store, recipients, Nowhere(), longest=2**20)
        running = asyncio.create_task(answers.run())
        await reader.listens.wait()
        redis.command("publish", ANSWERS, '{"session_id": "reader", "response": "yes"}')
        assert await reader.received.get() == {"answerText": "yes"}
        assert await store.answers("reader") == []
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


class Serial:
    """A store that does one thing after the other, and may be long in saying so, like Redis."""

    def __init__(self, *kept):
        self.kept = list(kept)
        self.forgets = asyncio.Event()
        self.tells = asyncio.Event()

    async def answers(self, _session_id):
        found = list(self.kept)
        await self.tells.wait()
        return found

    async def forget_answer(self, _session_id, answer, publication=None):
        was_kept = answer in self.kept
        if was_kept:
            self.kept.remove(answer)
        if publication is None:
            await self.forgets.wait()
        return was_kept


class Reconnecting:
    """A session whose connections are replaced here, in place of the holder and the delivery."""

    def __init__(self):
        self.received = []
        self.come(1)

    def come(self, number):
        """Take the session over with a new connection."""
        session = Session("reader", None, Claim(number, "a"), 0, 0, loaded=True, ready=True)
        client_id = ClientId(SESSIONS, "reader")
        self.connection = Connection(Endpoint("/"), None, id=client_id, state=session)
        return self.connection

    def here(self, _session_id):
        return [(self.connection, self.connection.state)]

    def push(self, connection, message):
        self.received.append((connection.state.claim.number, json.loads(message.data)["type"]))
        return True


async def test_an_answer_that_is_heard_of_during_a_takeover_comes_once():
    kept, published = (compact({"type": kind, "payload": {}}) for kind in ("KEPT", "PUBLISHED"))
    sessions, store = Reconnecting(), Serial(kept)
    recipients = Recipients(sessions, sessions, store)
    async with asyncio.timeout(DEADLINE_SECONDS), asyncio.TaskGroup() as tasks:
        store.tells.set()
        tasks.create_task(recipients.deliver_kept(sessions.connection))
        await asyncio.sleep(0)
        store.tells.clear()
        store.kept.append(published)  # by another worker, before this one hears of it
        tasks.create_task(recipients.deliver_published("reader", published, "a publication"))
        await asyncio.sleep(0)
        tasks.create_task(recipients.deliver_kept(sessions.come(2)))
        await asyncio.sleep(0)
        store.forgets.set()
        while len(sessions.received) < 2:  # noqa: ASYNC110 - nobody tells
            await asyncio.sleep(0)
        store.tells.set()
    assert sessions.received == [(1, "KEPT"), (2, "PUBLISHED")]
