"""The sessions connected here, as recipients of answers."""

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
    """The delivery of answers to the sessions here: new ones, and those stored for them.

    An answer that is published may be stored by one worker, found by the session as it opens at a
    second one, and heard of there only afterwards. So a session notes what it was handed from the
    store: an answer that is no longer stored and was just handed to it is not delivered again. One
    that was handed to another connection is, because it may have been lost with that connection.
    """

    def __init__(self, holder: Holder, delivery: Delivery, store: SessionStore) -> None:
        self._holder = holder
        self._delivery = delivery
        self._store = store
        # Per session, not per connection: another connection may come in the meantime.
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        self.keep_again: Callable[[str, bytes, str | None], Awaitable[None]]
        """Stores ``(session_id, answer, owner)``, which a session should have got but did not."""

    def ready(self, session_id: str) -> list[Connection]:
        """Return the connection of the session here, if it has one that may be sent messages."""
        return [c for c, session in self._holder.here(session_id) if session.ready]

    def has(self, session_id: str) -> bool:
        """Return whether the session is here, and is known to be its owner's.

        One that has not been read yet may turn out to be somebody else's: it finds its stored
        answers later.
        """
        return any(session_of(connection).loaded for connection in self.ready(session_id))

    def deliver(self, session_id: str, answer: bytes, owner: str | None) -> bool:
        """Deliver an answer if the session is here and is ``owner``'s; return whether it was."""
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
        """Deliver an answer that every worker hears of to the session, which is here.

        ``publication`` is None if the answer has been stored, otherwise the name under which it may
        have been stored.
        """
        async with self._lock(session_id):
            is_due = True
            # Forget it first, so that a client that has it does not find it again elsewhere.
            with contextlib.suppress(*NOT_KEPT):
                is_due = await self._store.forget_answer(session_id, answer, publication)
            here = (session_of(connection) for connection in self.ready(session_id))
            if not is_due and any(_take_note(session, answer) for session in here):
                return
            # The holder of the session was let in by Redis, as its owner.
            if not self.deliver(session_id, answer, None):
                await self.keep_again(session_id, answer, None)

    async def deliver_kept(self, connection: Connection) -> None:
        """Deliver the answers that are stored for a session."""
        session = session_of(connection)
        try:
            async with self._lock(session.id):
                for answer in await self._store.answers(session.id):
                    _note(session, answer)
                    # A store that hangs may forget the answer later: then it arrives twice rather
                    # than not at all.
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
        """Deliver the answers that are stored for every session here."""
        here = [c for c, session in self._holder.all() if session.ready and session.loaded]
        await self._holder.for_each(here, self.deliver_kept)

    def _lock(self, session_id: str) -> asyncio.Lock:
        # Held while a session is handed answers that its store may have as well.
        lock = self._locks.get(session_id)
        if lock is None:
            lock = self._locks[session_id] = asyncio.Lock()
        return lock


def _note(session: Session, answer: bytes) -> None:
    now = time.monotonic()
    recent = (it for it in session.handed if now - it.at < PUBLICATION_SECONDS)
    session.handed = (*recent, Handed(_name(answer), now))[-KEPT_ANSWERS:]


def _take_note(session: Session, answer: bytes) -> bool:
    # Remove the note of an answer that was handed over; return whether there was one. A worker
    # later than that could not learn from the store either what became of a publication.
    name, now = _name(answer), time.monotonic()
    for note in session.handed:
        if note.name == name and now - note.at < PUBLICATION_SECONDS:
            session.handed = tuple(it for it in session.handed if it is not note)
            return True
    return False


def _name(answer: bytes) -> str:
    # Equal answers that waited together differ in their trailing spaces.
    return digest(answer.rstrip(b" "))
