"""Answers over Redis, from and to anyone connected to it."""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from target_app.redis_client import FAILURES
from target_app.sessions.publications import Publications
from target_app.sessions.state import NotUnderstoodError, compact
from target_app.sessions.store import (
    NOT_KEPT,
    NotOwnerError,
    StoreFullError,
    StoreUnavailableError,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from redis.asyncio import Redis

    from target_app.sessions.hub_answers import HubAnswers
    from target_app.sessions.recipients import Recipients
    from target_app.sessions.store import SessionStore

    Send = Callable[[], Coroutine[None, None, None]]

QUESTIONS: Final = "student_questions"
ANSWERS: Final = "llm_responses"
MARKS: Final = "swarmgate:answer-marks"
"""Where workers publish the marks that they count answers from (see :class:`Publications`)."""
RECONNECT_SECONDS: Final = 1.0
UNSENT: Final = 256
"""How many answers wait for Redis to come back; older ones are dropped."""

logger = logging.getLogger(__name__)


class RedisAnswers:
    """Answers over Redis, on the channels of the protocol, so that they may come from anywhere.

    Questions are published on ``student_questions`` as ``{"session_id", "question_id",
    "questionText"}``. An answer published as ``{"session_id", "response": {…}}`` or
    ``{"session_id", "type", "payload"}`` on ``llm_responses`` is delivered, or stored until the
    session comes back, as many times as it is published: its place among the others identifies the
    publication, not its text. An answer may arrive twice rather than not at all; its ``questionId``
    shows that.

    While Redis is unavailable, answers go through ``otherwise``, and wait here if the session is
    connected nowhere.
    """

    def __init__(
        self,
        redis: Redis,
        store: SessionStore,
        recipients: Recipients,
        otherwise: HubAnswers,
        *,
        longest: int,
    ) -> None:
        self._redis = redis
        self._store = store
        self._recipients = recipients
        self._otherwise = otherwise
        self._longest = longest
        self._publications = Publications()
        self._unsent: deque[Send] = deque(maxlen=UNSENT)
        self._all_sent = asyncio.Event()
        self._all_sent.set()

    async def asked(self, session_id: str, question: dict[str, Any]) -> bool:
        """See :meth:`Answers.asked`."""
        try:
            message = compact({"session_id": session_id, **question})
            await self._redis.publish(QUESTIONS, message)
        except FAILURES as error:
            logger.warning("a question over Redis: %s", error)
            return False
        return True

    async def send(self, session_id: str, answer: bytes, owner: str | None) -> None:
        """See :meth:`Answers.send`."""
        await self._send(session_id, answer, owner, again=False)

    async def keep_again(self, session_id: str, answer: bytes, owner: str | None) -> None:
        """See :meth:`Answers.keep_again`."""
        try:
            await self._store.keep_answer(session_id, answer, owner, again=True)
        except (StoreUnavailableError, *FAILURES):
            self._send_later(partial(self._send, session_id, answer, owner, again=True))
        except NOT_KEPT as error:
            logger.warning("an answer to session %r is not kept: %s", session_id, error)

    async def wait_sent(self) -> None:
        """See :meth:`Answers.wait_sent`."""
        await self._all_sent.wait()

    async def _send(
        self, session_id: str, answer: bytes, owner: str | None, *, again: bool
    ) -> None:
        try:
            await self._store.keep_answer(session_id, answer, owner, again=again)
            # ``kept`` lets the others know that they need not store it.
            head = compact({"session_id": session_id, "kept": True})
            await self._redis.publish(ANSWERS, head[:-1] + b"," + answer[1:])
        except NotUnderstoodError as error:
            logger.warning("answers to session %r: %s", session_id, error)
            await self._otherwise.deliver(session_id, answer, owner)
        except NotOwnerError as error:
            # Redis may not know yet who opened the session while Redis was unavailable.
            if not await self._otherwise.deliver(session_id, answer, owner):
                logger.warning("an answer to session %r is not kept: %s", session_id, error)
        except (StoreUnavailableError, *FAILURES) as error:
            reached = await self._otherwise.deliver(session_id, answer, owner)
            logger.warning("an answer without Redis (delivered: %s): %s", reached, error)
            if not reached:
                self._send_later(partial(self._send, session_id, answer, owner, again=again))
        except StoreFullError as error:
            logger.warning("an answer to session %r is not kept: %s", session_id, error)

    def _send_later(self, send: Send) -> None:
        self._unsent.append(send)
        self._all_sent.clear()

    async def run(self) -> None:
        """See :meth:`Answers.run`; resume when Redis comes back."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._send_unsent())
            catching_up: asyncio.Task[None] | None = None
            while True:
                try:
                    async with self._redis.pubsub() as subscription:
                        await subscription.subscribe(ANSWERS, MARKS)
                        async for message in subscription.listen():
                            of_marks = message["channel"] == MARKS.encode()
                            if message["type"] == "subscribe" and of_marks:
                                await self._mark()
                                # What was published before is stored, and was not heard.
                                if catching_up is not None:
                                    catching_up.cancel()
                                catching_up = group.create_task(self._recipients.catch_up())
                            elif message["type"] == "message" and of_marks:
                                self._publications.marked(message["data"])
                            elif message["type"] == "message":
                                await self._on_message(message["data"])
                except FAILURES as error:
                    logger.warning("answers over Redis: %s", error)
                await asyncio.sleep(RECONNECT_SECONDS)

    async def _mark(self) -> None:
        mark = os.urandom(16).hex()
        self._publications.begin(mark)
        await self._redis.publish(MARKS, mark)

    async def _send_unsent(self) -> None:
        # Not when the subscription comes back: a Redis that hung may never have lost it.
        while True:
            await asyncio.sleep(RECONNECT_SECONDS)
            for _ in range(len(self._unsent) if self._store.available else 0):
                await self._unsent.popleft()()
            if not self._unsent:
                self._all_sent.set()

    async def _on_message(self, data: bytes) -> None:
        publication: str | None = self._publications.next()
        try:
            session_id, answer, kept = from_outside(data)
        except ValueError as error:
            logger.warning("not an answer on %s (%s): %.200r", ANSWERS, error, data)
            return
        if kept:
            publication = None  # it is the one that is stored already
        await self._take(session_id, answer, publication)

    async def _take(self, session_id: str, answer: bytes, publication: str | None) -> None:
        # Deliver an answer that all workers hear of, or store it unless it is not a separate
        # ``publication``.
        try:
            if not self._recipients.has(session_id) and publication is not None:
                if len(answer) > self._longest:
                    size = len(answer)
                    logger.warning("an answer of %d bytes to %r is not kept", size, session_id)
                    return
                await self._store.keep_answer(session_id, answer, publication=publication)
            # The session may have come while this was being stored, having read its answers before.
            if self._recipients.has(session_id):
                await self._recipients.deliver_published(session_id, answer, publication)
        except StoreUnavailableError:
            take = partial(self._take, session_id, answer, publication)
            self._send_later(take)
        except NOT_KEPT as error:
            logger.warning("an answer to session %r: %s", session_id, error)
        except Exception:
            # Whatever was published, keep listening for the next one.
            logger.exception("an answer to session %r", session_id)


def from_outside(data: bytes) -> tuple[str, bytes, bool]:
    """Parse an answer on ``llm_responses`` into session id, answer, and whether it is stored.

    An object without a ``type`` is the payload of an ``INTERRUPTION_ANSWER``, a plain text its
    ``answerText``. Raise :class:`ValueError` if ``data`` is not an answer.
    """
    try:
        found = json.loads(data)
    except RecursionError as error:
        raise ValueError("nested too deeply") from error
    if not isinstance(found, dict) or not isinstance(found.get("session_id"), (str, int)):
        raise ValueError("no object with a session_id")
    session_id = str(found.pop("session_id"))
    session_id.encode()  # half a surrogate pair, which JSON can express, is not text
    kept = found.pop("kept", False) is True
    answer = found.get("response", found)
    if isinstance(answer, str):
        answer = {"answerText": answer}
    if not isinstance(answer, dict):
        raise ValueError("response is neither an object nor a text")
    if not isinstance(answer.get("type"), str):
        # The same at every worker: there is no time of day in it.
        answer = {"type": "INTERRUPTION_ANSWER", "payload": answer}
    return session_id, compact(answer), kept
