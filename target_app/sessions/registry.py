"""Sessions while they are connected: one connection each, restored, saved and ended when idle."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import TYPE_CHECKING, Final, TypeVar

from target_app.message import Message
from target_app.protocol import CloseCode
from target_app.sessions.holder import Holder
from target_app.sessions.recipients import Recipients
from target_app.sessions.session import Session, class_room, session_of
from target_app.sessions.state import NotUnderstoodError, event
from target_app.sessions.store import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from target_app.bus.hub import Hub
    from target_app.connections.connection import Connection
    from target_app.connections.delivery import Delivery
    from target_app.connections.registry import ConnectionManager
    from target_app.sessions.state import SessionState
    from target_app.sessions.store import SessionStore

SWEEPS: Final = 10
"""How many times in the lifetime of an idle session the sweep looks for it."""
ASK_SECONDS: Final = 1.0
"""Interval between two checks of whether the store is available."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Sessions:
    """The connected sessions: each has at most one connection, on any worker, and one owner.

    A second connection of its owner claims the session: the older one is closed with 4001, here or
    at another worker, which hands over what only it knows. Anybody else is closed with 4003 and
    learns nothing. While the store is unavailable a session continues: its client is notified,
    changes are kept here and saved when the store is back, and nothing unread is overwritten.
    """

    def __init__(
        self,
        connections: ConnectionManager,
        delivery: Delivery,
        hub: Hub,
        store: SessionStore,
        *,
        session_seconds: float,
        unsaved_bytes: int,
    ) -> None:
        self._connections = connections
        self._delivery = delivery
        self._store = store
        self._session_seconds = session_seconds
        self._holder = Holder(connections, delivery, hub, store, unsaved_bytes=unsaved_bytes)
        self._holder.learned = self._learned
        self._keeper = self._holder.keeper
        self.recipients = Recipients(self._holder, delivery, store)

    @property
    def available(self) -> bool:
        """Whether changes of sessions can be saved now."""
        return self._store.available

    async def run(self) -> None:
        """End idle sessions, and catch up those whose store was unavailable, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sweep())
                if self._store.remote:
                    group.create_task(self._watch())
        finally:
            await self._holder.end()

    async def wait_kept(self) -> None:
        """Wait until what ended sessions left behind is saved."""
        await self._keeper.wait_kept()

    def counts_questions(self, waiting: Callable[[str], int]) -> None:
        """Use ``waiting(session_id)`` to count the questions that are to be answered here."""
        self._holder.waiting = waiting

    def spawn(self, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        """Run ``work`` alongside everything else; whatever it raises is logged."""
        return self._holder.spawn(work)

    async def open(self, connection: Connection) -> None:
        """Make ``connection`` the holder of its session, and send it what is known of that.

        Close it if the session belongs to another owner.
        """
        now = time.monotonic()
        session = connection.state = Session(
            connection.name, connection.identity, self._holder.claims.next(), now, now
        )
        if not await self._holder.claim(connection):
            return
        session.ready = True
        if not session.loaded:
            self._keeper.is_behind(connection)
        self._tell_restored(connection)
        await self._enter(connection)

    async def close(self, connection: Connection) -> None:
        """Record that the session is no longer connected."""
        session = session_of(connection)
        self._keeper.closed(connection)
        if not session.refused:
            await self._release(connection)

    async def _release(self, connection: Connection) -> None:
        session = session_of(connection)
        try:
            await self._store.close(session.id, session.state, session.claim)
            if connection.close_code == CloseCode.IDLE:
                await self._store.forget(session.id)
        except (StoreUnavailableError, NotUnderstoodError) as error:
            logger.warning("session %r: %s", session.id, error)

    async def progress(self, connection: Connection, progress: bytes) -> None:
        """Save the progress of the session."""
        session = session_of(connection)
        session.state = session.state.read_on(session.claim, progress)
        await self._keeper.keep(connection)

    async def join_class(self, connection: Connection, class_id: str) -> bool:
        """Make the session a member of a class; return whether it is one, and notify it if not."""
        session = session_of(connection)
        self._connections.rooms.join(connection, class_room(class_id))
        if class_id not in session.state.classes:
            classes = (*session.state.classes, class_id)
            session.state = session.state.changed(session.claim, classes=classes)
            await self._keep_classes(connection)
        return class_id in session.state.classes

    async def leave_class(self, connection: Connection, class_id: str) -> None:
        """Remove the session from a class."""
        session = session_of(connection)
        was_in = class_room(class_id) in connection.rooms
        self._connections.rooms.leave(connection, class_room(class_id))
        # A class not known to be one of the session's may turn out to be in its stored state.
        unknown = not session.loaded or session.state.partial
        if was_in or class_id in session.state.classes or unknown:
            session.state = session.state.without_class(session.claim, class_id)
            await self._keeper.keep(connection)

    def touch(self, connection: Connection) -> None:
        """Record that the session is active; its store is informed from time to time."""
        session = session_of(connection)
        session.active = time.monotonic()
        if session.active - session.touched >= self._session_seconds / SWEEPS:
            session.touched = session.active
            if self._store.remote and session.loaded:
                self._holder.spawn(self._keeper.touch(connection))

    async def _keep_classes(self, connection: Connection) -> None:
        # The session is not in the classes that there was no room for.
        session = session_of(connection)
        classes = session.state.classes
        await self._keeper.keep(connection)
        for class_id in set(classes) - set(session.state.classes):
            self._connections.rooms.leave(connection, class_room(class_id))

    async def _enter(self, connection: Connection) -> None:
        # Start delivering to the session what is sent to it and to its classes.
        session = session_of(connection)
        for class_id in session.state.classes:
            self._connections.rooms.join(connection, class_room(class_id))
        if not session.loaded:
            return
        if session.unsaved:
            await self._keep_classes(connection)
        elif session.state.classes:
            await self._keeper.touch(connection)
        await self.recipients.deliver_kept(connection)

    # --- background work on all sessions

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._session_seconds / SWEEPS)
            try:
                await self._store.sweep()
            except (StoreUnavailableError, NotUnderstoodError) as error:
                logger.warning("sessions that are over: %s", error)
            due = time.monotonic() - self._session_seconds
            for connection, session in tuple(self._holder.all()):
                if session.active <= due:
                    reason = f"no activity for {self._session_seconds:g} s"
                    self._holder.end_one(connection, CloseCode.IDLE, reason)

    async def _watch(self) -> None:
        generation = None
        was_away = False
        while True:
            is_there = await self._store.ask()
            doubted: list[Connection] = []
            if is_there and generation not in {None, self._store.generation}:
                # At once: the connection that takes over a session next has to get its state.
                logger.warning("the session store has begun anew: what is known here is kept")
                doubted = [connection for connection, _ in self._holder.all()]
                for connection in doubted:
                    self._keeper.doubt(connection)
            if is_there and was_away:
                await self.recipients.catch_up()
            was_away = not is_there
            if is_there:
                self._holder.claims.saw(self._store.newest)
                generation = self._store.generation
                behind = self._keeper.overdue(self._session_seconds)
                # Also the sessions of which only the owner is stored.
                await self._holder.for_each([*dict.fromkeys((*behind, *doubted))], self._catch_up)
            await asyncio.sleep(ASK_SECONDS)

    async def _catch_up(self, connection: Connection) -> None:
        session = session_of(connection)
        if session.saving:
            return
        if session.lost:
            await self._holder.hand_on(session)
        elif session.loaded:
            if not session.unsaved:
                await self._keeper.touch(connection)
            await self._keeper.try_again(connection)
        elif session.connected and session.ready and self._store.available:
            await self._restore(connection)

    async def _restore(self, connection: Connection) -> None:
        session = session_of(connection)
        before = session.state
        if await self._holder.claim(connection) and session.loaded:
            if not session.connected:
                await self._release(connection)  # its client has left in the meantime
                return
            await self._learned(connection, before)
            await self._keeper.try_again(connection)

    async def _learned(self, connection: Connection, before: SessionState) -> None:
        # Continue with what was learned of a session whose client has been sent ``before``.
        session = session_of(connection)
        if session.ready:  # otherwise it will be sent all of it
            if session.state.progress != before.progress or not session.restored_sent:
                self._tell_restored(connection)
            await self._enter(connection)

    def _tell_restored(self, connection: Connection) -> None:
        session = session_of(connection)
        if session.state.progress is not None:
            session.restored_sent = True
            restored = event("SESSION_RESTORED", session.state.progress)
            self._delivery.push(connection, Message(restored))
