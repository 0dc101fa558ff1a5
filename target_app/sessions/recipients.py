"""The sessions that are connected here, as those to whom answers go."""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING

from target_app.connections.message import Message
from target_app.sessions.session import session_of
from target_app.sessions.state import KEPT_ANSWERS, NotUnderstoodError, answer_from, digest
from target_app.sessions.store import NOT_KEPT, StoreUnavailableError, may_open

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
    store: what is kept no longer and was handed to it is not delivered again. What is kept no
    longer and was handed to another connection is: that may have been lost with it.
    """

    def __init__(self, holder: Holder, delivery: Delivery, store: SessionStore) -> None:
        self._holder = holder
        self._delivery = delivery
        self._store = store
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
        async with contextlib.AsyncExitStack() as stack:
            for connection in self.ready(session_id):
                await stack.enter_async_context(session_of(connection).handing)
            is_new = True
            # First forgotten, so that a client who has it does not find it again elsewhere.
            with contextlib.suppress(*NOT_KEPT):
                is_new = await self._store.forget_answer(session_id, answer, publication)
            if not is_new and any(
                _was_handed(session_of(connection), answer) for connection in self.ready(session_id)
            ):
                return
            # Whoever has it was let in by Redis, as its owner.
            if not self.deliver(session_id, answer, None):
                await self.keep_again(session_id, answer, None)

    async def deliver_kept(self, connection: Connection) -> None:
        """Hand a session the answers that are kept for it."""
        session = session_of(connection)
        try:
            async with session.handing:
                for answer in await self._store.answers(session.id):
                    session.handed = (*session.handed, _name(answer))[-KEPT_ANSWERS:]
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


def _was_handed(session: Session, answer: bytes) -> bool:
    # Whether it was handed over from the store, and was not heard of since.
    name = _name(answer)
    if name not in session.handed:
        return False
    at = session.handed.index(name)
    session.handed = session.handed[:at] + session.handed[at + 1 :]
    return True


def _name(answer: bytes) -> str:
    # Equal ones that waited together differ in the spaces at their ends.
    return digest(answer.rstrip(b" "))
