"""Redis closes connections, hangs, restarts, holds nonsense: sessions lose nothing and say so."""

from __future__ import annotations

import asyncio
import json
import time
import uuid
from functools import partial

import pytest

from target_app.sessions.publications import Publications
from target_app.sessions.redis_answers import MARKS, from_outside
from tests.target_app.conftest import until, until_answers_come
from tests.target_app.session_messages import question, said

SESSIONS = 20
OPENINGS = 40
WHEN_TOLD = "tests.target_app.responders:when_told"


@pytest.fixture
async def server(serve, redis):
    started = await serve("--answer-seconds", "0", TARGET_REDIS_URL=redis.url)
    await until_answers_come(redis)
    return started


async def state_is(redis, session_id, **wanted):
    async def so():
        kept = json.loads((redis.command("get", f"session:{session_id}") or ["null"])[0] or "null")
        return kept is not None and {name: kept[name] for name in wanted} == wanted

    await until(so)


async def ask(server, client, text):
    """Ask something, and wait until that is acknowledged."""
    await client.send(question(text))
    assert (await server.event(client))["type"] == "INTERRUPTION_ACKNOWLEDGED"


async def readyz_is(server, status):
    async def so():
        return (await server.http.get("/readyz")).status_code == status

    await until(so)


@pytest.mark.parametrize("how", ["client kill", "timeout"])
async def test_connections_that_redis_has_closed_cost_no_session_its_state(server, redis, how):
    clients = [await server.connect(f"/ws/s{n}") for n in range(SESSIONS)]
    for n, client in enumerate(clients):
        await client.send(said("READING_PROGRESS", page=n))
        await client.close()
    await server.until_stats(open={})
    for n in range(SESSIONS):
        await state_is(redis, f"s{n}", progress={"page": n})
    if how == "client kill":
        redis.close_connections()
    else:
        redis.command("config", "set", "timeout", "1")

        async def all_closed():
            # One asks every second whether Redis is there; the listener is exempt.
            return len(redis.command("client", "list", "type", "normal")) <= 2

        await until(all_closed)
    again = await asyncio.gather(*(server.connect(f"/ws/s{n}") for n in range(SESSIONS)))
    for n, client in enumerate(again):
        await client.send(said("JOIN_CLASS", classId="7b"))
        assert await server.event(client) == {"type": "SESSION_RESTORED", "payload": {"page": n}}
        assert (await server.event(client))["type"] == "CLASS_JOINED"
    for n in range(SESSIONS):
        await state_is(redis, f"s{n}", progress={"page": n}, classes=["7b"])


async def test_a_session_that_cannot_be_read_is_told_so_and_restored_later(server, redis):
    client = await server.connect("/ws/reader")
    await client.send(said("READING_PROGRESS", page=3))
    await client.close()
    await server.until_stats(open={})
    await state_is(redis, "reader", progress={"page": 3})
    redis.pause()
    try:
        again = await server.connect("/ws/reader")
        assert (await server.event(again))["type"] == "STORE_UNAVAILABLE"
        await again.send(said("JOIN_CLASS", classId="7b"))
        assert (await server.event(again))["type"] == "CLASS_JOINED"
    finally:
        redis.resume()
    assert await server.event(again) == {"type": "SESSION_RESTORED", "payload": {"page": 3}}
    assert (await server.event(again))["type"] == "STORE_AVAILABLE"
    await state_is(redis, "reader", progress={"page": 3}, classes=["7b"])


async def test_what_changes_while_redis_is_away_is_kept_when_it_is_back(server, redis):
    client = await server.connect("/ws/reader")
    await client.send(said("READING_PROGRESS", page=3))
    await state_is(redis, "reader", progress={"page": 3})
    redis.pause()
    try:
        await client.send(said("READING_PROGRESS", page=4))
        assert (await server.event(client))["type"] == "STORE_UNAVAILABLE"
        await client.send(said("READING_PROGRESS", page=5))
        await ask(server, client, "are you there?")
        assert (await server.event(client))["type"] == "INTERRUPTION_ANSWER"
    finally:
        redis.resume()
    assert (await server.event(client))["type"] == "STORE_AVAILABLE"
    await state_is(redis, "reader", progress={"page": 5})


