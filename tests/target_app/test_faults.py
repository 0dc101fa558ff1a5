"""Two minutes of faults at random moments, under a ledger of every message.

Redis restarts, hangs and closes connections, workers are killed, also while it hangs, and replaced
one by one, each with a drain, readers are slow, and at last the whole server drains while they all
go on; another one has what was kept. Nothing that was accepted may be missing, unless the worker
that did not get it counted it as missed at that moment (:mod:`tests.target_app.ledger`), and no
page that was acknowledged, unless the worker that was told of it was killed before Redis had it
(:mod:`tests.target_app.student`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import random
import signal
from collections import Counter, defaultdict

import psutil
import pytest
from websockets.exceptions import ConnectionClosed, InvalidHandshake

from tests.target_app.conftest import DEADLINE_SECONDS, until
from tests.target_app.ledger import TRY_AGAIN_LATER, Count, Counts, Heard, Line, judge
from tests.target_app.student import Student

SECONDS = 120
TALKERS = 6
SESSIONS = 4
WORKERS = 3
ROOM = "/ws?room=ledger"
PADDING = "." * 2000
LEAVE = "Server is shutting down, please disconnect."
RESTORED = 5
"""Times that each student has to have been judged on what he finds, at least."""
CLOSED = 2
"""Times that a slow reader has to have been closed for it, at least."""
LOST = (ConnectionClosed, InvalidHandshake, OSError, EOFError)


class Injection:
    """The server under faults, who talks to it, and what is known of it."""

    def __init__(self, server, redis, seed):
        self.server = server
        self.redis = redis
        self.random = random.Random(seed)
        self.lines = []
        self.slow_lines = []
        """Those of the slow readers, who say nothing."""
        self.counts = defaultdict(Counts)
        self.slow_closed = Counter()
        """How many slow readers each worker has closed, as far as it has said."""
        self.looking = asyncio.Lock()
        self.faults = Counter()
        self.ended = {}
        """When each worker that was killed ended."""
        self.may_talk = asyncio.Event()
        self.may_talk.set()
        self.over = asyncio.Event()
        self.clock = asyncio.get_running_loop().time
        self.students = [Student(f"student-{n}", self.clock, self.ended) for n in range(SESSIONS)]

    def workers(self):
        """Return the processes that serve, as long as nobody has killed them."""
        found = []
        for child in psutil.Process(self.server.process.pid).children():
            with contextlib.suppress(psutil.Error):
                if "spawn_main" in " ".join(child.cmdline()):
                    found.append(child)
        return found

    async def worker_of(self, client):
        """Return the pid of the worker that has the other end of a connection; -1 if it ended."""
        port = client.local_address[1]

        async def found():
            return self.worker_at(port) or (-1 if client.close_code is not None else None)

        return await until(found)

    def worker_at(self, port):
        """Return the pid of the worker that is connected to a port, None if none is."""
        for worker in self.workers():
            with contextlib.suppress(psutil.Error):
                if any(c.raddr and c.raddr.port == port for c in worker.net_connections("tcp")):
                    return worker.pid
        return None

    async def connected(self, path):
        """Return a connection, as soon as the server has a place for it; None when it is over."""
        while not self.over.is_set():
            try:
                return await self.server.connect(path, ping_interval=None)
            except LOST:
                await asyncio.sleep(self.random.uniform(0.05, 0.2))
        return None

    # Who talks

    async def talk(self, number):
        """Say one thing after the other, each once the one before has come back."""
        for attempt in range(10_000):
            if (client := await self.connected(ROOM)) is None:
                return
            if (worker := await self.worker_of(client)) > 0:
                line = Line(f"{number}.{attempt}", worker)
                self.lines.append(line)
                with contextlib.suppress(*LOST):
                    await self._talk_on(client, line)
            client.transport.abort()

    async def _talk_on(self, client, line):
        back, leaving = asyncio.Event(), asyncio.Event()

        async def listen():
            try:
                async for text in client:
                    if text == LEAVE:
                        leaving.set()
                    elif self._hears(line, text) == line.name:
                        line.back_at.append(self.clock())
                        back.set()
            finally:
                line.close_code = client.close_code

        listening = asyncio.create_task(listen())
        try:
            while not (leaving.is_set() or listening.done()):
                await self.may_talk.wait()
                back.clear()
                line.said_at.append(self.clock())
                await client.send(f"{line.name} {len(line.said_at)} {PADDING}")
                waiting = asyncio.create_task(back.wait())
                await asyncio.wait(
                    (waiting, listening),
                    timeout=DEADLINE_SECONDS,
                    return_when=asyncio.FIRST_COMPLETED,
                )
                assert waiting.done() or listening.done(), f"{line.name} does not hear itself"
                waiting.cancel()
                await asyncio.sleep(self.random.uniform(0, 0.03))
            if leaving.is_set():
                await self._leave(client, line, listening)
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    def _hears(self, line, text):
        """Note what somebody has said; return whose words it was."""
        if not text.endswith(PADDING):
            return None
        name, n, _ = text.split(" ", 2)
        line.heard[name].append(Heard(int(n), self.clock()))
        return name

    async def _leave(self, client, line, listening):
        """Close, once the worker has said what it missed: it ends when all have left."""
        now = self.clock()

        async def counted():
            return listening.done() or self.counts[line.worker].after(now) is not None

        await until(counted)
        if not listening.done():
            listening.cancel()
            await asyncio.wait([listening])
            line.close_code = None
            await client.close()

    async def read_slowly(self):
        """Connect, read next to nothing or nothing at all, then what is there, vanish, come again.

        Whatever comes is without a gap, up to the close if it has been closed for that.
        """
        while not self.over.is_set():
            with contextlib.suppress(*LOST, AssertionError):
                reader = await self.server.connect_raw(ROOM, segment_bytes=536)
                worker = self.worker_at(reader.socket.getsockname()[1])
                line = Line(f"slow.{len(self.slow_lines)}", worker)
                try:
                    async with asyncio.timeout(60):
                        if self.random.random() < 0.5:
                            await self._is_closed_for_it(worker)
                        else:
                            await self._read_on(reader, line, self.random.uniform(2, 10), 0.5)
                        await self._read_on(reader, line, 5, 0)
                finally:
                    # Else a drain would wait for it.
                    reader.reset()
                    if worker is not None:
                        self.slow_lines.append(line)
            await asyncio.sleep(0.1)

    async def _is_closed_for_it(self, worker):
        """Wait until a worker has closed one more slow reader, or 40 s."""
        before = self.slow_closed[worker]
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(40):
                while self.slow_closed[worker] == before:  # noqa: ASYNC110 - it is asked
                    await asyncio.sleep(0.1)

    async def _read_on(self, reader, line, seconds, pause):
        """Read for so long, with a pause after each read, or until the connection is closed."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                while line.close_code is None:
                    await reader.read()
                    for text in reader.came():
                        self._hears(line, text)
                    if reader.protocol.close_rcvd is not None:
                        line.close_code = reader.protocol.close_rcvd.code
                    await asyncio.sleep(pause)

    # Who reads a book

    async def study(self, student):
        """Note one page after the other, and ask something on each; come back now and then."""
        while (client := await self.connected(f"/ws/{student.name}")) is not None:
            with contextlib.suppress(*LOST):
                worker = await self.worker_of(client)
                pages, patient = self.random.randint(1, 20), self.random.random() < 0.5
                await student.read(client, worker, pages, patient, self.over)
            client.transport.abort()

    async def collect_answers(self, student, server):
        """Come back to another server, which has nothing but what is kept in Redis."""
        client = await server.connect(f"/ws/{student.name}")
        await student.wait_for_answers(client, self.ended)
        await client.close()

    def kept_page(self, student):
        """Return the page that Redis has, 0 if it has none."""
        (told,) = self.redis.command("get", f"session:{student.name}") or [""]
        return json.loads(told)["progress"]["page"] if told else 0

    async def enough_was_seen(self):
        """Wait until students have come back, and slow readers were closed, often enough."""

        async def so():
            restored = min(len(student.restored) for student in self.students)
            return restored >= RESTORED and self.closed[TRY_AGAIN_LATER] >= CLOSED

        await until(so)

    @property
    def closed(self):
        """How often slow readers were ended with each code; with None by themselves."""
        return Counter(line.close_code for line in self.slow_lines)

    # What goes wrong

    async def inject(self):
        """Let something go wrong every few seconds."""
        kinds = [
            self.restart_redis,
            self.hang_redis,
            self.close_redis_connections,
            self.close_redis_connections,
            self.kill_a_worker,
            self.kill_a_worker_while_redis_hangs,
            self.replace_the_workers,
        ]
        ends = self.clock() + SECONDS
        while self.clock() < ends:
            for kind in self.random.sample(kinds, len(kinds)):
                if self.clock() < ends or not self.faults[kind.__name__]:
                    self.faults[kind.__name__] += 1
                    print(f"{self.clock():.1f} {kind.__name__}")
                    await kind()
                    await asyncio.sleep(self.random.uniform(1, 5))

    async def restart_redis(self):
        self.redis.command("shutdown", "save")
        await asyncio.to_thread(self.redis.process.wait)
        await asyncio.sleep(self.random.uniform(0, 2))
        await asyncio.to_thread(self.redis.start)

    async def hang_redis(self):
        self.redis.pause()
        await asyncio.sleep(self.random.uniform(0.5, 4))
        self.redis.resume()

    async def close_redis_connections(self):
        self.redis.close_connections(self.random.choice(["normal", "pubsub"]))

    async def kill_a_worker(self):
        victim = self.random.choice(self.workers())
        if self.faults["kill_a_worker"] % 2:
            await self.until_kept(victim.pid)
        self.lose(victim)
        self.kill(victim)
        await self.all_are_there({victim.pid})

    async def kill_a_worker_while_redis_hangs(self):
        self.redis.pause()
        await asyncio.sleep(self.random.uniform(0.5, 3))
        victim = self.random.choice(self.workers())
        self.kill(victim)
        self.redis.resume()
        self.redis.command("ping")  # by then it has done what the worker had asked of it
        self.lose(victim)
        await self.all_are_there({victim.pid})

    def kill(self, victim):
        self.ended[victim.pid] = self.clock()
        victim.kill()

    def lose(self, victim):
        for student in self.students:
            student.loses(victim.pid, self.kept_page(student))

    async def until_kept(self, pid):
        """Wait until Redis has what a worker has acknowledged by now, and not said to wait."""
        due = {s: s.due for s in self.students if s.worker == pid and not s.waits}

        async def kept():
            return all(s.waits or self.kept_page(s) >= page for s, page in due.items())

        await until(kept)

    async def replace_the_workers(self):
        before = {worker.pid for worker in self.workers()}
        self.server.send_signal(signal.SIGHUP)
        await self.all_are_there(before)

    async def all_are_there(self, but):
        """Wait until there are as many workers as ever, none of them in ``but``, and they serve."""

        async def so():
            pids = {worker.pid for worker in self.workers()}
            if len(pids) != WORKERS or pids & but:
                return False
            await self.look()
            return True

        await until(so)

    async def look(self):
        """Note what the workers that answer have counted."""
        async with self.looking:
            asked = self.clock()
            stats = await self.server.stats()
            answered = self.clock()
        for worker in stats["workers"]:
            bus = worker["bus"]
            told = Count(asked, answered, bus["missed"], bus["reconnects"], bus["connected"])
            self.counts[worker["pid"]].told.append(told)
            self.slow_closed[worker["pid"]] = worker["slow_consumers_closed"]
        return stats

    async def keep_looking(self):
        while True:
            with contextlib.suppress(Exception):
                await self.look()
            await asyncio.sleep(0.5)

    async def everybody_hears_everybody(self):
        """Wait until nothing is wrong any more, and whoever talks is heard by all who do."""

        async def healthy():
            stats = await self.look()
            workers = stats["workers"]
            return len(workers) == WORKERS and all(w["bus"]["connected"] for w in workers)

        await until(healthy)

        marks = {line.name: len(line.said_at) for line in self.living()}

        async def heard():
            now = self.living()
            if {line.name for line in now} != set(marks):
                marks.update({line.name: len(line.said_at) for line in now})
                return False
            return all(line.last(other.name) > marks[other.name] for line in now for other in now)

        await until(heard)

    def living(self):
        """Return the line that each of those who talk has now."""
        return list({line.name.partition(".")[0]: line for line in self.lines}.values())

    async def everybody_has_heard_the_last(self):
        """Let nobody say anything until all have heard all; nothing is wrong now."""

        async def heard():
            now = [line for line in self.living() if line.said_at]
            return all(line.last(other.name) == len(other.said_at) for line in now for other in now)

        self.may_talk.clear()
        await until(heard)
        self.may_talk.set()


