"""Sessions while they are connected: one connection each, restored, kept and ended when idle."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from target_app.connections.message import Message
from target_app.protocol import CloseCode
from target_app.sessions.claims import Claims, Yielded
from target_app.sessions.keeper import Keeper
from target_app.sessions.session import Session, class_room, merged, session_of
from target_app.sessions.state import Claim, NotUnderstoodError, event
from target_app.sessions.store import (
    NotOwnerError,
    StoreFullError,
    StoreUnavailableError,
    may_open,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

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
LAST_SECONDS: Final = 1.0
"""For what is being written when the server ends."""
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
        self._claims = Claims(hub, self, os.urandom(6).hex())
        self._keeper = Keeper(
            store, delivery, self.spawn, self._supersede, most_bytes=unsaved_bytes
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self.waiting: Callable[[str], int] = lambda _session_id: 0
        """Returns how many questions of a session are to be answered here."""

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
            if self._tasks:
                await asyncio.wait(self._tasks, timeout=LAST_SECONDS)
            for task in tuple(self._tasks):
                task.cancel()

    def spawn(self, work: Coroutine[None, None, None]) -> asyncio.Task[None]:
        """Let ``work`` be done beside everything else; what it raises is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("looking after a session", exc_info=error)

    async def open(self, connection: Connection) -> None:
        """Make ``connection`` the one of its session, and tell it what is known of it.

        Close it if the session belongs to somebody else.
        """
        now = time.monotonic()
        session = connection.state = Session(
            connection.name, connection.identity, self._claims.next(), now, now
        )
        if not await self._claim(connection):
            return
        session.ready = True
        if not session.loaded:
            self._keeper.is_behind(connection)
        if session.state.progress is not None:
            self._tell_restored(connection)
        await self._enter(connection)

    async def close(self, connection: Connection) -> None:
        """Note that the session is no longer connected."""
        session = session_of(connection)
        self._keeper.closed(session)
        if session.refused:
            return
        try:
            await self._store.close(session.id, session.state, session.claim)
            if connection.close_code == CloseCode.IDLE:
                await self._store.give_away(session.id)
        except (StoreUnavailableError, NotUnderstoodError) as error:
            logger.warning("session %r: %s", session.id, error)

    def ready(self, session_id: str) -> list[Connection]:
        """Return the connection of the session here, if it has one that may be told things."""
        return [c for c, session in self._here(session_id) if session.ready]

    async def progress(self, connection: Connection, progress: bytes) -> None:
        """Keep how far the session has come."""
        session = session_of(connection)
        session.state = session.state.changed(session.claim, progress=progress)
        await self._keeper.keep(connection)

    async def join_class(self, connection: Connection, class_id: str) -> None:
        """Make the session a member of a class."""
        session = session_of(connection)
        self._connections.rooms.join(connection, class_room(class_id))
        if class_id not in session.state.classes:
            classes = (*session.state.classes, class_id)
            session.state = session.state.changed(session.claim, classes=classes)
            await self._keeper.keep(connection)

    async def leave_class(self, connection: Connection, class_id: str) -> None:
        """Make the session no member of a class."""
        session = session_of(connection)
        was_in = class_room(class_id) in connection.rooms
        self._connections.rooms.leave(connection, class_room(class_id))
        if was_in or class_id in session.state.classes:
            classes = tuple(other for other in session.state.classes if other != class_id)
            session.state = session.state.changed(session.claim, classes=classes)
            session.left = (*(other for other in session.left if other != class_id), class_id)
            await self._keeper.keep(connection)

    def touch(self, connection: Connection) -> None:
        """Note that the session is active; its store hears of it now and then."""
        session = session_of(connection)
        session.active = time.monotonic()
        if session.active - session.touched >= self._session_seconds / SWEEPS:
            session.touched = session.active
            if self._store.remote and session.loaded:
                self.spawn(self._keeper.touch(connection))

    async def give_up(
        self, session_id: str, claim: Claim, owner: str | None, *, final: bool
    ) -> Yielded | Claim:
        """See :meth:`target_app.sessions.claims.Holder.give_up`."""
        await self._settle_ownership(self._here(session_id), claim, owner, final=final)
        if not final and self._store.owned_by_other(session_id, owner):
            raise NotOwnerError
        here = self._here(session_id)
        if greater := [session.claim for _, session in here if session.claim > claim]:
            return max(greater)
        yielded = self._take(session_id, here, owner)
        yielded.waiting = self.waiting(session_id)
        if (state := await self._store.give_away(session_id)) is not None:
            yielded.complete = [state, *yielded.complete]
        return yielded

    # --- claiming

    async def _claim(self, connection: Connection) -> bool:
        # Return whether the connection has its session now, as far as can be known.
        session = session_of(connection)
        try:
            kept, problem = await self._load(session)
            final = self._store.remote and session.loaded
            others = self._here(session.id, but=session)
            await self._settle_ownership(others, session.claim, session.owner, final=final)
            yielded = await self._claims.make_known(session, final=final)
        except NotOwnerError:
            await self._refuse(connection)
            return False
        others = self._here(session.id, but=session)
        if session.lost or any(other.claim > session.claim for _, other in others):
            self._supersede(connection)
            return False
        await self._learn(session, kept, yielded, self._take(session.id, others, session.owner))
        if problem is not None:
            self._keeper.complain(connection, problem)
        return connection.close_code is None

    async def _load(self, session: Session) -> tuple[SessionState | None, str | None]:
        # Return what is kept, and what is wrong with that.
        session.loading = True
        try:
            opened = await self._store.open(session.id, session.owner, session.claim)
        except StoreUnavailableError:
            return None, None
        except NotUnderstoodError as error:
            session.loaded = True
            return None, str(error)
        finally:
            session.loading = False
        session.loaded = True
        session.claim = max(session.claim, opened.claim)
        self._claims.saw(session.claim)
        return opened.state, opened.problem

    async def _settle_ownership(
        self,
        here: list[tuple[Connection, Session]],
        claim: Claim,
        owner: str | None,
        *,
        final: bool,
    ) -> None:
        # Raise NotOwnerError if one of those here has the session against ``owner``. Of two owners
        # who open a new session at the same moment, the one whose claim is less was first; a store
        # that all share has decided for whoever it has let in.
        for connection, other in here:
            if may_open(other.owner, owner):
                continue
            if other.claim > claim and may_open(owner, other.owner):
                continue  # it goes on, with a login, where the claimant was
            was_first = other.ready or other.claim < claim
            if other.loaded if final else was_first:
                raise NotOwnerError
            await self._refuse(connection)

    def _take(
        self, session_id: str, here: list[tuple[Connection, Session]], owner: str | None
    ) -> Yielded:
        # End the connections of a session, and return what only they know.
        yielded = Yielded()
        for connection, session in here:
            yielded.add(session)
            self._supersede(connection)
        for session in self._keeper.take_waiting(session_id, owner):
            yielded.add(session)
        return yielded

    async def _learn(self, session: Session, kept: SessionState | None, *found: Yielded) -> None:
        complete = [state for yielded in found for state in yielded.complete]
        pending = [state for yielded in found for state in yielded.pending]
        known = [kept, *complete] if kept is not None else complete
        newest = max(known, key=lambda state: state.age, default=None)
        state = merged(newest, *pending, session.state)
        session.unsaved = state != kept and state.changes > 0
        classes = tuple(name for name in state.classes if name not in session.left)
        session.state = replace(state, classes=classes, owner=session.owner, answers=())
        session.elsewhere = sum(yielded.waiting for yielded in found)
        with contextlib.suppress(StoreUnavailableError, StoreFullError, NotUnderstoodError):
            for answer in (answer for state in complete for answer in state.answers):
                await self._store.keep_answer(session.id, answer)

    async def _enter(self, connection: Connection) -> None:
        # Let the session hear what is said to it and to its classes.
        session = session_of(connection)
        for class_id in session.state.classes:
            self._connections.rooms.join(connection, class_room(class_id))
        if not session.loaded:
            return
        if session.unsaved:
            await self._keeper.keep(connection)
        elif session.state.classes:
            await self._keeper.touch(connection)
        try:
            for answer in await self._store.answers(session.id):
                await self._store.forget_answer(session.id, answer)
                if not self._delivery.push(connection, Message(answer.decode())):
                    await self._store.keep_answer(session.id, answer, again=True)
        except (StoreUnavailableError, StoreFullError) as error:
            logger.warning("session %r: its answers: %s", session.id, error)
        except NotUnderstoodError as error:
            self._keeper.complain(connection, str(error))

    # --- the end of a connection

    async def _refuse(self, connection: Connection) -> None:
        session = session_of(connection)
        if session.refused:
            return
        session.refused = True
        if session.loaded:
            with contextlib.suppress(StoreUnavailableError, NotUnderstoodError):
                await self._store.withdraw(session.id, session.claim)
        self._keeper.error(connection, "this session belongs to somebody else")
        self._end(connection, CloseCode.NOT_OWNER, "session belongs to somebody else")

    def _supersede(self, connection: Connection) -> None:
        session_of(connection).lost = True
        reason = "session opened by another connection"
        self._end(connection, CloseCode.TAKEN_OVER, reason)

    def _end(self, connection: Connection, code: int, reason: str) -> None:
        # Nobody waits for a client that does not read.
        session = session_of(connection)
        session.ready = False
        self._keeper.forget(session)
        if connection.close_code is None:
            self.spawn(self._delivery.close(connection, code, reason))

    # --- looking after all

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
                    self._end(connection, CloseCode.IDLE, reason)

    async def _watch(self) -> None:
        generation = None
        while True:
            if await self._store.ask():
                behind = self._keeper.overdue(self._session_seconds)
                if generation not in {None, self._store.generation}:
                    logger.warning("the session store is a new one: what is known here is kept")
                    behind = list(dict.fromkeys((*behind, *(c for c, _ in self._all()))))
                generation = self._store.generation
                for first in range(0, len(behind), AT_ONCE):
                    chunk = behind[first : first + AT_ONCE]
                    await asyncio.wait([self.spawn(self._catch_up(c)) for c in chunk])
            await asyncio.sleep(ASK_SECONDS)

    async def _catch_up(self, connection: Connection) -> None:
        session = session_of(connection)
        if session.loaded:
            if not session.unsaved:
                await self._keeper.touch(connection)
            await self._keeper.try_again(connection)
        elif session.connected and session.ready and self._store.available:
            await self._restore(connection)

    async def _restore(self, connection: Connection) -> None:
        session = session_of(connection)
        if await self._claim(connection) and session.loaded:
            if session.state.progress is not None:
                self._tell_restored(connection)
            await self._enter(connection)
            await self._keeper.try_again(connection)

    def _tell_restored(self, connection: Connection) -> None:
        progress = session_of(connection).state.progress or b"{}"
        self._delivery.push(connection, Message(event("SESSION_RESTORED", progress)))

    def _here(
        self, session_id: str, *, but: Session | None = None
    ) -> list[tuple[Connection, Session]]:
        # The connections that have a claim. While a store that all share is being asked for one,
        # there is none: its answer may be greater than any that is known.
        return [
            (connection, connection.state)
            for connection in self._connections.named(session_id)
            if isinstance(connection.state, Session)
            and connection.state is not but
            and not (connection.state.lost or connection.state.refused or connection.state.loading)
        ]

    def _all(self) -> Iterator[tuple[Connection, Session]]:
        for connection in self._connections:
            if isinstance(connection.state, Session):
                yield connection, connection.state
