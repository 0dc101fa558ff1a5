"""Who has a session, how much it may take, and who answers it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.target_app.conftest import DEADLINE_SECONDS, until, until_answers_come
from tests.target_app.session_messages import question, said

STORES = pytest.mark.parametrize("store", ["memory", "redis"])
TAKEN_OVER, NOT_OWNER, IDLE = 4001, 4003, 4008
SHIFTED_CLOCK = Path(__file__).parent / "shifted_clock"
WRONG_SECONDS = 600.0
PATIENT = ("--close-timeout-seconds", "1000", "--slow-consumer-seconds", "1000")
ROOMY = ("--session-state-bytes", "8000000", "--slow-consumer-bytes", "16000000")


async def closed(client):
    with contextlib.suppress(ConnectionClosed):
        async with asyncio.timeout(DEADLINE_SECONDS):
            while True:
                await client.recv()
    return client.close_code


@pytest.fixture
def start(request, serve, tmp_path, store):
    """Start servers that are workers of one: they share a bus, and their store if they can."""

    started = []

    async def more(count, *flags, **options):
        shared = {"TARGET_BUS": "zmq", "TARGET_RUN_DIR": str(tmp_path / "run")}
        redis = request.getfixturevalue("redis") if store == "redis" else None
        if redis is not None:
            shared["TARGET_REDIS_URL"] = redis.url
        servers = [await serve(*flags, **shared, **options) for _ in range(count)]
        started.extend(servers)
        if redis is not None:
            await until_answers_come(redis, len(started))
        return servers

    return more


# Whose it is


async def notes(server, client, page):
    """Note a page, and wait until the session is its client's."""
    await client.send(said("READING_PROGRESS", page=page))
    await client.send(said("NOTHING"))
    assert (await server.event(client))["type"] == "ERROR"


@STORES
async def test_no_other_name_takes_over_a_session_and_the_shared_token_is_none(start):
    first, second = await start(2, "--users", "alice=a,bob=b", "--token", "shared")
    client = await first.connect("/ws/reader?token=a")
    await notes(first, client, 3)
    for token in ("b", "shared"):
        assert await closed(await second.connect(f"/ws/reader?token={token}")) == NOT_OWNER
    again = await second.connect("/ws/reader?token=a")
    assert (await second.event(again))["payload"] == {"page": 3}
    assert await closed(client) == TAKEN_OVER
    nobodys = await first.connect("/ws/other?token=shared")
    await notes(first, nobodys, 5)
    named = await second.connect("/ws/other?token=b")
    assert (await second.event(named))["payload"] == {"page": 5}
    assert await closed(nobodys) == TAKEN_OVER
    assert await closed(await first.connect("/ws/other?token=shared")) == NOT_OWNER


# One connection


@STORES
async def test_of_many_connections_that_come_at_once_exactly_one_stays(start):
    servers = await start(2, "--answer-seconds", "0")
    clients = []
    for _ in range(3):
        places = random.choices(servers, k=10)
        clients += await asyncio.gather(*(server.connect("/ws/reader") for server in places))

    async def one_is_left():
        stats = await servers[0].stats()
        return stats["open"]["/ws/{session_id}"] == 1 and stats["silent_workers"] == 0

    await until(one_is_left)
    _, left = await asyncio.wait(
        [asyncio.create_task(client.wait_closed()) for client in clients],
        return_when=asyncio.FIRST_COMPLETED,
    )
    while len(left) > 1:
        _, left = await asyncio.wait(left, return_when=asyncio.FIRST_COMPLETED)
    [client] = [client for client in clients if client.close_code is None]
    await client.send(question("mine?"))
    assert "INTERRUPTION_ACKNOWLEDGED" in await client.recv()
    codes = {client.close_code for client in clients} - {None}
    assert codes == {TAKEN_OVER}
    for task in left:
        task.cancel()


