"""A session, and what it may expect to find when it comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter

from tests.target_app.conftest import DEADLINE_SECONDS
from tests.target_app.session_messages import said

SETTLED_SECONDS = 10.0
"""After so long a session that was told nothing else has its progress in Redis."""


class Student:
    """Notes one page after the other, and asks something on each."""

    def __init__(self, name, clock):
        self.name = name
        self.clock = clock
        self.page = 0
        self.kept = 0
        """The last page that has to be there."""
        self.unanswered = {}
        """What was asked on connections that were closed in order: when, and at which worker."""
        self.answers = Counter()
        self.restored = 0
        self.wrong = []

    async def read(self, client, worker, pages, over):
        """Study ``pages`` pages on one connection; raise what ends it early."""
        sitting = Sitting(self, client)
        listening = asyncio.create_task(sitting.listen())
        try:
            for _ in range(pages):
                if sitting.leaving or over.is_set() or not await sitting.ask(listening):
                    break
                self.kept = max(self.kept, sitting.settled())
                await asyncio.sleep(0.1)
            await client.close()
            await listening
            # Whoever answers goes on: it was left in order.
            self.unanswered |= {text: (at, worker) for text, at in sitting.asked.items()}
        finally:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def wait_for_answers(self, client, ended):
        """Read until all is answered but what a worker took along that ended at once after it.

        ``ended`` is when each of those workers did.
        """
        expected = {
            text
            for text, (at, worker) in self.unanswered.items()
            if ended.get(worker, at + SETTLED_SECONDS) - at >= SETTLED_SECONDS
        }
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(DEADLINE_SECONDS):
                while expected - set(self.answers):
                    said = json.loads(await client.recv())
                    if said["type"] == "INTERRUPTION_ANSWER":
                        self.answers[said["payload"]["questionText"]] += 1
        missing = expected - set(self.answers)
        self.wrong += [f"no answer to {text}, {self.unanswered[text]}" for text in missing]


class Sitting:
    """One connection of a student."""

    def __init__(self, student, client):
        self.student = student
        self.client = client
        self.asked = {}
        self.leaving = False
        """Whether the server has asked it to go."""
        self._available = True
        self._restored = student.kept == 0
        self._acknowledged = asyncio.Event()
        self._refused = False
        self._noted = []

    async def listen(self):
        """Take what comes, until the connection ends."""
        async for text in self.client:
            said = json.loads(text)
            self._hear(said["type"], said.get("payload", {}))

    async def ask(self, listening):
        """Note the next page and ask; return whether that was acknowledged."""
        student = self.student
        student.page += 1
        text = f"{student.name} asks on page {student.page}"
        self._acknowledged.clear()
        self._refused = False
        await self._say("READING_PROGRESS", page=student.page)
        await self._say("STUDENT_INTERRUPTION", questionText=text)
        waiting = asyncio.create_task(self._acknowledged.wait())
        both = (waiting, listening)
        await asyncio.wait(both, timeout=DEADLINE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if not self._acknowledged.is_set():
            assert listening.done(), f"{student.name} is not acknowledged"
            return False
        if self._refused:
            # Too many questions wait already, which they do while Redis does.
            return True
        self.asked[text] = student.clock()
        if self._available:
            self._noted.append((student.clock(), student.page))
        return True

    def settled(self):
        """Return the last page that was noted long enough ago, 0 if none was."""
        before = self.student.clock() - SETTLED_SECONDS
        return max((page for at, page in self._noted if at < before), default=0)

    def _hear(self, kind, payload):
        student = self.student
        if kind == "SESSION_RESTORED":
            self._restored = True
            student.restored += 1
            if payload["page"] < student.kept:
                student.wrong.append(f"page {payload['page']} restored, {student.kept} was kept")
        elif kind == "STORE_UNAVAILABLE":
            self._available = False
            self._noted.clear()
        elif kind == "STORE_AVAILABLE":
            self._available = True
        elif kind == "INTERRUPTION_ACKNOWLEDGED":
            if self._available and not self._restored:
                student.wrong.append(f"nothing restored, page {student.kept} was kept")
            self._acknowledged.set()
        elif kind == "INTERRUPTION_ANSWER":
            student.answers[payload["questionText"]] += 1
        elif kind == "ERROR" and "questions are waiting" in payload["message"]:
            self._refused = True
            self._acknowledged.set()
        elif kind == "SERVER_SHUTTING_DOWN":
            self.leaving = True

    async def _say(self, kind, **payload):
        await self.client.send(said(kind, **payload))
