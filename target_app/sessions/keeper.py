"""Keeping what changes of sessions, also while their store is away."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from target_app.message import Message
from target_app.sessions.session import Session, known, session_of
from target_app.sessions.state import NotUnderstoodError, compact, event
from target_app.sessions.store import StoreFullError, StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from target_app.connections.connection import Connection
    from target_app.connections.delivery import Delivery
    from target_app.sessions.store import SessionStore

PATIENCE_SECONDS: Final = 0.1
"""For a change to be kept before the client's next message is read. A client that closes before it
is kept has it handed over by the worker that it was with."""

logger = logging.getLogger(__name__)


class Keeper:
    """Gives the store what has changed of each session, one write of a session at a time.

    What it cannot give it keeps here, also of sessions that have been closed, of which it keeps
    ``most_bytes``; :meth:`overdue` returns them to whoever tries again. ``lose(connection)`` is
    called if the store says that somebody else has the session.
    """

    def __init__(
        self,
        store: SessionStore,
        delivery: Delivery,
        spawn: Callable[[Coroutine[None, None, None]], asyncio.Task[None]],
        lose: Callable[[Connection], None],
        *,
        most_bytes: int,
    ) -> None:
        self._store = store
        self._delivery = delivery
        self._spawn = spawn
        self._lose = lose
        self._most_bytes = most_bytes
        self._behind: dict[Session, Connection] = {}
        self._gone: dict[str, Connection] = {}  # the same, of those that have ended
        self._gone_bytes = 0
        self._fewer_gone = asyncio.Event()

    async def keep(self, connection: Connection) -> None:
        """Have the state of a session kept; wait for it, but not for a store that is slow."""
        session = session_of(connection)
        session.unsaved = True
        if not session.loaded or not self._store.available:
            self.is_behind(connection)
        elif not session.saving:
            session.saving = True
            if self._store.remote:
                saving = self._spawn(self._save(connection))
                await asyncio.wait([saving], timeout=PATIENCE_SECONDS)
            else:
                await self._save(connection)

    async def touch(self, connection: Connection) -> None:
        """Let the store know that a session is active and connected."""
        session = session_of(connection)
        session.touched = session.active
        try:
            if not await self._store.touch(session.id, session.state, session.claim):
                self._lose(connection)
        except StoreUnavailableError:
            pass
        except NotUnderstoodError as error:
            self.complain(connection, str(error))

    def is_behind(self, connection: Connection) -> None:
        """Note that the store does not know the session as it is, and tell its client so."""
        session = session_of(connection)
        if session.lost or not session.connected:
            self._keep_gone(connection)
            return
        self._behind[session] = connection
        if not session.told_away:
            session.told_away = True
            told = b'{"message":"sessions cannot be kept now; changes wait"}'
            self._delivery.push(connection, Message(event("STORE_UNAVAILABLE", told)))

    def is_kept(self, connection: Connection) -> None:
        """Note that the store knows the session, and tell its client if it thinks otherwise."""
        session = session_of(connection)
        self.forget(session)
        if session.connected and session.told_away:
            session.told_away = False
            self._delivery.push(connection, Message(event("STORE_AVAILABLE", b"{}")))

    def complain(self, connection: Connection, problem: str) -> None:
        """Say what is wrong with what is kept of a session, to its client and in the log."""
        session = session_of(connection)
        logger.warning("session %r: %s", session.id, problem)
        self.error(connection, f"what is kept of this session is not understood: {problem:.200}")

    def error(self, connection: Connection, told: str) -> None:
        """Tell the client what is wrong."""
        self._delivery.push(connection, Message(event("ERROR", compact({"message": told}))))

    def closed(self, connection: Connection) -> None:
        """Keep of a session that has ended what its store has not got yet, within the bound."""
        session = session_of(connection)
        session.connected = False
        if self._behind.pop(session, None) is not None or session.saving:
            self._keep_gone(connection)

    def forget(self, session: Session) -> None:
        """Try no longer to have the session kept: it is, or somebody else does."""
        self._behind.pop(session, None)
        if session.id in self._gone and session_of(self._gone[session.id]) is session:
            self._drop_gone(session.id)

    def hold(self, connection: Connection) -> None:
        """Let wait, until it is taken, what changed of a session that somebody else has now."""
        session = session_of(connection)
        if session.owes:
            self._let_wait(connection)

    def waiting(self, session_id: str) -> Session | None:
        """Return the session if it has ended and what changed of it waits to be kept."""
        connection = self._gone.get(session_id)
        return None if connection is None else session_of(connection)

    def abandon(self, session: Session) -> None:
        """Keep nothing of what waits of ``session``, and say so."""
        self.forget(session)
        logger.warning("session %r: what changed of it is not kept", session.id)

    async def wait_kept(self) -> None:
        """Wait until the store has what it can be given of the sessions that have ended."""
        while any(
            session.loaded and not session.lost for session in map(session_of, self._gone.values())
        ):
            self._fewer_gone.clear()
            await self._fewer_gone.wait()

    def unsaved(self) -> list[str]:
        """Return the sessions of which the store has not got everything."""
        behind = (*self._behind, *map(session_of, self._gone.values()))
        return [session.id for session in behind if session.state.changes]

    def overdue(self, session_seconds: float) -> list[Connection]:
        """Return the connections whose sessions the store does not know as they are."""
        due = time.monotonic() - session_seconds
        for session_id, connection in tuple(self._gone.items()):
            if session_of(connection).active <= due:
                self._drop_gone(session_id)
        return [*self._behind.values(), *self._gone.values()]

    def _keep_gone(self, connection: Connection) -> None:
        session = session_of(connection)
        if not session.lost:  # else it is held, or whoever has it now knows it
            self._let_wait(connection)

    def _let_wait(self, connection: Connection) -> None:
        session = session_of(connection)
        if (before := self._gone.get(session.id)) is not None:
            self._drop_gone(session.id)
            connection = _joined(before, connection)
            session = session_of(connection)
        self._gone[session.id] = connection
        self._gone_bytes += session.state.kept_bytes()
        while self._gone_bytes > self._most_bytes:
            self.abandon(session_of(next(iter(self._gone.values()))))

    def _drop_gone(self, session_id: str) -> None:
        # The state of a session that has ended does not change, so it counts for what it did.
        self._gone_bytes -= session_of(self._gone.pop(session_id)).state.kept_bytes()
        self._fewer_gone.set()

    def doubt(self, connection: Connection) -> None:
        """Have the session kept once more: its store may know only what it was before."""
        session = session_of(connection)
        if session.loaded and not session.lost and session.state.changes:
            session.unsaved = True
            self._behind[session] = connection

    async def try_again(self, connection: Connection) -> None:
        """Have kept what could not be kept."""
        session = session_of(connection)
        if session.lost:
            return
        if session.unsaved and session.loaded and not session.saving:
            session.saving = True
            await self._save(connection)
        elif session.loaded and not session.unsaved and not session.saving:
            self.is_kept(connection)

    async def _save(self, connection: Connection) -> None:
        session = session_of(connection)
        try:
            while session.unsaved and not session.lost:
                session.unsaved = False
                left = session.state.left
                if not await self._try(connection):
                    return
                # Those that it has left meanwhile are for the next time.
                rest = tuple(name for name in session.state.left if name not in left)
                if rest != session.state.left:
                    session.state = replace(session.state, left=rest)
            if not session.unsaved:
                self.is_kept(connection)
            if not session.connected:
                with contextlib.suppress(StoreUnavailableError, NotUnderstoodError):
                    await self._store.close(session.id, session.state, session.claim)
        finally:
            session.saving = False

    async def _try(self, connection: Connection) -> bool:
        session = session_of(connection)
        try:
            kept = await self._store.save(session.id, session.state, session.claim)
        except StoreUnavailableError:
            session.unsaved = True
            self.is_behind(connection)
            return False
        except StoreFullError as error:
            # Else it would take the memory that there is no more of, and be kept after all when
            # something else changes.
            session.state = replace(error.kept, answers=())
            self.error(connection, "not kept: the server keeps as much as it may")
        except NotUnderstoodError as error:
            self.complain(connection, str(error))
        else:
            if not kept:
                session.unsaved = True
                self._lose(connection)
            return kept
        return True


def _joined(before: Connection, after: Connection) -> Connection:
    # Let one of two connections that a session had have all that is known: the one that could read
    # it, and may write it, if there is one.
    old, new = session_of(before), session_of(after)
    if old is new or len({old.owner, new.owner} - {None}) > 1:
        return after
    may_write = old.loaded and not old.lost and not (new.loaded and not new.lost)
    kept, connection = (old, before) if may_write else (new, after)
    owner = old.owner if new.owner is None else new.owner
    kept.state = replace(known([old.state, new.state]), owner=owner, answers=())
    kept.owner, kept.unsaved = owner, True
    return connection
