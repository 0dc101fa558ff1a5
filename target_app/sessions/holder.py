"""The sessions connected here: claimed from the other workers, and given up to them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final, TypeVar

from target_app.connections.names import ClientId
from target_app.protocol import SESSIONS, CloseCode
from target_app.sessions.claims import Claims, Yielded
from target_app.sessions.keeper import Keeper
from target_app.sessions.session import Session, known, rebased, session_of
from target_app.sessions.state import NOBODY, NotUnderstoodError, digest
from target_app.sessions.store import (
    NOT_KEPT,
    NotOwnerError,
    StoreUnavailableError,
    may_open,
)

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Coroutine, Iterator, Sequence

    from target_app.bus.hub import Hub
    from target_app.connections.connection import Connection
    from target_app.connections.delivery import Delivery
    from target_app.connections.registry import ConnectionManager
    from target_app.sessions.state import Claim, SessionState
    from target_app.sessions.store import SessionStore

LAST_SECONDS: Final = 1.0
"""Time for work that is still in progress when the server ends."""
AT_ONCE: Final = 16
"""Sessions that are processed at once when the store is back."""
NAMED: Final = 10
"""The most sessions that one log line names."""

T = TypeVar("T")

logger = logging.getLogger(__name__)


class Holder:
    """The holder of this worker's sessions, one connection each, and of the tasks run for them."""

    def __init__(
        self,
        connections: ConnectionManager,
        delivery: Delivery,
        hub: Hub,
        store: SessionStore,
        *,
        unsaved_bytes: int,
    ) -> None:
        self._connections = connections
        self._delivery = delivery
        self._store = store
        self._tasks: set[asyncio.Task[Any]] = set()
        self.claims = Claims(hub, self)
        self.keeper = Keeper(store, delivery, self.spawn, self.lose, most_bytes=unsaved_bytes)
        self.waiting: Callable[[str], int] = lambda _session_id: 0
        """A callable that returns how many questions of a session are to be answered here."""
        self.learned: Callable[[Connection, SessionState], Awaitable[None]]
        """Awaited with a connection whose state a late report has changed, and the state before."""

    async def end(self) -> None:
        """Give the running tasks a moment, then cancel them."""
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=LAST_SECONDS)
        for task in tuple(self._tasks):
            task.cancel()
        if unsaved := self.keeper.unsaved():
            first = ", ".join(map(repr, unsaved[:NAMED]))
            logger.warning("what changed of %d sessions is not kept: %s", len(unsaved), first)

    def spawn(self, work: Coroutine[None, None, T]) -> asyncio.Task[T]:
        """Run ``work`` alongside everything else; whatever it raises is logged."""
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._done)
        return task

    def _done(self, task: asyncio.Task[Any]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            logger.error("looking after a session", exc_info=error)

    async def give_up(
        self, session_id: str, claim: Claim, owner: str | None, *, final: bool
    ) -> Yielded | Claim:
        """See :meth:`target_app.sessions.claims.Holder.give_up`."""
        await self._settle_ownership(session_id, self.here(session_id), claim, owner, final=final)
        if not final and self._store.owned_by_other(session_id, owner):
            raise NotOwnerError
        here = self.here(session_id)
        if greater := [session.claim for _, session in here if session.claim > claim]:
            return max(greater)
        yielded = self._end_others(session_id, here, owner)
        for connection, _ in here:
            self.keeper.hold(connection)
        if (held := self.keeper.waiting(session_id)) is not None:
            held.offered_to = claim
        if (waiting := self.waiting(session_id)) > 0:
            yielded.waiting = {self.claims.worker: waiting}
        if (state := await self._store.offer(session_id)) is not None:
            yielded.states.append(state)
        return yielded

    async def taken(self, session_id: str, claim: Claim, answers: list[str]) -> None:
        """See :meth:`target_app.sessions.claims.Holder.taken`."""
        held = self.keeper.waiting(session_id)
        if held is not None and NOBODY < held.offered_to <= claim:
            self.keeper.forget(held)
        await self._store.taken(session_id, claim, answers)

    def learn_late(self, session_id: str, claim: Claim, found: Yielded) -> None:
        """See :meth:`target_app.sessions.claims.Holder.learn_late`."""
        for connection, session in self.here(session_id):
            if session.claim >= claim and _may_have(session.owner, found):
                self.spawn(self._learn_late(connection, found))

    def refuse_late(self, session_id: str, claim: Claim) -> None:
        """See :meth:`target_app.sessions.claims.Holder.refuse_late`."""
        for connection, session in self.here(session_id):
            if session.claim == claim:
                self.spawn(self._refuse(connection))

    async def claim(self, connection: Connection) -> bool:
        """Claim the session of ``connection``; return whether the connection holds it now.

        If not, the connection is being closed. While the store is unavailable, that holds only as
        far as the workers know.
        """
        session = session_of(connection)
        try:
            kept, problem = await self._load(session)
            final = self._store.remote and session.loaded
            others = self.here(session.id, but=session)
            await self._settle_ownership(
                session.id, others, session.claim, session.owner, final=final
            )
            yielded = await self.claims.make_known(session, final=final)
            self._settle_waiting(session.id, session.owner, final=final)
        except NotOwnerError:
            await self._refuse(connection)
            return False
        others = self.here(session.id, but=session)
        if session.lost or any(other.claim > session.claim for _, other in others):
            self.lose(connection)
            return False
        await self._learn(session, kept, yielded, self._take(session, others))
        if problem is not None:
            self.keeper.complain(connection, problem)
        if connection.close_code is not None and session.unsaved:
            await self.keeper.keep(connection)  # nobody else has these changes any more
        return connection.close_code is None

    async def _load(self, session: Session) -> tuple[SessionState | None, str | None]:
        # Return the stored state, and what is wrong with it.
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
        self.claims.saw(session.claim)
        return opened.state, opened.problem

    async def _settle_ownership(
        self,
        session_id: str,
        here: list[tuple[Connection, Session]],
        claim: Claim,
        owner: str | None,
        *,
        final: bool,
    ) -> None:
        # Raise NotOwnerError if a connection here holds the session against ``owner``. Of two
        # owners who open a new session at the same moment, the one with the smaller claim was
        # first; a store that all workers share has decided for the one that it let in.
        self._settle_waiting(session_id, owner, final=final)
        for connection, other in here:
            if may_open(other.owner, owner):
                continue
            if other.claim > claim and may_open(owner, other.owner):
                continue  # it continues the claimant's session, with a login
            was_first = other.ready or other.claim < claim
            if other.loaded if final else was_first:
                raise NotOwnerError
            await self._refuse(connection)

    def _settle_waiting(self, session_id: str, owner: str | None, *, final: bool) -> None:
        # The same for the waiting changes of a connection that has ended.
        waiting = self.keeper.waiting(session_id)
        if waiting is None or may_open(waiting.owner, owner):
            return
        if waiting.loaded or not final:
            raise NotOwnerError
        self.keeper.abandon(waiting)

    def _end_others(
        self, session_id: str, here: list[tuple[Connection, Session]], owner: str | None
    ) -> Yielded:
        # End the connections of a session, and return what only they know.
        yielded = Yielded()
        for connection, session in here:
            yielded.add(session)
            self.supersede(connection)
        for _, other in self._all_here(session_id):
            # It was here before, and may have lost the session by the time that state is read.
            if other.loading and not other.refused and may_open(other.owner, owner):
                yielded.add(other)
        if (waiting := self.keeper.waiting(session_id)) is not None:
            yielded.add(waiting)
        return yielded

    def _take(self, session: Session, here: list[tuple[Connection, Session]]) -> Yielded:
        # The same, for a connection of this worker, which gets it all at once.
        yielded = self._end_others(session.id, here, session.owner)
        waiting = self.keeper.waiting(session.id)
        if waiting is not None and (session.loaded or not waiting.loaded):
            waiting.lost = True
            self.keeper.forget(waiting)
        return yielded

    async def _learn(
        self, session: Session, kept: SessionState | None, others: Yielded, here: Yielded
    ) -> None:
        base = known(
            [session.base, *others.states, *here.states, *([] if kept is None else [kept])]
        )
        state = rebased(session.state, session.base, base, session.claim)
        # The store, or a worker that has not reported what it knows, may have the earlier state.
        state = replace(state, partial=base.partial and (not session.loaded or others.silent > 0))
        session.unsaved = state != kept and state.changes > 0
        session.base = base
        session.state = replace(state, owner=session.owner, answers=())
        session.elsewhere = others.waiting
        await self._take_from(session, others)

    async def _learn_late(self, connection: Connection, found: Yielded) -> None:
        session, before = session_of(connection), session_of(connection).state
        base = known([session.base, *found.states])
        state = rebased(before, session.base, base, session.claim)
        session.base = base
        session.state = replace(
            state, owner=session.owner, answers=(), partial=before.partial and base.partial
        )
        session.unsaved |= session.state != before
        session.elsewhere |= found.waiting
        await self._take_from(session, found)
        await self.learned(connection, before)

    async def _take_from(self, session: Session, others: Yielded) -> None:
        # Take over the answers that other workers keep, and ask them to forget what is known here.
        taken = []
        for answer in (answer for state in others.states for answer in state.answers):
            try:
                await self._store.keep_answer(session.id, answer, session.owner)
                taken.append(digest(answer))
            except NOT_KEPT as error:
                logger.warning("an answer to session %r is not kept: %s", session.id, error)
        # A session that could not be read from the store cannot be saved to it either.
        if others and session.loaded:
            await self.claims.announce_taken(session, taken)

    async def _refuse(self, connection: Connection) -> None:
        session = session_of(connection)
        if session.refused:
            return
        session.refused = True
        if session.loaded:
            with contextlib.suppress(StoreUnavailableError, NotUnderstoodError):
                await self._store.withdraw(session.id, session.claim)
        self.keeper.error(connection, "this session belongs to somebody else")
        self.end_one(connection, CloseCode.NOT_OWNER, "session belongs to somebody else")

    def lose(self, connection: Connection) -> None:
        """Close a connection whose session another holds, which may not have asked us for it."""
        session = session_of(connection)
        self.supersede(connection)
        session.offered_to = max(session.offered_to, session.claim)
        self.keeper.hold(connection)
        self.spawn(self.hand_on(session))

    async def hand_on(self, session: Session) -> None:
        """Send the unsaved changes of a lost session to its present holder.

        This is repeated until they are taken, each time after twice as long: the bus may be
        interrupted, or the session may be connected nowhere.
        """
        now = time.monotonic()
        waits = self.keeper.waiting(session.id) is session
        if not waits or now - session.handed_on < session.handed_on - session.active:
            return
        session.handed_on = now
        found = Yielded([session.state])
        here = [(c, other) for c, other in self.here(session.id) if other.claim > session.claim]
        for connection, other in here:
            self.keeper.forget(session)
            if _may_have(other.owner, found):
                await self._learn_late(connection, found)
        if not here:
            await self.claims.hand_on(session, found)

    def supersede(self, connection: Connection) -> None:
        """Close a connection whose session another one holds now."""
        session_of(connection).lost = True
        reason = "session opened by another connection"
        self.end_one(connection, CloseCode.TAKEN_OVER, reason)

    def end_one(self, connection: Connection, code: int, reason: str) -> None:
        """Close a connection without waiting for it: its client may not be reading."""
        session = session_of(connection)
        session.ready = False
        self.keeper.forget(session)
        if connection.close_code is None:
            self.spawn(self._delivery.close(connection, code, reason))

    def here(
        self, session_id: str, *, but: Session | None = None
    ) -> list[tuple[Connection, Session]]:
        """Return the connections of a session that have a claim, except that of ``but``.

        While a store that all workers share is being asked for a claim, a connection has none: the
        answer may be greater than any claim that is known.
        """
        return [
            (connection, session)
            for connection, session in self._all_here(session_id)
            if session is not but and not (session.lost or session.refused or session.loading)
        ]

    def all(self) -> Iterator[tuple[Connection, Session]]:
        """Yield every session connection here, whatever has become of its session."""
        for connection in self._connections:
            if isinstance(connection.state, Session):
                yield connection, connection.state

    async def for_each(
        self,
        connections: Sequence[Connection],
        work: Callable[[Connection], Coroutine[None, None, None]],
    ) -> None:
        """Run ``work(connection)`` for each connection, some at once; what one raises is logged."""
        for first in range(0, len(connections), AT_ONCE):
            chunk = connections[first : first + AT_ONCE]
            await asyncio.wait([self.spawn(work(connection)) for connection in chunk])

    def _all_here(self, session_id: str) -> list[tuple[Connection, Session]]:
        return [
            (connection, connection.state)
            for connection in self._connections.of_client(ClientId(SESSIONS, session_id))
            if isinstance(connection.state, Session)
        ]


def _may_have(owner: str | None, found: Yielded) -> bool:
    return all(may_open(state.owner, owner) for state in found.states)
