"""How an answer finds its session again, whichever worker it is connected to by then."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Any, Final, Protocol

from target_app.redis_client import FAILURES

if TYPE_CHECKING:
    from collections.abc import Callable

    from redis.asyncio import Redis

    from target_app.bus.hub import Envelope, Hub
    from target_app.sessions.store import SessionStore

    Deliver = Callable[[str, dict[str, Any]], bool]

QUESTIONS: Final = "student_questions"
ANSWERS: Final = "llm_responses"
RECONNECT_SECONDS: Final = 1.0

logger = logging.getLogger(__name__)


class Answers(Protocol):
    """Carries answers to the worker that has the session, and keeps those that nobody takes.

    ``deliver(session_id, answer)`` hands an answer to a client here and says whether it did.
    """

    async def asked(self, session_id: str, question: dict[str, Any]) -> None:
        """Let everyone who cares know of a question."""
        ...

    async def send(self, session_id: str, answer: dict[str, Any]) -> None:
        """Deliver ``answer`` wherever the session is, or keep it until it comes back."""
        ...

    async def run(self, deliver: Deliver) -> None:
        """Deliver what other workers send, until cancelled."""
        ...


class HubAnswers:
    """Over the bus between the workers."""

    def __init__(self, hub: Hub, store: SessionStore) -> None:
        self._hub = hub
        self._store = store
        self._deliver: Deliver = lambda _session_id, _answer: False
        hub.handle("answer to session", self._on_answer)

    async def asked(self, session_id: str, question: dict[str, Any]) -> None:
        """See :meth:`Answers.asked`: nobody else answers questions here."""

    async def send(self, session_id: str, answer: dict[str, Any]) -> None:
        """See :meth:`Answers.send`."""
        if self._deliver(session_id, answer):
            return
        delivered, _ = await self._hub.ask("answer to session", session_id, json.dumps(answer))
        # It may have come here while the others were asked.
        if not any(delivered) and not self._deliver(session_id, answer):
            await self._store.keep_answer(session_id, answer)

    async def run(self, deliver: Deliver) -> None:
        """See :meth:`Answers.run`."""
        self._deliver = deliver
        await asyncio.Event().wait()

    async def _on_answer(self, envelope: Envelope) -> bool:
        return self._deliver(envelope.target, json.loads(envelope.data or "{}"))


class RedisAnswers:
    """Over Redis, on the channels of the protocol, so that answers may come from anywhere.

    Questions are published on ``student_questions`` as ``{"session_id", "question_id",
    "questionText"}``; whoever publishes ``{"session_id", …}`` with an answer on ``llm_responses``
    has it delivered. An answer that is kept while its session reconnects may arrive twice rather
    than not at all; its ``questionId`` tells.
    """

    def __init__(self, redis: Redis, store: SessionStore) -> None:
        self._redis = redis
        self._store = store

    async def asked(self, session_id: str, question: dict[str, Any]) -> None:
        """See :meth:`Answers.asked`."""
        await self._publish(QUESTIONS, {"session_id": session_id, **question})

    async def send(self, session_id: str, answer: dict[str, Any]) -> None:
        """See :meth:`Answers.send`."""
        await self._store.keep_answer(session_id, answer)
        await self._publish(ANSWERS, {"session_id": session_id, **answer})

    async def run(self, deliver: Deliver) -> None:
        """See :meth:`Answers.run`; comes back when Redis does."""
        while True:
            try:
                async with self._redis.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(ANSWERS)
                    async for message in subscription.listen():
                        await self._on_message(deliver, message["data"])
            except FAILURES as error:
                logger.warning("answers over Redis: %s", error)
            await asyncio.sleep(RECONNECT_SECONDS)

    async def _on_message(self, deliver: Deliver, data: bytes) -> None:
        try:
            answer = json.loads(data)
            session_id = str(answer.pop("session_id"))
        except (ValueError, KeyError, TypeError, AttributeError):
            logger.warning("not an answer on %s: %.200r", ANSWERS, data)
            return
        if deliver(session_id, answer):
            await self._store.forget_answer(session_id, answer)

    async def _publish(self, channel: str, content: dict[str, Any]) -> None:
        await self._redis.publish(channel, json.dumps(content))
