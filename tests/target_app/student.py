"""A session, and what it may expect to find when it comes back."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from tests.target_app.conftest import DEADLINE_SECONDS
from tests.target_app.session_messages import said

SETTLED_SECONDS = 10.0
"""After so long an answer is where no worker can take it along when it ends."""


class Restored(NamedTuple):
    """A page that a worker restored, and what it had to be at least."""

    at: float
    page: int
    least: int
    by: int
    told: int | None
    """The worker that knew of the page that had to be there."""
    told_at: float

    def may_be_less(self, counts, killed):
        """Return whether the one worker could not ask the other, or nobody can tell any more."""
        return self.by != self.told and any(
            counts[worker].was_interrupted(self.told_at, self.at)
            or (worker in killed and counts[worker].after(self.at) is None)
            for worker in (self.by, self.told)
        )


@dataclass
class Found:
    """What was found of the pages that had to be there."""

    restored: int = 0
    """How often one had to be."""
    excused: int = 0
    """How often it was an older one, with the bus interrupted."""
    lost: int = 0
    """Pages that went with workers that were killed."""
    wrong: list[str] = field(default_factory=list)


class Student:
    """Notes one page after the other, and asks something on each.

    A page that was acknowledged has to be there when the student comes back, at whichever worker
    and whatever became of Redis: what Redis has not got waits at the worker that was told. Three
    things alone excuse that it is not:

    - that worker was killed before Redis had it;
    - that worker could not read the session, and the student left before it could;
    - the student came back to another worker, which could not ask the first: one of the two says
      that it lost the bus between the acknowledgement and the restoration.
    """

    def __init__(self, name, clock, ended):
        self.name = name
        self.clock = clock
        self.ended = ended
        """When each worker that was killed ended."""
        self.page = 0
        """The last page that was noted, acknowledged or not."""
        self.due = 0
        """The last page that has to be there."""
        self.worker = None
        """Which worker was told of it."""
        self.told_at = 0.0
        self.waits = False
        """Whether that worker has said that it waits for Redis."""
        self.unanswered = {}
        """What was asked on connections that were closed in order: when, and at which worker."""
        self.answers = Counter()
        self.restored = []
        """Each time that there was something to restore."""
        self.lost = 0
        """How many pages a worker took along that was killed."""
        self.wrong = []

    def has_to_find(self, page, worker, *, waits):
        """Note that a worker knows a page."""
        # What it said before it was killed may be read after that.
        if worker not in self.ended and page >= self.due:
            self.told_at = self.clock()
            self.due, self.worker, self.waits = page, worker, waits

    def loses(self, worker, kept):
        """Note that a worker is killed, and that Redis has the page ``kept``."""
        if worker == self.worker and kept < self.due:
            self.lost += self.due - kept
            self.due, self.worker = kept, None

    def finds(self, page, least, worker):
        """Note that a worker has restored a page, where it had to be ``least`` at least."""
        if page > self.page:
            self.wrong.append(f"{self.name}: page {page} restored, {self.page} was the last")
        if least:
            told = Restored(self.clock(), page, least, worker, self.worker, self.told_at)
            self.restored.append(told)
            if page < least:
                # Said once; from here on it is what the student knows.
                self.due, self.worker = page, worker

    def judged(self, counts):
        """Judge what was restored by what the workers said of the bus."""
        found = Found(restored=len(self.restored), lost=self.lost)
        for restored in self.restored:
            if restored.page < restored.least:
                if restored.may_be_less(counts, self.ended):
                    found.excused += 1
                else:
                    found.wrong.append(f"{self.name}: {restored}")
        return found

    async def read(self, client, worker, pages, patient, over):
        """Study ``pages`` pages on one connection; raise what ends it early.

        Who is ``patient`` notes nothing before he has seen what he noted before.
        """
        sitting = Sitting(self, client, worker)
        listening = asyncio.create_task(sitting.listen())
        try:
            if self.due and not (patient and await sitting.until(sitting.known, listening)):
                await sitting.until(sitting.greeted, listening)
            for _ in range(pages):
                if sitting.leaving or over.is_set() or not await sitting.ask(listening):
                    break
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

    def __init__(self, student, client, worker):
        self.student = student
        self.client = client
        self.worker = worker
        self.asked = {}
        self.leaving = False
        """Whether the server has asked it to go."""
        self.greeted = asyncio.Event()
        """Whether the server has said anything."""
        self.known = asyncio.Event()
        """Whether the worker has read what was kept: what it is told from then on counts."""
        self._waits = False
        self._page = 0
        """The last page that was acknowledged here."""
        self._acknowledged = asyncio.Event()
        self._refused = False

    async def listen(self):
        """Take what comes, until the connection ends."""
        async for text in self.client:
            said = json.loads(text)
            self._hear(said["type"], said.get("payload", {}))
            self.greeted.set()

    async def until(self, event, listening):
        """Wait for an event, or the connection's end; return whether it came."""
        waiting = asyncio.create_task(event.wait())
        both = (waiting, listening)
        await asyncio.wait(both, timeout=DEADLINE_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        assert event.is_set() or listening.done(), f"{self.student.name} waits for ever"
        return event.is_set()

    async def ask(self, listening):
        """Note the next page and ask; return whether that was acknowledged."""
        student = self.student
        student.page += 1
        text = f"{student.name} asks on page {student.page}"
        self._acknowledged.clear()
        self._refused = False
        await self._say("READING_PROGRESS", page=student.page)
        await self._say("STUDENT_INTERRUPTION", questionText=text)
        if not await self.until(self._acknowledged, listening):
            return False
        # Too many questions wait already, which they do while Redis does, or this one waits too.
        if not self._refused:
            self.asked[text] = student.clock()
        return True

    def _hear(self, kind, payload):
        student = self.student
        if kind == "SESSION_RESTORED":
            student.finds(payload["page"], max(student.due, self._page), self.worker)
            # What is restored while Redis is away waited there; what it has was not read yet.
            if not self._waits:
                self._is_known(payload["page"])
        elif kind == "STORE_UNAVAILABLE":
            self._waits = True
            self._note(self._page)
        elif kind == "STORE_AVAILABLE":
            self._waits = False
            self._is_known(self._page)
        elif kind == "INTERRUPTION_ACKNOWLEDGED":
            self._acknowledge()
        elif kind == "INTERRUPTION_ANSWER":
            student.answers[payload["questionText"]] += 1
        elif kind == "ERROR" and "questions are waiting" in payload["message"]:
            self._refused = True
            self._acknowledge()
        elif kind == "SERVER_SHUTTING_DOWN":
            self.leaving = True

    def _acknowledge(self):
        # Whatever it was told before it is through with: one after the other.
        student = self.student
        if not self._waits and not self.known.is_set():
            if student.due:
                student.wrong.append(f"{student.name}: nothing restored, {student.due} was kept")
            self.known.set()
        self._page = student.page
        self._note(self._page)
        self._acknowledged.set()

    def _is_known(self, page):
        self.known.set()
        self._note(page)

    def _note(self, page):
        if self.known.is_set():
            self.student.has_to_find(page, self.worker, waits=self._waits)

    async def _say(self, kind, **payload):
        await self.client.send(said(kind, **payload))