async def test_what_a_session_that_has_left_could_not_keep_is_kept_later(server, redis):
    client = await server.connect("/ws/reader")
    await client.send(said("READING_PROGRESS", page=3))
    await state_is(redis, "reader", progress={"page": 3})
    redis.pause()
    try:
        await client.send(said("READING_PROGRESS", page=4))
        assert (await server.event(client))["type"] == "STORE_UNAVAILABLE"
        await client.close()
        again = await server.connect("/ws/reader")
        assert (await server.event(again))["type"] == "STORE_UNAVAILABLE"
        assert (await server.event(again))["payload"] == {"page": 4}
        await again.close()
    finally:
        redis.resume()


async def test_what_waits_of_sessions_that_have_left_is_bounded_and_what_does_not_is_told(
    serve, redis
):
    server = await serve("--sessions-bytes", "100000", TARGET_REDIS_URL=redis.url)
    clients = [await server.connect(f"/ws/reader-{n}") for n in range(12)]
    for client in clients:
        await client.send(said("NOTHING"))
        assert (await server.event(client))["type"] == "ERROR", "its session is there"
    redis.pause()
    try:
        for client in clients:
            await client.send(said("READING_PROGRESS", text="x" * 20_000))
            assert (await server.event(client))["type"] == "STORE_UNAVAILABLE"
        for client in clients:
            await client.close()
        await server.until_stats(open={})
    finally:
        redis.resume()
    await server.drain()
    assert await server.exit_status() == 0
    kept = [n for n in range(12) if redis.command("exists", f"session:reader-{n}") == ["1"]]
    told = "\n".join(server.lines)
    lost = [n for n in range(12) if f"'reader-{n}': what changed of it is not kept" in told]
    assert 0 < len(kept) <= 5
    assert kept == [n for n in range(12) if n not in lost]


async def test_a_redis_that_has_lost_everything_is_given_it_again(server, redis):
    client = await server.connect("/ws/reader")
    await client.send(said("READING_PROGRESS", page=3))
    await client.send(said("JOIN_CLASS", classId="7b"))
    assert (await server.event(client))["type"] == "CLASS_JOINED"
    redis.kill()
    redis.start()
    await state_is(redis, "reader", progress={"page": 3}, classes=["7b"])

    async def member():
        return redis.command("smembers", "class:7b") == ["reader"]

    await until(member)


async def test_readyz_tells_whether_sessions_can_be_kept(server, redis):
    await readyz_is(server, 200)
    redis.kill()
    await readyz_is(server, 503)
    assert (await server.http.get("/healthz")).status_code == 200
    redis.start()
    await readyz_is(server, 200)


async def test_nobody_who_is_connected_waits_for_a_redis_that_hangs(serve, redis):
    server = await serve(
        module="uvicorn",
        app="tests.target_app.patient_redis:app",
        TARGET_REDIS_URL=redis.url,
        TARGET_BUS=redis.url,
        TARGET_ANSWER_SECONDS="0",
    )
    chatting = await server.connect()
    teacher, pupil = await server.connect("/ws/teacher"), await server.connect("/ws/pupil")
    for client in (teacher, pupil):
        await client.send(said("JOIN_CLASS", classId="7b"))
        assert (await server.event(client))["type"] == "CLASS_JOINED"
    redis.pause()
    try:
        for n in range(3):
            await chatting.send(f"hello {n}")
            assert await chatting.recv() == f"hello {n}"
        await teacher.send(said("CLASS_MESSAGE", classId="7b", text="listen"))
        assert (await server.event(pupil))["payload"]["text"] == "listen"
        await pupil.send(said("READING_PROGRESS", page=1))
        await ask(server, pupil, "do you hear me?")
        for whom, reached in (("class", {"class": "7b"}), ("all", {})):
            answer = await server.http.post("/broadcast", json={"message": whom, **reached})
            assert answer.status_code == 200
        assert (await server.event(pupil))["payload"]["text"] == "class"
        assert await chatting.recv() == "all"
    finally:
        redis.resume()


