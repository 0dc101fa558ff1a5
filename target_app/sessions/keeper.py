"""Saving the changes of sessions, even while their store is unavailable."""

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
"""Time for a change to be saved before the client's next message is read. If a client closes before
that, the change is handed over by the worker that it was connected to."""

logger = logging.getLogger(__name__)


class Keeper:
    """A writer of session changes to the store, one write per session at a time.

    What cannot be written is kept here, also for sessions that have been closed, of which at most
    ``most_bytes`` are kept; :meth:`overdue` returns them for another try. ``lose(connection)`` is
    called if the store reports that another connection holds the session.
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
        self._gone: dict[str, Connection] = {}  # the same, for sessions that have ended
        self._gone_bytes = 0
        self._fewer_gone = asyncio.Event()

    async def keep(self, connection: Connection) -> None:
        """Save the state of a session; wait for that, but not for a slow store."""
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
        """Record that the store lacks the session's current state, and notify its client."""
        session = session_of(connection)
        if session.lost or not session.connected:
            self._keep_gone(connection)
            return
        self._behind[session] = connection
        if not session.away_announced:
            session.away_announced = True
            payload = b'{"message":"sessions cannot be kept now; changes wait"}'
            self._delivery.push(connection, Message(event("STORE_UNAVAILABLE", payload)))

    def is_kept(self, connection: Connection) -> None:
        """Record that the store has the session; notify its client if it thinks otherwise."""
        session = session_of(connection)
        self.forget(session)
        if session.connected and session.away_announced:
            session.away_announced = False
            self._delivery.push(connection, Message(event("STORE_AVAILABLE", b"{}")))

    def complain(self, connection: Connection, problem: str) -> None:
        """Report what is wrong with the stored state of a session, to its client and in the log."""
        session = session_of(connection)
        logger.warning("session %r: %s", session.id, problem)
        self.error(connection, f"what is kept of this session is not understood: {problem:.200}")

    def error(self, connection: Connection, problem: str) -> None:
        """Send the client a message about what is wrong."""
        self._delivery.push(connection, Message(event("ERROR", compact({"message": problem}))))

    def closed(self, connection: Connection) -> None:
        """Keep what the store still lacks of a session that has ended, within the bound."""
        session = session_of(connection)
        session.connected = False
        if self._behind.pop(session, None) is not None or session.saving:
            self._keep_gone(connection)

    def forget(self, session: Session) -> None:
        """Stop trying to save the session: it is saved, or somebody else saves it."""
        self._behind.pop(session, None)
        if session.id in self._gone and session_of(self._gone[session.id]) is session:
            self._drop_gone(session.id)

    def hold(self, connection: Connection) -> None:
        """Keep the changes of a session that another connection holds now, until they are taken."""
        session = session_of(connection)
        if session.owes:
            self._let_wait(connection)

    def waiting(self, session_id: str) -> Session | None:
        """Return the session if it has ended and its changes are waiting to be saved."""
        connection = self._gone.get(session_id)
        return None if connection is None else session_of(connection)

    def abandon(self, session: Session) -> None:
        """Discard the waiting changes of ``session``, and log that."""
        self.forget(session)
        logger.warning("session %r: what changed of it is not kept", session.id)

    async def wait_kept(self) -> None:
        """Wait until the store has everything it can be given of the sessions that have ended."""
        while any(
            session.loaded and not session.lost for session in map(session_of, self._gone.values())
        ):
            self._fewer_gone.clear()
            await self._fewer_gone.wait()

    def unsaved(self) -> list[str]:
        """Return the sessions that the store does not have in full."""
        behind = (*self._behind, *map(session_of, self._gone.values()))
        return [session.id for session in behind if session.state.changes]

    def overdue(self, session_seconds: float) -> list[Connection]:
        """Return the connections whose sessions the store does not have in their current state."""
        due = time.monotonic() - session_seconds
        for session_id, connection in tuple(self._gone.items()):
            if session_of(connection).active <= due:
                self._drop_gone(session_id)
        return [*self._behind.values(), *self._gone.values()]

    def _keep_gone(self, connection: Connection) -> None:
        session = session_of(connection)
        if not session.lost:  # otherwise hold() keeps it, or its new holder knows it
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
        # The state of a session that has ended does not change, so neither does what it counts for.
        self._gone_bytes -= session_of(self._gone.pop(session_id)).state.kept_bytes()
        self._fewer_gone.set()

    def doubt(self, connection: Connection) -> None:
        """Mark the session to be saved again: its store may have only an earlier state."""
        session = session_of(connection)
        if session.loaded and not session.lost and session.state.changes:
            session.unsaved = True
            self._behind[session] = connection

    async def try_again(self, connection: Connection) -> None:
        """Save what could not be saved before."""
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
                # Classes that it has left in the meantime are for the next write.
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
            # Otherwise it would take memory that is no longer available, and be saved after all
            # when something else changes.
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
    # Merge all that is known into one of two connections that a session had: the one that could
    # read the stored state, and may write it, if there is one.
    old, new = session_of(before), session_of(after)
    if old is new or len({old.owner, new.owner} - {None}) > 1:
        return after
    may_write = old.loaded and not old.lost and not (new.loaded and not new.lost)
    kept, connection = (old, before) if may_write else (new, after)
    owner = old.owner if new.owner is None else new.owner
    kept.state = replace(known([old.state, new.state]), owner=owner, answers=())
    kept.owner, kept.unsaved = owner, True
    return connection
