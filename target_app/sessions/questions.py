"""Questions and answers: produced later by a responder, routed to wherever the session is."""

from __future__ import annotations

import asyncio
import logging
import sys
import time
import uuid
from typing import TYPE_CHECKING, Any, Final

from target_app.sessions.responder import Question
from target_app.sessions.session import session_of
from target_app.sessions.state import compact

if TYPE_CHECKING:
    from target_app.bus.hub import Envelope, Hub
    from target_app.connections.connection import Connection
    from target_app.sessions.answers import Answers
    from target_app.sessions.recipients import Recipients
    from target_app.sessions.responder import Responder

COUNTED_SECONDS: Final = 1.0
"""Minimum time between asking the other workers how many questions of one session wait there."""

logger = logging.getLogger(__name__)


class Questions:
    """The questions of all sessions, accepted at any time and each answered in its turn.

    Across all sessions, which clients create as they like, at most ``most`` questions of
    ``most_bytes`` in total may wait: :meth:`refusal` reports whether there is room for another one.
    Without a responder they are only published, for others to answer.
    """

    def __init__(
        self,
        recipients: Recipients,
        hub: Hub,
        answers: Answers,
        responder: Responder | None,
        *,
        answer_seconds: float,
        most: int,
        most_bytes: int,
    ) -> None:
        self._recipients = recipients
        self._hub = hub
        self._answers = answers
        self._responder = responder
        self._answer_seconds = answer_seconds
        self._most = most
        self._most_bytes = most_bytes
        self._bytes = 0
        self._tasks: asyncio.TaskGroup | None = None
        self._of_session: dict[str, int] = {}
        self._idle = asyncio.Event()
        self._idle.set()
        self.waiting = 0
        """Questions of all sessions that are not answered yet."""
        hub.handle("question answered", self._on_answered)
        hub.handle("count questions", self._on_count)

    async def run(self) -> None:
        """Produce and deliver answers, until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await self._answers.run()
        finally:
            if self._responder is not None:
                self._responder.close()

    async def wait_answered(self) -> None:
        """Wait until every question has its answer, delivered or stored."""
        await self._idle.wait()
        await self._answers.wait_sent()

    def waiting_here(self, session_id: str) -> int:
        """Return how many questions of a session are to be answered here."""
        return self._of_session.get(session_id, 0)

    def waiting_of(self, connection: Connection) -> int:
        """Return how many questions of a session are not answered yet, on whichever worker."""
        session = session_of(connection)
        return self.waiting_here(session.id) + sum(session.elsewhere.values())

    async def counted_again(self, connection: Connection) -> int:
        """Return the same after asking the other workers: one may have ended in the meantime."""
        session = session_of(connection)
        if session.elsewhere and time.monotonic() - session.counted >= COUNTED_SECONDS:
            session.counted = time.monotonic()
            answers, silent = await self._hub.ask("count questions", session.id)
            before = session.elsewhere if silent else {}
            session.elsewhere = before | {worker: count for worker, count in answers if count}
        return self.waiting_of(connection)

    async def _on_count(self, envelope: Envelope) -> tuple[str, int]:
        return self._hub.name, self.waiting_here(envelope.target)

    def refusal(self, text: str) -> str | None:
        """Return why ``text`` cannot be asked now, whoever asks; None if it can.

        If no question is waiting, one may be larger than the bound.
        """
        if self.waiting >= self._most:
            return f"{self.waiting} questions are waiting already, of all sessions; ask again later"
        if self.waiting and self._bytes + sys.getsizeof(text) > self._most_bytes:
            most = self._most_bytes
            return f"{most} bytes of questions are waiting already, or would be; ask again later"
        return None

    def ask(self, connection: Connection, text: str) -> None:
        """Start answering ``text``; the answer goes to the session, not to the connection."""
        assert self._tasks is not None, "Questions.run() is not running"
        session = session_of(connection)
        session_id = session.id
        self._of_session[session_id] = self.waiting_here(session_id) + 1
        self.waiting += 1
        size = sys.getsizeof(text)  # which may grow in the meantime, by what Python caches in it
        self._bytes += size
        self._idle.clear()
        self._tasks.create_task(self._answer(session_id, text, size, session.owner))

    async def _answer(self, session_id: str, text: str, size: int, owner: str | None) -> None:
        assert self._tasks is not None
        question = Question(session_id, str(uuid.uuid4()), text, self._answer_seconds)
        passed_on = {"question_id": question.question_id, "questionText": text}
        try:
            # The answer does not wait until everyone has heard of the question.
            asked = self._tasks.create_task(self._answers.asked(session_id, passed_on))
            if self._responder is not None:
                answer = await self._answer_to(self._responder, question)
                await self._answers.send(session_id, answer, owner)
            # The question is kept here until then, so it counts until then.
            if not await asked and self._responder is None:
                problem = "the question could not be passed on; ask again"
                self._recipients.deliver(session_id, _error(question, problem), owner)
        finally:
            await self._is_answered(session_id, size)

    async def _is_answered(self, session_id: str, size: int) -> None:
        self.waiting -= 1
        self._bytes -= size
        self._of_session[session_id] -= 1
        if not self._of_session[session_id]:
            del self._of_session[session_id]
        if not self._recipients.ready(session_id):
            rest = str(self.waiting_here(session_id))
            await self._hub.publish("question answered", session_id, rest)
        if not self.waiting:
            self._idle.set()

    async def _on_answered(self, envelope: Envelope) -> None:
        for connection in self._recipients.ready(envelope.target):
            session_of(connection).elsewhere[envelope.sender] = int(envelope.data or 0)

    async def _answer_to(self, responder: Responder, question: Question) -> bytes:
        try:
            text = await responder.answer(question)
            return _message("INTERRUPTION_ANSWER", question, answerText=text)
        except Exception:
            logger.exception("no answer to %.200r", question.text)
            return _error(question, "the question could not be answered")


def _error(question: Question, problem: str) -> bytes:
    return _message("ERROR", question, message=problem)


def _message(kind: str, question: Question, **rest: Any) -> bytes:  # noqa: ANN401
    payload = {"questionId": question.question_id, "questionText": question.text, **rest}
    return compact({"type": kind, "timestamp": time.time(), "payload": payload})