async def test_members_of_a_worker_that_was_killed_leave_their_classes(serve, redis):
    shared = {"TARGET_REDIS_URL": redis.url}
    short = "2"
    one, other = [await serve("--session-seconds", short, **shared) for _ in range(2)]
    client = await one.connect("/ws/killed")
    await client.send(said("JOIN_CLASS", classId="7b"))
    assert (await one.event(client))["type"] == "CLASS_JOINED"
    redis.command("sadd", "class:7b", "from-outside")
    one.process.kill()

    async def only_the_other():
        return redis.command("smembers", "class:7b") == ["from-outside"]

    await until(only_the_other)
    assert other.process.returncode is None


@pytest.mark.parametrize(
    "words",
    [
        ("set", "session:odd", "{not json"),
        ("set", "session:odd", '"a text"'),
        ("set", "session:odd", '{"progress": 5, "classes": []}'),
        ("set", "session:odd", '{"progress": {}, "classes": 5}'),
        ("set", "session:odd", '{"progress": null, "classes": ["\\ud800"]}'),
        ("set", "session:odd", '{"progress": {"\\ud800": 1}, "classes": []}'),
        ("set", "session:odd", '{"progress": {}, "classes": [], "claim": [1, "\\ud800"]}'),
        ("set", "session:odd", '{"progress": {}, "classes": [], "claim": [true, ""]}'),
        ("set", "session:odd", '{"progress": {}, "classes": [], "changes": %s}' % ("9" * 4_300)),
        ("set", "session:odd", b"\xed\xa0\x80"),
        ("hset", "session:odd", "page", "3"),
        ("hset", "claim:odd", "who", "knows"),
        ("set", "answers:odd", "not a sorted set"),
        ("zadd", "answers:odd", "1", b"\xff"),
        ("zadd", "answers:odd", "1", "no json"),
        ("zadd", "answers:odd", "1", '["no object"]'),
        ("zadd", "answers:odd", "1", '{"type": "\\ud800"}'),
        ("zadd", "answers:odd", "1", "[" * 10_000),
        ("hset", "owner:odd", "who", "knows"),
    ],
    ids=lambda words: " ".join(map(str, words))[:80],
)
async def test_what_redis_holds_and_nobody_understands_is_told(server, redis, words):
    redis.command(*words)
    client = await server.connect("/ws/odd")
    told = await server.event(client)
    assert told["type"] == "ERROR"
    assert "not understood" in told["payload"]["message"]
    await client.send(said("NOTHING"))
    assert "unknown type" in (await server.event(client))["payload"]["message"]
    await server.says("session 'odd'")
    assert not any("Traceback" in line for line in server.lines)


async def test_what_changes_after_what_nobody_understood_is_kept(server, redis):
    redis.command("set", "session:odd", '{"progress": null, "classes": ["\\ud800"]}')
    client = await server.connect("/ws/odd")
    assert (await server.event(client))["type"] == "ERROR"
    await client.send(said("READING_PROGRESS", page=3))
    await state_is(redis, "odd", progress={"page": 3}, classes=[])


@pytest.mark.parametrize("nonsense", ["nonsense", f"{'9' * 400} me", f"{2**53} me", b"\xff", ""])
async def test_a_claim_that_nobody_understands_is_none(server, redis, nonsense):
    redis.command("set", "claim:odd", nonsense)
    client = await server.connect("/ws/odd")
    await client.send(said("READING_PROGRESS", page=3))
    await state_is(redis, "odd", progress={"page": 3})
    again = await server.connect("/ws/odd")
    assert await server.event(again) == {"type": "SESSION_RESTORED", "payload": {"page": 3}}
    assert not any("Traceback" in line for line in server.lines)


async def test_an_answer_that_nobody_understands_is_told_once_and_hides_no_other(server, redis):
    for n, answer in enumerate(['{"type":"MINE","n":1}', b"\xff", '{"type":"MINE","n":2}']):
        redis.command("zadd", "answers:odd", str(n), answer)
    client = await server.connect("/ws/odd")
    heard = [await server.event(client) for _ in range(3)]
    assert [event.get("n", event["type"]) for event in heard] == [1, "ERROR", 2]
    again = await server.connect("/ws/odd")
    await again.send(said("NOTHING"))
    assert "unknown type" in (await server.event(again))["payload"]["message"]