@STORES
async def test_the_state_moves_with_the_session_from_worker_to_worker(start):
    servers = await start(2, "--answer-seconds", "0")
    client = await servers[0].connect("/ws/reader")
    for page in range(6):
        await client.send(said("READING_PROGRESS", page=page))
        await client.send(question("kept?"))
        assert (await servers[0].event(client))["type"] == "INTERRUPTION_ACKNOWLEDGED"
        assert (await servers[0].event(client))["type"] == "INTERRUPTION_ANSWER"
        if page % 2:
            await client.close()
        client = await servers[(page + 1) % 2].connect("/ws/reader")
        assert (await servers[0].event(client))["payload"] == {"page": page}


async def clock_of(server):
    """Return how far a server's wall clock is from ours, as it tells its clients."""
    client = await server.connect("/ws/what-is-the-time")
    await client.send(question("what is the time?"))
    told = await server.event(client)
    await client.close()
    return told["timestamp"] - time.time()


@STORES
async def test_the_newer_connection_has_the_session_whatever_the_clocks_of_the_workers_say(start):
    path = os.pathsep.join(filter(None, [str(SHIFTED_CLOCK), os.environ.get("PYTHONPATH")]))
    [right] = await start(1)
    [wrong] = await start(1, PYTHONPATH=path, SHIFT_SECONDS=str(-WRONG_SECONDS))
    await right.until_stats(silent_workers=0, draining=False)
    assert await clock_of(wrong) < await clock_of(right) - WRONG_SECONDS / 2
    older = await right.connect("/ws/reader")
    for page, server in enumerate([wrong, right, wrong, right]):
        await older.send(said("READING_PROGRESS", page=page))
        await older.send(said("NOTHING"))
        assert (await server.event(older))["type"] == "ERROR"
        newer = await server.connect("/ws/reader")
        assert (await server.event(newer))["payload"] == {"page": page}
        assert await closed(older) == TAKEN_OVER
        older = newer


async def with_a_full_buffer(server, *names):
    """Return a client that speaks to a class, and sessions in it that do not read what was said.

    What is said to them is more than the kernel takes, and waits in the server.
    """
    lazy = [await server.connect_raw(f"/ws/{name}") for name in names]
    for client in lazy:
        await client.say(said("JOIN_CLASS", classId="7b"))
    teacher = await server.connect("/ws/teacher", max_size=None)
    await teacher.send(said("JOIN_CLASS", classId="7b"))
    assert (await server.event(teacher))["type"] == "CLASS_JOINED"
    await server.until_stats(rooms={"classes:7b": 1 + len(names)})
    await teacher.send(said("CLASS_MESSAGE", classId="7b", text="x" * 7_000_000))
    # Until it is back it is on its way, and would reach whoever comes meanwhile.
    assert len((await server.event(teacher))["payload"]["text"]) == 7_000_000
    return teacher, lazy


@pytest.mark.parametrize("store", ["memory"])
async def test_nobody_waits_for_the_one_who_loses_a_session_and_does_not_read(start):
    [server] = await start(1, *PATIENT, *ROOMY)
    await with_a_full_buffer(server, "reader")
    again = await server.connect("/ws/reader")
    await again.send(said("CLASS_MESSAGE", classId="7b", text="mine"))
    assert (await server.event(again))["payload"]["text"] == "mine"


@STORES
async def test_no_other_worker_waits_for_the_one_who_loses_a_session_and_does_not_read(start):
    servers = await start(2, *PATIENT, *ROOMY)
    here, there = servers
    _, [lazy] = await with_a_full_buffer(here, "reader")
    listening, speaking = await here.connect(), await there.connect()
    again = await there.connect("/ws/reader")
    await again.send(question("mine?"))
    assert (await there.event(again))["type"] == "INTERRUPTION_ACKNOWLEDGED"
    # The worker that gave it up hears and answers the other one as ever, with that one still there.
    await speaking.send("hello")
    assert await listening.recv() == "hello"
    stats = await there.until_stats(silent_workers=0)
    assert stats["open"]["/ws/{session_id}"] == 3
    assert await lazy.close_code() == TAKEN_OVER


