"""Redis is away while clients come and go: whose a session is and what was said to it stays."""

from __future__ import annotations

import json

import pytest

from tests.target_app.conftest import until, until_answers_come
from tests.target_app.session_messages import closed, question, said

NOT_OWNER = 4003
WHEN_TOLD = "tests.target_app.responders:when_told"
ALICE, BOB = ("127.0.0.2", 0), ("127.0.0.3", 0)


@pytest.fixture
def identifying(serve, redis):
    """Start a server for clients who are known by their addresses."""

    async def start(**environment):
        started = await serve(
            module="uvicorn",
            app="tests.target_app.identified:app",
            TARGET_REDIS_URL=redis.url,
            **environment,
        )
        await until_answers_come(redis)
        return started

    return start


@pytest.fixture
async def server(serve, redis):
    started = await serve("--answer-seconds", "0", TARGET_REDIS_URL=redis.url)
    await until_answers_come(redis)
    return started


async def hears(server, client, kind, **payload):
    """Read one event, which has to be of that kind."""
    event = await server.event(client)
    assert event["type"] == kind, event
    assert event["payload"].items() >= payload.items()


async def hears_in_the_end(server, client, kind, **payload):
    """The same, after whatever it is told of a store that was slow once more."""
    while (event := await server.event(client))["type"] in {"STORE_UNAVAILABLE", "STORE_AVAILABLE"}:
        pass
    assert event["type"] == kind, event
    assert event["payload"].items() >= payload.items()


async def handled(server, client):
    """Wait until all that ``client`` has said was handled, and nothing was said to it meanwhile."""
    await client.send(said("NOTHING"))
    assert "unknown type" in (await server.event(client))["payload"]["message"]


async def state_is(redis, session_id, **wanted):
    async def so():
        text = "".join(redis.command("get", f"session:{session_id}"))
        kept = json.loads(text) if text else {}
        return all(kept.get(name) == value for name, value in wanted.items()) and kept

    await until(so)


# What changed


async def test_a_class_that_was_left_while_redis_was_away_stays_left_after_a_reconnect(
    server, redis
):
    client = await server.connect("/ws/pupil")
    await client.send(said("READING_PROGRESS", page=3))
    await client.send(said("JOIN_CLASS", classId="7b"))
    await hears(server, client, "CLASS_JOINED")
    await state_is(redis, "pupil", progress={"page": 3}, classes=["7b"])
    redis.pause()
    try:
        await client.send(said("LEAVE_CLASS", classId="7b"))
        # It is told that it has left before Redis has not answered for long enough, or after that.
        told = {(await server.event(client))["type"] for _ in range(2)}
        assert told == {"STORE_UNAVAILABLE", "CLASS_LEFT"}
        await client.close()
        again = await server.connect("/ws/pupil")
        await hears(server, again, "STORE_UNAVAILABLE")
        await hears(server, again, "SESSION_RESTORED", page=3)
    finally:
        redis.resume()
    await hears(server, again, "STORE_AVAILABLE")  # and SESSION_RESTORED not once more
    await state_is(redis, "pupil", progress={"page": 3}, classes=[])
    assert redis.command("scard", "class:7b") == ["0"]


async def test_a_class_that_is_left_before_it_is_known_to_be_one_stays_left(server, redis):
    client = await server.connect("/ws/pupil")
    await client.send(said("JOIN_CLASS", classId="7b"))
    await hears(server, client, "CLASS_JOINED")
    await client.close()
    await state_is(redis, "pupil", classes=["7b"])
    redis.pause()
    try:
        again = await server.connect("/ws/pupil")
        await hears(server, again, "STORE_UNAVAILABLE")
        await again.send(said("LEAVE_CLASS", classId="7b"))
        await hears(server, again, "CLASS_LEFT")
    finally:
        redis.resume()
    await hears(server, again, "STORE_AVAILABLE")
    await state_is(redis, "pupil", classes=[])