async def test_a_member_that_is_no_text_is_nobody(server, redis):
    redis.command("sadd", "class:math", b"\xff", "pupil")
    teacher, pupil = await server.connect("/ws/teacher"), await server.connect("/ws/pupil")
    other = await server.connect("/ws/%EF%BF%BD")  # what stands for what is no text
    await teacher.send(said("JOIN_CLASS", classId="math"))
    assert (await server.event(teacher))["type"] == "CLASS_JOINED"
    await teacher.send(said("CLASS_MESSAGE", classId="math", text="hello"))
    assert (await server.event(pupil))["payload"]["text"] == "hello"
    await other.send(said("CLASS_MESSAGE", classId="math", text="me too"))
    assert "not in class" in (await server.event(other))["payload"]["message"]


# Formats of programs beside the server


async def test_a_state_that_another_program_wrote_is_restored(server, redis):
    redis.command("set", "session:reader", '{"page": 3}')
    client = await server.connect("/ws/reader")
    assert await server.event(client) == {"type": "SESSION_RESTORED", "payload": {"page": 3}}


@pytest.mark.parametrize(
    ("answer", "received"),
    [
        ({"response": {"text": "because"}}, {"payload": {"text": "because"}}),
        ({"response": "because"}, {"payload": {"answerText": "because"}}),
        ({"response": {"type": "MINE", "n": 1}}, {"type": "MINE", "n": 1}),
        ({"type": "MINE", "payload": {"n": 1}}, {"type": "MINE", "payload": {"n": 1}}),
    ],
)
async def test_an_answer_of_another_program_is_delivered_once_also_to_who_was_away(
    server, redis, answer, received
):
    published = json.dumps({"session_id": "reader", **answer})
    expected = {"type": "INTERRUPTION_ANSWER"} | received

    async def heard():
        return redis.command("publish", "llm_responses", published) == ["1"]

    async def kept():
        return redis.command("zcard", "answers:reader") == ["1"]

    await until(heard)
    await until(kept)
    client = await server.connect("/ws/reader")
    assert await server.event(client) == expected
    redis.command("publish", "llm_responses", published)
    assert await server.event(client) == expected
    await client.close()
    again = await server.connect("/ws/reader")
    await again.send(said("NOTHING"))
    assert (await server.event(again))["type"] == "ERROR", "nothing is delivered twice"


async def publish(redis, session_id, response):
    answer = json.dumps({"session_id": session_id, "response": response})
    await asyncio.to_thread(redis.command, "publish", "llm_responses", answer)


async def until_marked(redis, servers, published=None):
    """Wait until so many servers count in the same way what others publish.

    Each has published its mark by then: ``published`` is how much was, all told.
    """
    await until_answers_come(redis, servers)
    calls = f"cmdstat_publish:calls={published or servers},"

    async def marked():
        stats = redis.command("info", "commandstats")
        return any(line.startswith(calls) for line in stats)

    await until(marked)


async def until_all_heard(redis, servers):
    """Wait until each of the servers is through with what was published before."""
    for n, server in enumerate(servers):
        name = f"listener-{n}-{uuid.uuid4()}"
        listener = await server.connect(f"/ws/{name}")
        await publish(redis, name, "the last")
        assert (await server.event(listener))["payload"] == {"answerText": "the last"}
        await listener.close()


@pytest.mark.parametrize("count", [1, 3])
async def test_equal_answers_of_another_program_are_delivered_as_often_as_they_are_published(
    serve, redis, count
):
    shared = {"TARGET_REDIS_URL": redis.url}
    servers = [await serve(**shared) for _ in range(count)]
    await until_marked(redis, count)
    first, last = servers[0], servers[-1]
    client = await first.connect("/ws/reader")
    for _ in range(3):
        await publish(redis, "reader", "yes")
        assert (await first.event(client))["payload"] == {"answerText": "yes"}
    await client.close()
    await first.until_stats(open={})
    for _ in range(5):
        await publish(redis, "reader", "yes")
    await until_all_heard(redis, servers)
    again = await last.connect("/ws/reader")
    for _ in range(5):
        assert (await last.event(again))["payload"] == {"answerText": "yes"}
    for _ in range(2):
        await publish(redis, "reader", "yes")
        assert (await last.event(again))["payload"] == {"answerText": "yes"}
    await again.close()
    await until_all_heard(redis, servers)
    third = await first.connect("/ws/reader")
    await third.send(said("NOTHING"))
    assert (await first.event(third))["type"] == "ERROR", "and no more often"