@STORES
async def test_no_idle_session_waits_for_another_that_does_not_read(start):
    [server] = await start(1, "--session-seconds", "4", "--answer-seconds", "0", *PATIENT, *ROOMY)
    teacher, lazy = await with_a_full_buffer(server, "lazy-1", "lazy-2")
    idle = await server.connect("/ws/idle")
    # Sessions are looked through in the order in which they came, so that it is the last.
    assert await closed(idle) == IDLE
    assert await closed(teacher) == IDLE
    newcomer = await server.connect("/ws/newcomer")
    await newcomer.send(question("and me?"))
    assert (await server.event(newcomer))["type"] == "INTERRUPTION_ACKNOWLEDGED"
    assert (await server.event(newcomer))["type"] == "INTERRUPTION_ANSWER"
    assert (await server.stats())["open"]["/ws/{session_id}"] == len(lazy) + 1
    assert [await client.close_code() for client in lazy] == [IDLE, IDLE]


# One owner


@STORES
async def test_a_session_is_its_owners_whichever_worker_is_asked(start):
    servers = await start(2, module="uvicorn", app="tests.target_app.identified:app")
    alice, bob, nobody = "127.0.0.2", "127.0.0.3", "127.0.0.1"

    async def come(server, address):
        return await server.connect("/ws/diary", local_addr=(address, 0))

    first = await come(servers[0], alice)
    await first.send(said("READING_PROGRESS", page=7))
    await first.send(said("NOTHING"))
    assert (await servers[0].event(first))["type"] == "ERROR"
    for away in (False, True):
        if away:
            await first.close()
            await servers[0].until_stats(open={})
        for server in servers:
            for other in (bob, nobody):
                stranger = await come(server, other)
                assert "somebody else" in (await server.event(stranger))["payload"]["message"]
                assert await closed(stranger) == NOT_OWNER
        if not away:
            await first.send(said("NOTHING"))
            assert (await servers[0].event(first))["type"] == "ERROR", "she was not disturbed"
    again = await come(servers[1], alice)
    assert (await servers[1].event(again))["payload"] == {"page": 7}


@STORES
async def test_a_session_begun_without_a_login_goes_on_with_one(start):
    servers = await start(2, module="uvicorn", app="tests.target_app.identified:app")
    before = await servers[0].connect("/ws/diary")
    await before.send(said("READING_PROGRESS", page=7))
    await before.send(said("NOTHING"))
    assert (await servers[0].event(before))["type"] == "ERROR"
    alice = await servers[1].connect("/ws/diary", local_addr=("127.0.0.2", 0))
    assert (await servers[1].event(alice))["payload"] == {"page": 7}
    assert await closed(before) == TAKEN_OVER
    assert await closed(await servers[0].connect("/ws/diary")) == NOT_OWNER


@STORES
async def test_of_two_owners_who_come_at_once_to_a_new_session_one_has_it(start):
    servers = await start(2, module="uvicorn", app="tests.target_app.identified:app")
    for n in range(10):
        pair = await asyncio.gather(
            servers[0].connect(f"/ws/d{n}", local_addr=("127.0.0.2", 0)),
            servers[1].connect(f"/ws/d{n}", local_addr=("127.0.0.3", 0)),
        )
        ends = [asyncio.create_task(client.wait_closed()) for client in pair]
        async with asyncio.timeout(DEADLINE_SECONDS):
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        [loser] = [client for client in pair if client.close_code is not None]
        [winner] = [client for client in pair if client is not loser]
        assert loser.close_code == NOT_OWNER
        await winner.send(said("NOTHING"))
        assert "unknown type" in await winner.recv()
        for end in ends:
            end.cancel()


