"""A session moves while a worker stalls or ends: nothing that worker has of it is lost."""

from __future__ import annotations

import contextlib
import signal

import pytest

from tests.target_app.conftest import until
from tests.target_app.session_messages import event_of, question, said

WHEN_TOLD = "tests.target_app.responders:when_told"


@pytest.fixture
def start(serve, tmp_path):
    """Start two servers that are workers of one, each with its sessions in memory."""

    async def two(*flags):
        shared = {"TARGET_BUS": "zmq", "TARGET_RUN_DIR": str(tmp_path / "run")}
        return [await serve(*flags, **shared) for _ in range(2)]

    return two


@contextlib.contextmanager
def stalled(server):
    """Let a server do nothing meanwhile, with every connection open."""
    server.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        server.send_signal(signal.SIGCONT)


async def reads(server, client, page, class_id):
    await client.send(said("READING_PROGRESS", page=page))
    await joins(server, client, class_id)


async def joins(server, client, class_id):
    await client.send(said("JOIN_CLASS", classId=class_id))
    assert (await server.event(client))["type"] == "CLASS_JOINED"


async def found_nothing(server, client):
    await client.send(said("NOTHING"))
    assert "unknown type" in (await server.event(client))["payload"]["message"]


@pytest.mark.parametrize("leaves", [True, False])
async def test_what_a_worker_that_stalls_has_of_a_session_comes_when_it_goes_on(start, leaves):
    stalling, other = await start()
    client = await stalling.connect("/ws/reader")
    await reads(stalling, client, 3, "7b")
    if leaves:
        await client.close()
        await stalling.until_stats(open={})
    with stalled(stalling):
        again = await other.connect("/ws/reader")
        await found_nothing(other, again)
        await joins(other, again, "8a")
    assert await other.event(again) == {"type": "SESSION_RESTORED", "payload": {"page": 3}}
    await other.until_stats(rooms={"classes:7b": 1, "classes:8a": 1})
    # What it was restored to is what is kept.
    await again.close()
    later = await stalling.connect("/ws/reader")
    assert await other.event(later) == {"type": "SESSION_RESTORED", "payload": {"page": 3}}
    await other.until_stats(rooms={"classes:7b": 1, "classes:8a": 1})


async def test_what_was_noted_meanwhile_is_newer_than_what_comes_late(start):
    stalling, other = await start()
    client = await stalling.connect("/ws/reader")
    await reads(stalling, client, 3, "7b")
    with stalled(stalling):
        again = await other.connect("/ws/reader")
        await found_nothing(other, again)
        await reads(other, again, 9, "8a")
    await other.until_stats(rooms={"classes:7b": 1, "classes:8a": 1})
    await again.close()
    later = await stalling.connect("/ws/reader")
    assert await other.event(later) == {"type": "SESSION_RESTORED", "payload": {"page": 9}}


async def test_what_a_worker_that_stalls_has_is_there_when_the_session_has_left_again(start):
    stalling, other = await start()
    client = await stalling.connect("/ws/reader")
    await reads(stalling, client, 3, "7b")
    with stalled(stalling):
        again = await other.connect("/ws/reader")
        await found_nothing(other, again)
        await joins(other, again, "8a")
        await again.close()
        await other.until_stats(open={})
    await client.wait_closed()
    later = await other.connect("/ws/reader")
    assert await other.event(later) == {"type": "SESSION_RESTORED", "payload": {"page": 3}}
    await other.until_stats(rooms={"classes:7b": 1, "classes:8a": 1})


async def test_an_answer_that_waits_at_a_worker_that_stalls_comes_when_it_goes_on(start, tmp_path):
    stalling, other = await start("--responder", WHEN_TOLD)
    now = tmp_path / "now"
    client = await stalling.connect("/ws/reader")
    await client.send(question(str(now)))
    assert (await stalling.event(client))["type"] == "INTERRUPTION_ACKNOWLEDGED"
    await client.close()
    await stalling.until_stats(open={}, answers_waiting=1)
    now.touch()
    await stalling.until_stats(answers_waiting=0)
    with stalled(stalling):
        again = await other.connect("/ws/reader")
        await found_nothing(other, again)
    answer = await event_of(other, again, "INTERRUPTION_ANSWER")
    assert answer["payload"]["questionText"] == str(now)


async def test_questions_of_a_worker_that_was_killed_are_waited_for_no_longer(start):
    killed, other = await start("--answer-seconds", "1000", "--questions-waiting", "2")
    client = await killed.connect("/ws/curious")
    for _ in range(2):
        await client.send(question("why?"))
        assert (await killed.event(client))["type"] == "INTERRUPTION_ACKNOWLEDGED"
    again = await other.connect("/ws/curious")

    async def acknowledged():
        await again.send(question("why?"))
        return (await other.event(again))["type"] == "INTERRUPTION_ACKNOWLEDGED"

    assert not await acknowledged()
    killed.process.kill()
    await until(acknowledged)