class AnotherWorker:
    """Keeps what is published before a server that counts publications like it hears of that."""

    def __init__(self, redis):
        self._redis = redis
        self._publications = Publications()
        redis.command("publish", MARKS, "a mark")
        self._publications.marked(b"a mark")

    def keep(self, session_id, text, kept_as):
        """Keep an answer, as the text ``kept_as``, that is published next or before."""
        name = self._publications.next()
        self._redis.command("zadd", f"answers:{session_id}", str(time.time_ns()), kept_as)
        self._redis.command("set", f"published:{session_id}:{name}", kept_as)
        return partial(publish, self._redis, session_id, text)


def kept_text(text):
    return from_outside(json.dumps({"session_id": "", "response": text}).encode())[1].decode()


async def test_an_answer_that_was_kept_is_not_delivered_again_to_who_hears_of_it_late(serve, redis):
    server = await serve(TARGET_REDIS_URL=redis.url)
    await until_marked(redis, 1)
    another = AnotherWorker(redis)
    publish_yes = another.keep("reader", "yes", kept_text("yes"))
    publish_equal = another.keep("reader", "yes", kept_text("yes") + " ")
    publish_trimmed = another.keep("reader", "trimmed", kept_text("trimmed"))
    redis.command("zrem", "answers:reader", kept_text("trimmed"))
    client = await server.connect("/ws/reader")
    for _ in range(2):
        assert (await server.event(client))["payload"] == {"answerText": "yes"}
    await publish_yes()
    await publish_equal()
    await publish_trimmed()
    # What is kept no longer and was not found comes all the same.
    assert (await server.event(client))["payload"] == {"answerText": "trimmed"}
    await publish(redis, "reader", "yes")
    assert (await server.event(client))["payload"] == {"answerText": "yes"}, "a new one"


async def test_an_answer_of_a_worker_is_not_delivered_again_to_who_found_it_kept(serve, redis):
    server = await serve(TARGET_REDIS_URL=redis.url)
    await until_answers_come(redis)
    redis.command("zadd", "answers:reader", "1", kept_text("yes"))
    client = await server.connect("/ws/reader")
    assert (await server.event(client))["payload"] == {"answerText": "yes"}
    told = json.dumps({"session_id": "reader", "kept": True, "response": "yes"})
    redis.command("publish", "llm_responses", told)
    await publish(redis, "reader", "another")
    assert (await server.event(client))["payload"] == {"answerText": "another"}


@pytest.mark.parametrize("count", [1, 3])
async def test_an_answer_to_a_session_that_is_opening_comes_once(serve, redis, count):
    servers = [await serve(TARGET_REDIS_URL=redis.url) for _ in range(count)]
    await until_marked(redis, count)
    server = servers[0]

    async def opened_meanwhile(n):
        client, _ = await asyncio.gather(
            server.connect(f"/ws/reader-{n}"), publish(redis, f"reader-{n}", "once")
        )
        assert (await server.event(client))["payload"] == {"answerText": "once"}
        return client

    clients = [await opened_meanwhile(n) for n in range(OPENINGS)]
    await until_all_heard(redis, servers)
    for n, client in enumerate(clients):
        await publish(redis, f"reader-{n}", "the last")
        assert (await server.event(client))["payload"] == {"answerText": "the last"}


async def test_an_answer_of_another_program_is_kept_also_before_redis_is_known_to_be_back(
    server, redis
):
    client = await server.connect("/ws/reader")
    redis.pause()
    try:
        await client.send(said("READING_PROGRESS", page=4))
        assert (await server.event(client))["type"] == "STORE_UNAVAILABLE"
    finally:
        redis.resume()
    await publish(redis, "away", "yes")  # it is asked for once a second

    async def kept():
        return redis.command("exists", "answers:away") == ["1"]

    await until(kept)


