"""Sessions while they are connected: one connection each, restored, kept and ended when idle."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from typing import TYPE_CHECKING, Final

from target_app.connections.message import Message
from target_app.protocol import CloseCode
from target_app.sessions.holder import Holder
from target_app.sessions.session import Session, class_room, session_of
from target_app.sessions.state import NotUnderstoodError, answer_from, event
from target_app.sessions.store import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence

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
AT_ONCE: Final = 16
"""Sessions that are restored at once when the store is back."""

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
        self._keep_again: Callable[[str, bytes, str | None], Awaitable[None]]

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

    def keeps_again(self, keep_again: Callable[[str, bytes, str | None], Awaitable[None]]) -> None:
        """Let ``keep_again(session_id, answer, owner)`` take what a session did not get."""
        self._keep_again = keep_again

    def spawn(self, work: Coroutine[None, None, None]) -> None:
        """Let ``work`` be done beside everything else; what it raises is logged."""
        self._holder.spawn(work)

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

    def ready(self, session_id: str) -> list[Connection]:
        """Return the connection of the session here, if it has one that may be told things."""
        return [c for c, session in self._holder.here(session_id) if session.ready]

    async def progress(self, connection: Connection, progress: bytes) -> None:
        """Keep how far the session has come."""
        session = session_of(connection)
        session.state = session.state.read_on(session.claim, progress)
        await self._keeper.keep(connection)

    async def join_class(self, connection: Connection, class_id: str) -> bool:
        """Make the session a member of a class; return whether it is one, of which it is told."""
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
        await self._deliver_kept(connection)

    async def _deliver_kept(self, connection: Connection) -> None:
        session = session_of(connection)
        try:
            for answer in await self._store.answers(session.id):
                # A store that hangs may do later what it was asked to: then it comes twice rather
                # than not at all.
                with contextlib.suppress(StoreUnavailableError):
                    await self._store.forget_answer(session.id, answer)
                await self._hand_over(connection, answer)
        except StoreUnavailableError as error:
            logger.warning("session %r: its answers: %s", session.id, error)
        except NotUnderstoodError as error:
            self._keeper.complain(connection, str(error))

    async def _hand_over(self, connection: Connection, kept: bytes) -> None:
        try:
            answer = answer_from(kept)
        except NotUnderstoodError as error:
            self._keeper.complain(connection, str(error))
            return
        if not self._delivery.push(connection, Message(answer.decode())):
            session = session_of(connection)
            await self._keep_again(session.id, answer, session.owner)

    # --- looking after all

    async def catch_up_answers(self) -> None:
        """Hand every session here the answers that are kept for it."""
        here = [c for c, session in self._all() if session.ready and session.loaded]
        await self._some_at_once(self._deliver_kept, here)

    async def _some_at_once(
        self,
        work: Callable[[Connection], Coroutine[None, None, None]],
        connections: Sequence[Connection],
    ) -> None:
        for first in range(0, len(connections), AT_ONCE):
            chunk = connections[first : first + AT_ONCE]
            await asyncio.wait([self._holder.spawn(work(connection)) for connection in chunk])

    async def _sweep(self) -> None:
        while True:
            await asyncio.sleep(self._session_seconds / SWEEPS)
            try:
                await self._store.sweep()
            except (StoreUnavailableError, NotUnderstoodError) as error:
                logger.warning("sessions that are over: %s", error)
            due = time.monotonic() - self._session_seconds
            for connection, session in tuple(self._all()):
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
                doubted = [connection for connection, _ in self._all()]
                for connection in doubted:
                    self._keeper.doubt(connection)
            if is_there and was_away:
                await self.catch_up_answers()
            was_away = not is_there
            if is_there:
                self._holder.claims.saw(self._store.newest)
                generation = self._store.generation
                behind = self._keeper.overdue(self._session_seconds)
                # Also those of whom nothing is kept but whose they are.
                await self._some_at_once(self._catch_up, list(dict.fromkeys((*behind, *doubted))))
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

    def _all(self) -> Iterator[tuple[Connection, Session]]:
        for connection in self._connections:
            if isinstance(connection.state, Session):
                yield connection, connection.state
