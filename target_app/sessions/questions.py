"""Questions, answered later: produced by a responder, and routed to wherever the session is."""

from __future__ import annotations

import asyncio
import json
import logging
import time
import uuid
from typing import TYPE_CHECKING, Any

from target_app.connections.message import Message
from target_app.redis_client import FAILURES
from target_app.sessions.registry import session_of
from target_app.sessions.responder import Question

if TYPE_CHECKING:
    from target_app.connections.connection import Connection
    from target_app.connections.delivery import Delivery
    from target_app.sessions.answers import Answers
    from target_app.sessions.registry import Sessions
    from target_app.sessions.responder import Responder

logger = logging.getLogger(__name__)


class Questions:
    """Takes questions at any time, and has each answered in its turn."""

    def __init__(
        self,
        sessions: Sessions,
        delivery: Delivery,
        answers: Answers,
        responder: Responder,
        *,
        answer_seconds: float,
    ) -> None:
        self._sessions = sessions
        self._delivery = delivery
        self._answers = answers
        self._responder = responder
        self._answer_seconds = answer_seconds
        self._tasks: asyncio.TaskGroup | None = None
        self.waiting = 0
        """Questions of all sessions that are not answered yet."""

    async def run(self) -> None:
        """Produce and deliver answers, until cancelled."""
        try:
            async with asyncio.TaskGroup() as self._tasks:
                await self._answers.run(self._deliver)
        finally:
            self._responder.close()

    def ask(self, connection: Connection, text: str) -> None:
        """Have ``text`` answered; the answer goes to the session, not to the connection."""
        assert self._tasks is not None, "Questions.run() is not running"
        session_of(connection).waiting += 1
        self._tasks.create_task(self._answer(connection, text))

    async def _answer(self, connection: Connection, text: str) -> None:
        question = Question(connection.name, str(uuid.uuid4()), text, self._answer_seconds)
        self.waiting += 1
        try:
            told = {"question_id": question.question_id, "questionText": text}
            await self._sessions.kept(self._answers.asked(question.session_id, told), None)
            answer = await self._answer_to(question)
            try:
                await self._answers.send(question.session_id, answer)
            except FAILURES as error:
                # Without Redis an answer can still reach a client that has stayed.
                reached = self._deliver(question.session_id, answer)
                logger.warning("an answer without Redis (delivered: %s): %s", reached, error)
        finally:
            self.waiting -= 1
            session_of(connection).waiting -= 1

    async def _answer_to(self, question: Question) -> dict[str, Any]:
        payload = {"questionId": question.question_id, "questionText": question.text}
        try:
            payload["answerText"] = await self._responder.answer(question)
        except Exception:
            logger.exception("no answer to %.200r", question.text)
            payload["message"] = "the question could not be answered"
            return {"type": "ERROR", "timestamp": time.time(), "payload": payload}
        return {"type": "INTERRUPTION_ANSWER", "timestamp": time.time(), "payload": payload}

    def _deliver(self, session_id: str, answer: dict[str, Any]) -> bool:
        message = Message(json.dumps(answer))
        reached = [self._delivery.push(c, message) for c in self._sessions.ready(session_id)]
        return any(reached)
