"""The sessions that are connected here, as those to whom answers go."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING
from weakref import WeakValueDictionary

from target_app.message import Message
from target_app.sessions.session import Handed, session_of
from target_app.sessions.state import KEPT_ANSWERS, NotUnderstoodError, answer_from, digest
from target_app.sessions.store import (
    NOT_KEPT,
    PUBLICATION_SECONDS,
    StoreUnavailableError,
    may_open,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from target_app.connections.connection import Connection
    from target_app.connections.delivery import Delivery
    from target_app.sessions.holder import Holder
    from target_app.sessions.session import Session
    from target_app.sessions.store import SessionStore

logger = logging.getLogger(__name__)


class Recipients:
    """Hand each session here its answers: those that come, and those that were kept for it.

    An answer that is published may be kept by one worker, found by the session as it opens at a
    second one, and heard of there only afterwards. So a session notes what it was handed from the
    store: what is kept no longer and was just handed to it is not delivered again. What was handed
    to another connection is: that may have been lost with it.
    """

    def __init__(self, holder: Holder, delivery: Delivery, store: SessionStore) -> None:
        self._holder = holder
        self._delivery = delivery
        self._store = store
        # Of a session, not of its connection: another one may come meanwhile.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.keep_again: Callable[[str, bytes, str | None], Awaitable[None]]
        """Keeps ``(session_id, answer, owner)``, which a session was to get and did not."""

    def ready(self, session_id: str) -> list[Connection]:
        """Return the connection of the session here, if it has one that may be told things."""
        return [c for c, session in self._holder.here(session_id) if session.ready]

    def has(self, session_id: str) -> bool:
        """Return whether the session is here, and is known to be its owner's.

        One that was not read yet may turn out to be somebody else's: it finds what is kept later.
        """
        return any(session_of(connection).loaded for connection in self.ready(session_id))

    def deliver(self, session_id: str, answer: bytes, owner: str | None) -> bool:
        """Hand an answer to the session, if it is here and for ``owner``; return whether it was."""
        message = Message(answer.decode())
        reached = [
            self._delivery.push(connection, message)
            for connection in self.ready(session_id)
            if may_open(owner, session_of(connection).owner)
        ]
        return any(reached)

    async def deliver_published(
        self, session_id: str, answer: bytes, publication: str | None
    ) -> None:
        """Hand an answer of which every worker hears to the session, which is here.

        ``publication`` is None if it has been kept, else what it may have been kept under.
        """
        async with self._lock(session_id):
            is_due = True
            # First forgotten, so that a client who has it does not find it again elsewhere.
            with contextlib.suppress(*NOT_KEPT):
                is_due = await self._store.forget_answer(session_id, answer, publication)
            here = (session_of(connection) for connection in self.ready(session_id))
            if not is_due and any(_take_note(session, answer) for session in here):
                return
            # Whoever has it was let in by Redis, as its owner.
            if not self.deliver(session_id, answer, None):
                await self.keep_again(session_id, answer, None)

    async def deliver_kept(self, connection: Connection) -> None:
        """Hand a session the answers that are kept for it."""
        session = session_of(connection)
        try:
            async with self._lock(session.id):
                for answer in await self._store.answers(session.id):
                    _note(session, answer)
                    # A store that hangs may do later what it was asked to: then it comes twice
                    # rather than not at all.
                    with contextlib.suppress(StoreUnavailableError):
                        await self._store.forget_answer(session.id, answer)
                    await self._hand_over(connection, answer)
        except StoreUnavailableError as error:
            logger.warning("session %r: its answers: %s", session.id, error)
        except NotUnderstoodError as error:
            self._holder.keeper.complain(connection, str(error))

    async def _hand_over(self, connection: Connection, kept: bytes) -> None:
        try:
            answer = answer_from(kept)
        except NotUnderstoodError as error:
            self._holder.keeper.complain(connection, str(error))
            return
        if not self._delivery.push(connection, Message(answer.decode())):
            session = session_of(connection)
            await self.keep_again(session.id, answer, session.owner)

    async def catch_up(self) -> None:
        """Hand every session here the answers that are kept for it."""
        here = [c for c, session in self._holder.all() if session.ready and session.loaded]
        await self._holder.for_each(here, self.deliver_kept)

    def _lock(self, session_id: str) -> asyncio.Lock:
        # Held while a session is handed what its store may keep as well.
        lock = self._locks.get(session_id)
        if lock is None:
            lock = self._locks[session_id] = asyncio.Lock()
        return lock


def _note(session: Session, answer: bytes) -> None:
    now = time.monotonic()
    recent = (it for it in session.handed if now - it.at < PUBLICATION_SECONDS)
    session.handed = (*recent, Handed(_name(answer), now))[-KEPT_ANSWERS:]


def _take_note(session: Session, answer: bytes) -> bool:
    # Take out the note of an answer that was handed over; return whether there was one. A worker
    # that is later than that would not be told by the store either what became of a publication.
    name, now = _name(answer), time.monotonic()
    for note in session.handed:
        if note.name == name and now - note.at < PUBLICATION_SECONDS:
            session.handed = tuple(it for it in session.handed if it is not note)
            return True
    return False


def _name(answer: bytes) -> str:
    # Equal ones that waited together differ in the spaces at their ends.
    return digest(answer.rstrip(b" "))