@STORES
async def test_an_answer_that_comes_when_its_session_is_forgotten_is_for_nobody_else(
    start, request, store, tmp_path
):
    now = tmp_path / "now"
    [server] = await start(
        1,
        module="uvicorn",
        app="tests.target_app.identified:app",
        TARGET_RESPONDER="tests.target_app.responders:when_told",
        TARGET_SESSION_SECONDS="2",
    )
    alice = await server.connect("/ws/diary", local_addr=("127.0.0.2", 0))
    await alice.send(question(str(now)))
    assert (await server.event(alice))["type"] == "INTERRUPTION_ACKNOWLEDGED"
    assert await closed(alice) == IDLE
    if store == "redis":
        redis = request.getfixturevalue("redis")

        async def forgotten():
            return redis.command("exists", "owner:diary") == ["0"]

        await until(forgotten)
    now.touch()
    await server.until_stats(open={}, answers_waiting=0)
    bob = await server.connect("/ws/diary", local_addr=("127.0.0.3", 0))
    with contextlib.suppress(ConnectionClosed):
        await bob.send(said("NOTHING"))
    # That it is somebody else's, or that there is no such message if the answer is forgotten too.
    assert (await server.event(bob))["type"] == "ERROR"


# Bounds


@STORES
async def test_more_than_a_session_may_keep_is_refused_and_what_was_kept_stays(start):
    [server] = await start(1, "--session-state-bytes", "2000")
    client = await server.connect("/ws/reader")
    await client.send(said("READING_PROGRESS", page=1))
    # As progress; and as a message, which has 1 KiB beside it and is not parsed then.
    for size, most in ((2_500, "at most 2000 bytes"), (100_000, "at most 3024")):
        await client.send(said("READING_PROGRESS", text="x" * size))
        error = await server.event(client)
        assert error["type"] == "ERROR"
        assert most in error["payload"]["message"]
    await client.send('{"type": "READING_PROGRESS", "payload": {"x": NaN}}')
    assert (await server.event(client))["type"] == "ERROR"
    await client.close()
    again = await server.connect("/ws/reader")
    assert (await server.event(again))["payload"] == {"page": 1}


@pytest.mark.parametrize("store", ["memory"])
async def test_a_session_is_in_so_many_classes_and_no_more(start):
    [server] = await start(1, "--session-classes", "3")
    client = await server.connect("/ws/reader")
    kinds = []
    for n in range(4):
        await client.send(said("JOIN_CLASS", classId=f"c{n}"))
        kinds.append((await server.event(client))["type"])
    assert kinds == ["CLASS_JOINED"] * 3 + ["ERROR"]
    await client.send(said("LEAVE_CLASS", classId="c0"))
    await client.send(said("JOIN_CLASS", classId="c3"))
    assert [(await server.event(client))["type"] for _ in range(2)] == [
        "CLASS_LEFT",
        "CLASS_JOINED",
    ]


@pytest.mark.parametrize("store", ["memory"])
async def test_sessions_that_are_away_make_room_and_are_counted(start):
    [server] = await start(1, "--sessions-bytes", "100000")
    for n in range(20):
        client = await server.connect(f"/ws/s{n}")
        await client.send(said("READING_PROGRESS", text="x" * 20_000))
        await client.send(said("NOTHING"))
        assert (await server.event(client))["type"] == "ERROR"
        await client.close()
        await server.until_stats(open={})
    assert (await server.stats())["sessions_forgotten"] >= 15


@pytest.mark.parametrize("store", ["memory"])
async def test_what_there_was_no_room_for_is_not_kept_later_either(start):
    [server] = await start(1, "--sessions-bytes", "80000")
    large, reader = await server.connect("/ws/large"), await server.connect("/ws/reader")
    await large.send(said("READING_PROGRESS", text="x" * 50_000))
    await large.send(said("NOTHING"))
    assert "unknown type" in (await server.event(large))["payload"]["message"]
    await reader.send(said("READING_PROGRESS", page=1))
    await reader.send(said("READING_PROGRESS", text="x" * 50_000))
    assert "not kept" in (await server.event(reader))["payload"]["message"]
    await large.close()
    await server.until_stats(open={"/ws/{session_id}": 1})
    await reader.send(said("JOIN_CLASS", classId="7b"))
    assert (await server.event(reader))["type"] == "CLASS_JOINED"
    again = await server.connect("/ws/reader")
    assert (await server.event(again))["payload"] == {"page": 1}