async def test_a_drain_waits_until_redis_has_what_changed_of_sessions(serve, redis):
    # It says that it looks for those that are over, and cannot, ten times in so long.
    server = await serve("--session-seconds", "40", TARGET_REDIS_URL=redis.url)
    client = await server.connect("/ws/reader")
    await client.send(said("READING_PROGRESS", page=3))
    await state_is(redis, "reader", progress={"page": 3})
    redis.pause()
    try:
        await client.send(said("READING_PROGRESS", page=4))
        await hears(server, client, "STORE_UNAVAILABLE")
        await server.drain()
        await hears(server, client, "SERVER_SHUTTING_DOWN")
        await client.close()
        await server.until_stats(open={})
        said_before = len(server.lines)

        async def goes_on():
            assert server.process.returncode is None
            return any("sessions that are over" in line for line in server.lines[said_before:])

        await until(goes_on)
    finally:
        redis.resume()
    assert await server.exit_status() == 0
    later = await serve(TARGET_REDIS_URL=redis.url)
    again = await later.connect("/ws/reader")
    await hears_in_the_end(later, again, "SESSION_RESTORED", page=4)


async def test_a_drain_that_is_over_says_what_redis_has_not_got(serve, redis):
    server = await serve("--drain-timeout-seconds", "1", TARGET_REDIS_URL=redis.url)
    client = await server.connect("/ws/reader")
    await client.send(said("READING_PROGRESS", page=3))
    await state_is(redis, "reader", progress={"page": 3})
    redis.kill()
    await client.send(said("READING_PROGRESS", page=4))
    await hears(server, client, "STORE_UNAVAILABLE")
    await server.drain()
    await client.close()
    await server.exit_status()
    await server.last_words()
    assert any("what changed of 1 sessions is not kept: 'reader'" in line for line in server.lines)


async def test_a_redis_that_came_back_older_is_given_what_the_connected_sessions_know(
    server, redis
):
    client = await server.connect("/ws/reader")
    await client.send(said("READING_PROGRESS", page=3))
    await state_is(redis, "reader", progress={"page": 3})
    redis.command("save")
    await client.send(said("READING_PROGRESS", page=5))
    await state_is(redis, "reader", progress={"page": 5})
    redis.kill()
    redis.start()
    await state_is(redis, "reader", progress={"page": 5})


# Whose it is


async def test_what_waits_of_a_session_belongs_to_its_owner_also_while_redis_is_away(
    identifying, redis
):
    server = await identifying()
    alice = await server.connect("/ws/diary", local_addr=ALICE)
    await alice.send(said("READING_PROGRESS", page=3))
    await state_is(redis, "diary", progress={"page": 3})
    redis.pause()
    try:
        await alice.send(said("READING_PROGRESS", page=4))
        await hears(server, alice, "STORE_UNAVAILABLE")
        await alice.close()
        await server.until_stats(open={})
        bob = await server.connect("/ws/diary", local_addr=BOB)
        await hears(server, bob, "ERROR", message="this session belongs to somebody else")
        assert await closed(bob) == NOT_OWNER
        await server.until_stats(open={})
    finally:
        redis.resume()
    await state_is(redis, "diary", progress={"page": 4})
    again = await server.connect("/ws/diary", local_addr=ALICE)
    await hears_in_the_end(server, again, "SESSION_RESTORED", page=4)


async def test_an_answer_is_told_to_nobody_but_the_owner_of_its_question(
    identifying, redis, tmp_path
):
    now = tmp_path / "now"
    server = await identifying(TARGET_RESPONDER=WHEN_TOLD)
    alice = await server.connect("/ws/diary", local_addr=ALICE)
    await alice.send(question(str(now)))
    await hears_acknowledgement(server, alice)
    redis.pause()
    try:
        # She leaves nothing behind that would have to be kept, so nobody knows whose it is.
        await alice.close()
        await server.until_stats(open={})
        bob = await server.connect("/ws/diary", local_addr=BOB)
        await hears(server, bob, "STORE_UNAVAILABLE")
        now.touch()
        await server.says("an answer without Redis (delivered: False)")
        await handled(server, bob)
    finally:
        redis.resume()
    await hears_in_the_end(server, bob, "ERROR", message="this session belongs to somebody else")
    assert await closed(bob) == NOT_OWNER
    again = await server.connect("/ws/diary", local_addr=ALICE)
    await hears_in_the_end(server, again, "INTERRUPTION_ANSWER", questionText=str(now))


async def hears_acknowledgement(server, client):
    assert (await server.event(client))["type"] == "INTERRUPTION_ACKNOWLEDGED"
