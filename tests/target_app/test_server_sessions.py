"""``/ws/{session_id}``: the same behaviour with sessions in memory and in Redis."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time

import pytest
from websockets.exceptions import ConnectionClosed

from tests.target_app.conftest import until, until_answers_come
from tests.target_app.session_messages import event_of, question, said

STORES = pytest.mark.parametrize("store", ["memory", "redis"])
TAKEN_OVER, IDLE = 4001, 4008


@pytest.fixture
async def server(request, serve, store):
    """A server that answers at once, with its sessions in ``store``."""
    if store == "memory":
        return await serve("--answer-seconds", "0")
    redis = request.getfixturevalue("redis")
    started = await serve("--answer-seconds", "0", TARGET_REDIS_URL=redis.url)
    await until_answers_come(redis)
    return started


async def closed(client):
    with contextlib.suppress(ConnectionClosed):
        while True:
            await client.recv()
    return client.close_code


@STORES
async def test_a_new_session_has_nothing_to_restore(server):
    client = await server.connect("/ws/new")
    await client.send(question("anybody?"))
    assert (await server.event(client))["type"] == "INTERRUPTION_ACKNOWLEDGED"


@STORES
async def test_the_state_survives_a_reconnect_and_comes_before_anything_else(server):
    client = await server.connect("/ws/reader")
    await client.send(said("READING_PROGRESS", page=1))
    await client.send(said("READING_PROGRESS", page=2, chapter={"title": "grün"}))
    await client.send(said("JOIN_CLASS", classId="7b"))
    assert (await server.event(client))["type"] == "CLASS_JOINED"
    await client.close()
    again = await server.connect("/ws/reader")
    await again.send(question("where was I?"))
    assert await server.event(again) == {
        "type": "SESSION_RESTORED",
        "payload": {"page": 2, "chapter": {"title": "grün"}},
    }
    assert (await server.event(again))["type"] == "INTERRUPTION_ACKNOWLEDGED"


@STORES
async def test_a_question_is_acknowledged_at_once_and_answered_later(server):
    client = await server.connect("/ws/reader")
    before = time.time()
    await client.send(question("why?"))
    acknowledged = await server.event(client)
    assert acknowledged["type"] == "INTERRUPTION_ACKNOWLEDGED"
    assert before - 1 <= acknowledged["timestamp"] <= time.time() + 1
    answer = await server.event(client)
    assert answer["type"] == "INTERRUPTION_ANSWER"
    assert answer["payload"]["questionText"] == "why?"
    assert answer["payload"]["answerText"] == "You asked: why?"


@STORES
async def test_a_second_connection_takes_the_session_over(server):
    first = await server.connect("/ws/reader")
    await first.send(said("READING_PROGRESS", page=5))
    await first.send(question("done?"))
    await server.event(first)
    await server.event(first)
    second = await server.connect("/ws/reader")
    assert (await server.event(second))["payload"] == {"page": 5}
    assert await closed(first) == TAKEN_OVER
    await second.send(question("mine?"))
    await event_of(server, second, "INTERRUPTION_ACKNOWLEDGED")
    answer = await event_of(server, second, "INTERRUPTION_ANSWER")
    while answer["payload"]["questionText"] == "done?":
        answer = await event_of(server, second, "INTERRUPTION_ANSWER")
    assert answer["payload"]["questionText"] == "mine?"


@STORES
async def test_a_class_hears_its_own_members_only(server):
    members = [await server.connect(f"/ws/s{n}") for n in range(3)]
    for client in members[:2]:
        await client.send(said("JOIN_CLASS", classId="7b"))
        assert await server.event(client) == {"type": "CLASS_JOINED", "payload": {"classId": "7b"}}
    await members[0].send(said("CLASS_MESSAGE", classId="7b", text="hello class"))
    for client in members[:2]:
        assert await server.event(client) == {
            "type": "CLASS_MESSAGE",
            "payload": {"classId": "7b", "text": "hello class", "sessionId": "s0"},
        }
    await members[2].send(said("CLASS_MESSAGE", classId="7b", text="let me in"))
    assert "not in class '7b'" in (await server.event(members[2]))["payload"]["message"]
    await members[1].send(said("LEAVE_CLASS", classId="7b"))
    assert (await server.event(members[1]))["type"] == "CLASS_LEFT"
    await members[0].send(said("CLASS_MESSAGE", classId="7b", text="alone"))
    assert (await server.event(members[0]))["payload"]["text"] == "alone"
    await members[1].send(question("nothing else came?"))
    assert (await server.event(members[1]))["type"] == "INTERRUPTION_ACKNOWLEDGED"


@STORES
async def test_a_session_is_in_its_classes_again_after_a_reconnect(server):
    client = await server.connect("/ws/pupil")
    await client.send(said("JOIN_CLASS", classId="7b"))
    await server.event(client)
    await client.close()
    await server.until_stats(open={})
    again, teacher = await server.connect("/ws/pupil"), await server.connect("/ws/teacher")
    await teacher.send(said("JOIN_CLASS", classId="7b"))
    await server.event(teacher)
    await server.until_stats(rooms={"classes:7b": 2})
    await teacher.send(said("CLASS_MESSAGE", classId="7b", text="welcome back"))
    assert (await server.event(again))["payload"]["text"] == "welcome back"


@STORES
async def test_what_is_wrong_is_told_and_the_connection_stays(server):
    client = await server.connect("/ws/reader")
    for wrong, told in [
        ("no json", "Invalid JSON"),
        (said("DANCE"), "unknown type 'DANCE'; known are STUDENT_INTERRUPTION"),
        (said("STUDENT_INTERRUPTION"), "STUDENT_INTERRUPTION needs payload.questionText"),
        (said("STUDENT_INTERRUPTION", questionText=5), "needs payload.questionText"),
        (said("JOIN_CLASS"), "the name of a class is missing"),
        ('{"type": "JOIN_CLASS", "payload": []}', "payload: "),
    ]:
        await client.send(wrong)
        error = await server.event(client)
        assert error["type"] == "ERROR"
        assert told in error["payload"]["message"]


@STORES
async def test_an_answer_that_is_ready_while_nobody_is_there_waits_for_the_session(
    serve, store, request, tmp_path
):
    url = request.getfixturevalue("redis").url if store == "redis" else None
    there = tmp_path / "there"
    server = await serve(
        *("--responder", "tests.target_app.responders:when_told"),
        **({"TARGET_REDIS_URL": url} if url else {}),
    )
    client = await server.connect("/ws/tunnel")
    await client.send(question(str(there)))
    await server.event(client)
    await client.close()
    await server.until_stats(open={}, answers_waiting=1)
    there.touch()
    await server.until_stats(answers_waiting=0)
    again = await server.connect("/ws/tunnel")
    assert (await server.event(again))["payload"]["questionText"] == str(there)


@STORES
async def test_an_idle_session_is_closed_and_forgotten(serve, store, request):
    url = request.getfixturevalue("redis").url if store == "redis" else None
    # Far longer than a busy machine lets pass between a handshake and the first message.
    server = await serve("--session-seconds", "2", **({"TARGET_REDIS_URL": url} if url else {}))
    client = await server.connect("/ws/sleepy")
    await client.send(said("READING_PROGRESS", page=9))
    assert await closed(client) == IDLE

    async def forgotten():
        again = await server.connect("/ws/sleepy")
        await again.send(question("who am I?"))
        if (await server.event(again))["type"] == "INTERRUPTION_ACKNOWLEDGED":
            return True
        # Its store had not forgotten it yet, and must now let it live as long again.
        assert await closed(again) == IDLE
        return False

    await until(forgotten)


async def test_an_active_session_is_not_closed(serve):
    session_seconds = 4.0
    server = await serve("--session-seconds", str(session_seconds), "--answer-seconds", "0")
    client = await server.connect("/ws/lively")
    start = time.monotonic()
    while time.monotonic() - start < 1.5 * session_seconds:
        await client.send(question("still there?"))
        assert (await server.event(client))["type"] == "INTERRUPTION_ACKNOWLEDGED"
        assert (await server.event(client))["type"] == "INTERRUPTION_ANSWER"
        await asyncio.sleep(0.05)


async def test_no_more_questions_wait_than_the_settings_allow(serve):
    server = await serve("--answer-seconds", "1000", "--questions-waiting", "2")
    client = await server.connect("/ws/curious")
    for _ in range(3):
        await client.send(question("why?"))
    kinds = [(await server.event(client))["type"] for _ in range(3)]
    assert kinds == ["INTERRUPTION_ACKNOWLEDGED"] * 2 + ["ERROR"]


async def test_answers_are_produced_so_many_at_once(serve):
    server = await serve(
        *("--answers-at-once", "3", "--responder", "tests.target_app.responders:counted"),
    )
    clients = [await server.connect(f"/ws/s{n}") for n in range(12)]
    for client in clients:
        await client.send(question("how many at once?"))

    async def answered(client):
        await server.event(client)
        return int((await server.event(client))["payload"]["answerText"])

    at_once = await asyncio.gather(*(answered(client) for client in clients))
    assert max(at_once) == 3


async def test_work_that_needs_the_cpu_is_done_in_another_process(serve):
    server = await serve("--responder", "tests.target_app.responders:own_pid")
    client = await server.connect("/ws/busy")
    await client.send(question("who works?"))
    await server.event(client)
    pid = int((await server.event(client))["payload"]["answerText"])
    assert pid not in {server.process.pid, os.getpid()}


async def test_a_responder_that_fails_is_told_as_an_error(serve):
    server = await serve("--responder", "tests.target_app.responders:fails")
    client = await server.connect("/ws/unlucky")
    await client.send(question("why?"))
    await server.event(client)
    answer = await server.event(client)
    assert (answer["type"], answer["payload"]["questionText"]) == ("ERROR", "why?")


@pytest.mark.parametrize("name", ["no.such.module:x", "target_app.sessions.responder:nothing"])
async def test_a_responder_that_is_not_there_is_told_with_status_2(run_to_end, name):
    status, told = await run_to_end("--port", "0", "--responder", name)
    assert status == 2
    assert f"no responder '{name}'" in told
    assert "Traceback" not in told
