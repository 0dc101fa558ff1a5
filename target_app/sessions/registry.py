"""Sessions while they are connected: one connection each, restored, kept and ended when idle."""

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
"""How often in the lifetime of an idle session it is looked for."""
ASK_SECONDS: Final = 1.0
"""Between two questions whether the store is there."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Sessions:
    """Every session has at most one connection, whichever worker it is with, and one owner.

    A second connection of its owner claims the session: the older one is closed with 4001, here or
    at another worker, which hands over what only it knows. Anybody else is closed with 4003 and
    learns nothing. While its store is away a session goes on: its client is told, what changes is
    known here and is kept when the store is back, and nothing is written over what was not read.
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
        """Whether what changes of sessions can be kept now."""
        return self._store.available

    async def run(self) -> None:
        """End idle sessions, and look after those whose store was away, until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                group.create_task(self._sweep())
                if self._store.remote:
                    group.create_task(self._watch())
        finally:
            await self._holder.end()

    async def wait_kept(self) -> None:
        """Wait until what the sessions that have ended left behind is kept."""
        await self._keeper.wait_kept()

    def counts_questions(self, waiting: Callable[[str], int]) -> None:
        """Let ``waiting(session_id)`` say how many questions are to be answered here."""
        self._holder.waiting = waiting

    def spawn(self, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        """Let ``work`` be done beside everything else; what it raises is logged."""
        return self._holder.spawn(work)

    async def open(self, connection: Connection) -> None:
        """Make ``connection`` the one of its session, and tell it what is known of it.

        Close it if the session belongs to somebody else.
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
        """Note that the session is no longer connected."""
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
        """Keep how far the session has come."""
        session = session_of(connection)
        session.state = session.state.read_on(session.claim, progress)
        await self._keeper.keep(connection)

    async def join_class(self, connection: Connection, class_id: str) -> bool:
        """Make the session a member of a class; return whether it is one, and tell it."""
        session = session_of(connection)
        self._connections.rooms.join(connection, class_room(class_id))
        if class_id not in session.state.classes:
            classes = (*session.state.classes, class_id)
            session.state = session.state.changed(session.claim, classes=classes)
            await self._keep_classes(connection)
        return class_id in session.state.classes

    async def leave_class(self, connection: Connection, class_id: str) -> None:
        """Make the session no member of a class."""
        session = session_of(connection)
        was_in = class_room(class_id) in connection.rooms
        self._connections.rooms.leave(connection, class_room(class_id))
        # What is not known to be a class of its own may turn out to be one that was kept.
        unknown = not session.loaded or session.state.partial
        if was_in or class_id in session.state.classes or unknown:
            session.state = session.state.without_class(session.claim, class_id)
            await self._keeper.keep(connection)

    def touch(self, connection: Connection) -> None:
        """Note that the session is active; its store hears of it now and then."""
        session = session_of(connection)
        session.active = time.monotonic()
        if session.active - session.touched >= self._session_seconds / SWEEPS:
            session.touched = session.active
            if self._store.remote and session.loaded:
                self._holder.spawn(self._keeper.touch(connection))

    async def _keep_classes(self, connection: Connection) -> None:
        # Those that there was no room for it is not in.
        session = session_of(connection)
        classes = session.state.classes
        await self._keeper.keep(connection)
        for class_id in set(classes) - set(session.state.classes):
            self._connections.rooms.leave(connection, class_room(class_id))

    async def _enter(self, connection: Connection) -> None:
        # Let the session hear what is said to it and to its classes.
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

    # --- looking after all

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
                # At once: whoever takes over a session next has to be told what is known of it.
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
                # Also those of whom nothing is kept but whose they are.
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
                await self._release(connection)  # its client has left meanwhile
                return
            await self._learned(connection, before)
            await self._keeper.try_again(connection)

    async def _learned(self, connection: Connection, before: SessionState) -> None:
        # Go on with what was found out of a session, whose client has been told of ``before``.
        session = session_of(connection)
        if session.ready:  # else it will be told all of it
            if session.state.progress != before.progress or not session.told_restored:
                self._tell_restored(connection)
            await self._enter(connection)

    def _tell_restored(self, connection: Connection) -> None:
        session = session_of(connection)
        if session.state.progress is not None:
            session.told_restored = True
            restored = event("SESSION_RESTORED", session.state.progress)
            self._delivery.push(connection, Message(restored))