async def test_a_server_that_comes_later_counts_what_is_published_like_the_others(serve, redis):
    shared = {"TARGET_REDIS_URL": redis.url}
    servers = [await serve(**shared) for _ in range(2)]
    await until_marked(redis, 2)
    await publish(redis, "reader", "yes")
    servers.append(await serve(**shared))
    await until_marked(redis, 3, published=3 + 1)
    await publish(redis, "reader", "yes")
    redis.close_connections("pubsub")
    await until_marked(redis, 3, published=3 + 2 + 3)
    for _ in range(2):
        await publish(redis, "reader", "yes")
    await until_all_heard(redis, servers)
    client = await servers[2].connect("/ws/reader")
    for _ in range(4):
        assert (await servers[2].event(client))["payload"] == {"answerText": "yes"}
    await client.send(said("NOTHING"))
    assert (await servers[2].event(client))["type"] == "ERROR"


async def test_a_member_that_another_program_added_hears_the_class_and_may_speak(server, redis):
    teacher, pupil = await server.connect("/ws/teacher"), await server.connect("/ws/pupil")
    await teacher.send(said("JOIN_CLASS", classId="math"))
    assert (await server.event(teacher))["type"] == "CLASS_JOINED"
    redis.command("sadd", "class:math", "pupil")
    for text in ("hello", "again"):
        await teacher.send(said("CLASS_MESSAGE", classId="math", text=text))
        assert (await server.event(teacher))["payload"]["text"] == text
        assert (await server.event(pupil))["payload"]["text"] == text
    await pupil.send(said("CLASS_MESSAGE", classId="math", text="here"))
    assert (await server.event(teacher))["payload"]["sessionId"] == "pupil"
    await pupil.close()
    await server.until_stats(open={"/ws/{session_id}": 1})
    assert "pupil" in redis.command("smembers", "class:math"), "it was not ours to take away"


async def test_a_member_that_another_program_added_misses_nothing_said_at_once(server, redis):
    teacher, pupil = await server.connect("/ws/teacher"), await server.connect("/ws/pupil")
    await teacher.send(said("JOIN_CLASS", classId="math"))
    assert (await server.event(teacher))["type"] == "CLASS_JOINED"
    redis.command("sadd", "class:math", "pupil")
    texts = [f"sentence {n}" for n in range(20)]
    for text in texts:
        await teacher.send(said("CLASS_MESSAGE", classId="math", text=text))
    for client in (teacher, pupil):
        assert [(await server.event(client))["payload"]["text"] for _ in texts] == texts


@pytest.mark.parametrize("servers", [1, 2])
async def test_a_member_that_another_program_added_hears_and_is_counted_in_what_is_posted(
    serve, redis, servers
):
    shared = {"TARGET_REDIS_URL": redis.url, "TARGET_BUS": redis.url}
    started = [await serve(**shared) for _ in range(servers)]
    await until_answers_come(redis, servers)
    teacher, pupil = await started[0].connect("/ws/teacher"), await started[-1].connect("/ws/pupil")
    await teacher.send(said("JOIN_CLASS", classId="math"))
    assert (await started[0].event(teacher))["type"] == "CLASS_JOINED"
    await started[0].until_reached(1, **{"class": "math", "message": "before"})
    while (await started[0].event(teacher))["payload"]["text"] != "before":
        pass
    redis.command("sadd", "class:math", "pupil", "teacher", "nobody")
    for text in ("added", "again"):
        answer = await started[0].http.post("/broadcast", json={"class": "math", "message": text})
        assert answer.json() == {"reached": 2}
        for server, client in ((started[0], teacher), (started[-1], pupil)):
            heard = await server.event(client)
            assert heard == {"type": "MESSAGE", "payload": {"text": text}}, "and that once"


async def test_without_a_responder_questions_are_only_published(serve, redis):
    server = await serve("--responder", "none", TARGET_REDIS_URL=redis.url)
    await until_answers_come(redis)
    listening = await asyncio.create_subprocess_exec(
        *("redis-cli", "-p", str(redis.port), "subscribe", "student_questions"),
        stdout=asyncio.subprocess.PIPE,
    )
    try:
        for _ in range(3):
            await listening.stdout.readline()
        client = await server.connect("/ws/reader")
        await ask(server, client, "who knows?")
        for _ in range(2):
            await listening.stdout.readline()
        assert json.loads(await listening.stdout.readline())["questionText"] == "who knows?"
    finally:
        listening.kill()
        await listening.communicate()
    answer = json.dumps({"session_id": "reader", "response": {"answerText": "I do"}})
    redis.command("publish", "llm_responses", answer)
    assert (await server.event(client))["payload"] == {"answerText": "I do"}