@pytest.mark.parametrize("store", ["memory"])
async def test_a_class_that_there_is_no_room_to_keep_is_not_joined(start):
    [server] = await start(1, "--sessions-bytes", "10000")
    large, reader = await server.connect("/ws/large"), await server.connect("/ws/reader")
    await large.send(said("JOIN_CLASS", classId="7b"))
    assert (await server.event(large))["type"] == "CLASS_JOINED"
    for size in range(8_000, 10_000, 20):
        await large.send(said("READING_PROGRESS", text="x" * size))
    await large.send(said("NOTHING"))
    while "unknown type" not in (told := (await server.event(large))["payload"]["message"]):
        assert "not kept" in told
    await reader.send(said("JOIN_CLASS", classId="7b"))
    assert "not kept" in (await server.event(reader))["payload"]["message"]
    await reader.send(said("CLASS_MESSAGE", classId="7b", text="am I in?"))
    assert "not in class" in (await server.event(reader))["payload"]["message"]
    assert (await server.stats())["rooms"] == {"classes:7b": 1}
    await large.send(said("READING_PROGRESS", page=1))
    await large.send(said("CLASS_MESSAGE", classId="7b", text="room"))
    assert (await server.event(large))["payload"]["text"] == "room"
    await reader.send(said("JOIN_CLASS", classId="7b"))
    assert (await server.event(reader))["type"] == "CLASS_JOINED"


@STORES
async def test_to_come_again_is_no_way_to_ask_more(start):
    servers = await start(2, "--answer-seconds", "1000", "--questions-waiting", "4")
    asked = []
    for n in range(6):
        server = servers[n % 2]
        client = await server.connect("/ws/curious")
        await client.send(question("why?"))
        asked.append((await server.event(client))["type"])
        if n % 3:
            await client.close()
    assert asked == ["INTERRUPTION_ACKNOWLEDGED"] * 4 + ["ERROR"] * 2


# Who answers


@pytest.mark.parametrize("store", ["memory"])
async def test_a_responder_that_died_is_replaced(start):
    [server] = await start(1, "--responder", "tests.target_app.responders:dies")
    client = await server.connect("/ws/reader")
    for text, kind in [("die", "ERROR"), ("hello", "INTERRUPTION_ANSWER")]:
        await client.send(question(text))
        assert (await server.event(client))["type"] == "INTERRUPTION_ACKNOWLEDGED"
        assert (await server.event(client))["type"] == kind


@pytest.mark.parametrize("store", ["memory"])
async def test_only_who_ends_the_responder_is_not_answered(start):
    [server] = await start(1, "--responder", "tests.target_app.responders:dies")
    texts = ["die", "hello", "die", *["hello"] * 7]
    clients = [await server.connect(f"/ws/s{n}") for n in range(len(texts))]
    for text, client in zip(texts, clients, strict=True):
        await client.send(question(text))
        assert (await server.event(client))["type"] == "INTERRUPTION_ACKNOWLEDGED"
    told = [(await server.event(client))["type"] for client in clients]
    assert told == ["ERROR" if text == "die" else "INTERRUPTION_ANSWER" for text in texts]


@pytest.mark.parametrize("store", ["memory"])
async def test_a_responder_that_never_ends_does_not_hold_up_the_end_of_the_server(start, tmp_path):
    begun = tmp_path / "begun"
    never_ends = "tests.target_app.responders:never_ends"
    [server] = await start(1, "--responder", never_ends, "--drain-timeout-seconds", "0")
    client = await server.connect("/ws/reader")
    await client.send(question(str(begun)))

    async def has_begun():
        return begun.exists()

    await until(has_begun)
    server.send_signal(signal.SIGTERM)
    assert await server.exit_status() == 0