@pytest.mark.long
@pytest.mark.timeout(SECONDS + 10 * DEADLINE_SECONDS)
async def test_nothing_accepted_is_missing_after_two_minutes_of_faults(serve, redis):
    seed = int.from_bytes(os.urandom(4))
    print(f"seed {seed}")
    server = await serve(
        *("--workers", str(WORKERS), "--bus", redis.url, "--answer-seconds", "0.05"),
        *("--slow-consumer-bytes", "100000", "--slow-consumer-seconds", "4"),
        *("--drain-timeout-seconds", "30"),
        TARGET_REDIS_URL=redis.url,
    )
    injection = Injection(server, redis, seed)
    looking = asyncio.create_task(injection.keep_looking())
    talking = [asyncio.create_task(injection.talk(n)) for n in range(TALKERS)]
    slow = [asyncio.create_task(injection.read_slowly()) for _ in range(2)]
    studying = [asyncio.create_task(injection.study(s)) for s in injection.students]
    try:
        await injection.inject()
        await injection.everybody_hears_everybody()
        await injection.enough_was_seen()
        await injection.everybody_has_heard_the_last()
        # They all go on with what they do, until they are asked to leave.
        server.send_signal(signal.SIGTERM)
        assert await server.exit_status() == 0
        injection.over.set()
        await asyncio.gather(*talking, *slow, *studying)
        kept_pages = {s.name: (injection.kept_page(s), s.due) for s in injection.students}
        later = await serve(TARGET_REDIS_URL=redis.url)
        await asyncio.gather(*(injection.collect_answers(s, later) for s in injection.students))
    finally:
        for task in (looking, *talking, *slow, *studying):
            task.cancel()
        await asyncio.gather(looking, *talking, *slow, *studying, return_exceptions=True)
    lines, students = injection.lines, injection.students
    accepted = sum(len(line.back_at) for line in lines)
    slow_lines = injection.slow_lines
    judged = judge([*lines, *slow_lines], injection.counts, set(injection.ended))
    print(injection.faults, f"{accepted} accepted on {len(lines)} connections")
    print(f"slow readers, closed with {dict(injection.closed)}")
    print(f"{judged.due} due, {judged.announced} announced as missed, {judged.unknown} unknown")
    pages = [student.judged(injection.counts) for student in students]
    for student, found in zip(students, pages, strict=True):
        print(f"{student.name}: {student.page} pages; {found}")
    assert judged.wrong == []
    assert all(kept >= due for kept, due in kept_pages.values()), kept_pages
    assert [student.wrong for student in students] == [[]] * SESSIONS
    assert [found.wrong for found in pages] == [[]] * SESSIONS
    # What was restored is hardly ever less than it might be.
    assert all(found.excused * 4 < found.restored for found in pages)
    assert all(injection.faults.values())
    # The ledger saw enough to find something in, and what it could not judge is next to nothing.
    assert accepted > 100 * TALKERS
    assert judged.due > accepted
    assert judged.unknown < judged.due / 100
    assert len(lines) > TALKERS
    assert sum(len(heard) for line in slow_lines for heard in line.heard.values()) > 100
    assert not [line for line in server.lines if "Traceback" in line]