async def test_without_a_responder_and_without_redis_it_does_not_start(run_to_end):
    status, told = await run_to_end("--port", "0", "--responder", "none")
    assert status == 2
    assert "needs" in told
    assert "redis" in told
    assert "Traceback" not in told


async def test_a_drain_waits_until_what_was_asked_is_answered(serve, redis, tmp_path):
    now = tmp_path / "now"
    server = await serve("--responder", WHEN_TOLD, TARGET_REDIS_URL=redis.url)
    client = await server.connect("/ws/reader")
    await ask(server, client, str(now))
    await client.close()
    await server.until_stats(open={})
    await server.drain()
    now.touch()
    assert await server.exit_status() == 0
    later = await serve(TARGET_REDIS_URL=redis.url)
    client = await later.connect("/ws/reader")
    answer = await later.event(client)
    assert (answer["type"], answer["payload"]["questionText"]) == ("INTERRUPTION_ANSWER", str(now))


async def test_an_answer_that_redis_did_not_take_while_it_hung_is_kept_afterwards(
    serve, redis, tmp_path
):
    now = tmp_path / "now"
    server = await serve("--responder", WHEN_TOLD, TARGET_REDIS_URL=redis.url)
    client = await server.connect("/ws/reader")
    await ask(server, client, str(now))
    redis.pause()
    try:
        await client.close()
        await server.until_stats(open={})
        now.touch()
        await server.says("an answer without Redis (delivered: False)")
    finally:
        redis.resume()

    async def kept():
        return redis.command("exists", "answers:reader") == ["1"]

    await until(kept)
    again = await server.connect("/ws/reader")
    assert (await server.event(again))["type"] == "INTERRUPTION_ANSWER"


async def test_a_drain_waits_until_redis_has_every_answer(serve, redis, tmp_path):
    now = tmp_path / "now"
    server = await serve("--responder", WHEN_TOLD, TARGET_REDIS_URL=redis.url)
    client = await server.connect("/ws/reader")
    await ask(server, client, str(now))
    await client.close()
    await server.until_stats(open={})
    redis.pause()
    try:
        now.touch()
        await server.says("an answer without Redis (delivered: False)")
        await server.drain()
    finally:
        redis.resume()
    assert await server.exit_status() == 0
    later = await serve(TARGET_REDIS_URL=redis.url)
    again = await later.connect("/ws/reader")
    assert (await later.event(again))["type"] == "INTERRUPTION_ANSWER"


async def test_an_answer_that_nobody_heard_of_comes_when_they_listen_again(serve, redis, tmp_path):
    now = tmp_path / "now"
    server = await serve("--responder", WHEN_TOLD, TARGET_REDIS_URL=redis.url)
    await until_answers_come(redis)
    client = await server.connect("/ws/reader")
    await ask(server, client, str(now))
    redis.close_connections("pubsub")
    now.touch()
    assert (await server.event(client))["type"] == "INTERRUPTION_ANSWER"


async def test_nonsense_of_other_programs_ends_nothing(server, redis):
    client = await server.connect("/ws/reader")
    redis.command("publish", "llm_responses", '{"session_id": "\\ud800", "response": "x"}')
    redis.command("publish", "llm_responses", '{"session_id": "reader", "response": "fine"}')
    answer = await server.event(client)
    assert answer["payload"] == {"answerText": "fine"}


async def test_a_server_starts_on_a_redis_with_nonsense_in_it(serve, redis):
    redis.command("set", "sessions-since", "\udcff")
    redis.command("zadd", "class-leases", "1", "rubbish")
    server = await serve("--session-seconds", "2", TARGET_REDIS_URL=redis.url)

    async def swept():
        return redis.command("zcard", "class-leases") == ["0"]

    await until(swept)
    await readyz_is(server, 200)
