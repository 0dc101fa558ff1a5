"""Servers that share a Redis: one room, one session; and what happens when Redis goes away."""

from __future__ import annotations

import asyncio
import json

import pytest

from tests.target_app.conftest import DEADLINE_SECONDS, until, until_answers_come


@pytest.fixture
def two(serve, redis):
    """Start two servers, as on two machines: all they share is Redis."""

    async def start(*flags):
        shared = {"TARGET_BUS": redis.url, "TARGET_REDIS_URL": redis.url}
        servers = [await serve("--answer-seconds", "0", *flags, **shared) for _ in range(2)]
        await bus_is(servers, connected=True)
        await until_answers_come(redis, 2)
        return servers

    return start


async def bus_is(servers, *, connected):
    async def so():
        seen = [w["bus"]["connected"] for s in servers for w in (await s.stats())["workers"]]
        return all(state is connected for state in seen)

    await until(so)


def said(kind, **payload):
    return json.dumps({"type": kind, "payload": payload})


async def test_two_servers_are_one_room(two):
    one, other = await two()
    here, there = await one.connect(), await other.connect()
    await here.send("hello")
    assert [await here.recv(), await there.recv()] == ["hello", "hello"]
    await one.until_reached(2, message="all")
    stats = await other.until_stats(open={"/ws": 2})
    assert len(stats["workers"]) == 2


async def test_a_session_moves_between_servers_with_its_state_and_its_answers(two):
    one, other = await two()
    here = await one.connect("/ws/reader")
    await here.send(said("READING_PROGRESS", page=3))
    await here.send(said("STUDENT_INTERRUPTION", questionText="still me?"))
    await one.event(here)
    assert (await one.event(here))["type"] == "INTERRUPTION_ANSWER"
    there = await other.connect("/ws/reader")
    assert await other.event(there) == {"type": "SESSION_RESTORED", "payload": {"page": 3}}
    await asyncio.wait_for(here.wait_closed(), DEADLINE_SECONDS)
    assert here.close_code == 4001


async def test_redis_holds_what_the_protocol_says_under_the_keys_it_names(two, redis):
    one, _ = await two()
    client = await one.connect("/ws/reader")
    await client.send(said("READING_PROGRESS", page=3))
    await client.send(said("JOIN_CLASS", classId="7b"))
    await one.event(client)

    async def kept():
        state = json.loads(redis.command("get", "session:reader")[0] or "{}")
        members = redis.command("smembers", "class:7b")
        return (state.get("progress"), members) == ({"page": 3}, ["reader"])

    await until(kept)
    assert 0 < int(redis.command("ttl", "activity:reader")[0]) <= 300
    await client.close()

    async def left():
        return redis.command("smembers", "class:7b") in ([], [""])

    await until(left)


async def test_questions_are_published_and_answers_may_come_from_anywhere(two, redis):
    one, _ = await two()
    listening = await asyncio.create_subprocess_exec(
        *("redis-cli", "-p", str(redis.port), "subscribe", "student_questions"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        for _ in range(3):  # the confirmation of the subscription
            await listening.stdout.readline()
        client = await one.connect("/ws/reader")
        await client.send(said("STUDENT_INTERRUPTION", questionText="who knows?"))
        await one.event(client)
        await one.event(client)
        published = [(await listening.stdout.readline()).strip() for _ in range(3)]
        assert published[:2] == [b"message", b"student_questions"]
        question = json.loads(published[2])
        assert (question["session_id"], question["questionText"]) == ("reader", "who knows?")
    finally:
        listening.kill()
        await listening.communicate()
    answer = {"session_id": "reader", "type": "INTERRUPTION_ANSWER", "payload": {"by": "a model"}}
    redis.command("publish", "llm_responses", "no json")
    redis.command("publish", "llm_responses", json.dumps(answer))
    assert await one.event(client) == {
        "type": "INTERRUPTION_ANSWER",
        "payload": {"by": "a model"},
    }


async def test_redis_going_away_is_survived_and_the_gap_is_counted(two, redis):
    servers = await two()
    one, other = servers
    here, neighbour, there = await one.connect(), await one.connect(), await other.connect()
    session = await one.connect("/ws/reader")
    redis.kill()
    await bus_is(servers, connected=False)
    for n in range(5):
        await here.send(str(n))
        assert [await here.recv(), await neighbour.recv()] == [str(n), str(n)]
    await session.send(said("READING_PROGRESS", page=4))
    await session.send(said("STUDENT_INTERRUPTION", questionText="anybody?"))
    kinds = [(await one.event(session))["type"] for _ in range(3)]
    assert kinds == ["STORE_UNAVAILABLE", "INTERRUPTION_ACKNOWLEDGED", "INTERRUPTION_ANSWER"]
    await one.connect("/ws/another-session")  # new sessions may begin

    async def counted():
        return (await one.stats())["workers"][0]["bus"]["dropped"] >= 5

    await until(counted)
    redis.start()
    await bus_is(servers, connected=True)
    await here.send("back")
    assert await here.recv() == "back"
    assert await there.recv() == "back", "the gap is not made up for"
    bus = next(
        worker["bus"]
        for worker in (await other.stats())["workers"]
        if worker["pid"] == other.process.pid
    )
    assert bus["missed"] >= 5
    assert bus["reconnects"] == 1
    assert bus["gap_seconds"] > 0


async def test_many_sessions_share_few_connections_to_redis(serve, redis):
    limit = 8
    server = await serve(
        module="uvicorn",
        app="tests.target_app.patient_redis:app",
        TARGET_REDIS_URL=redis.url,
        TARGET_BUS=redis.url,
        TARGET_REDIS_CONNECTIONS=str(limit),
        TARGET_ANSWER_SECONDS="0",
    )
    await until_answers_come(redis)
    clients = [await server.connect(f"/ws/s{n}") for n in range(200)]

    async def talk(client):
        for page in range(5):
            await client.send(said("READING_PROGRESS", page=page))
        await client.send(said("STUDENT_INTERRUPTION", questionText="all at once?"))
        assert (await server.event(client))["type"] == "INTERRUPTION_ACKNOWLEDGED"
        assert (await server.event(client))["type"] == "INTERRUPTION_ANSWER"

    async def count():
        most = 0
        while True:
            listed = await asyncio.to_thread(redis.command, "client", "list")
            most = max(most, sum("cmd=client" not in line for line in listed))
            if talking.done():
                return most

    talking = asyncio.ensure_future(asyncio.gather(*(talk(client) for client in clients)))
    most = await count()
    await talking
    assert 3 <= most <= limit
