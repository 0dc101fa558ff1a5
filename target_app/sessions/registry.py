"""Sessions while they are connected: one connection each, restored, kept and ended when idle."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, TypeVar

from target_app.connections.names import ClientId, Room
from target_app.protocol import CLASSES, SESSIONS, CloseCode
from target_app.redis_client import FAILURES
from target_app.sessions.store import SessionState

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from target_app.bus.hub import Envelope, Hub
    from target_app.connections.connection import Connection
    from target_app.connections.delivery import Delivery
    from target_app.connections.registry import ConnectionManager
    from target_app.sessions.store import SessionStore

T = TypeVar("T")

SWEEPS: Final = 10
"""How often in the lifetime of an idle session it is looked for."""

logger = logging.getLogger(__name__)


@dataclass(slots=True)
class Session:
    """One session while it is connected."""

    since: int
    """When its connection came, in nanoseconds since 1970: of two, the later one stays."""
    active: float
    touched: float
    known: SessionState = field(default_factory=SessionState)
    ready: bool = False
    """Whether it has been told what it was before, and may be told other things."""
    waiting: int = 0
    """Questions that are not answered yet."""


def session_of(connection: Connection) -> Session:
    """Return the session of a connection of the session endpoint."""
    assert isinstance(connection.state, Session)
    return connection.state


class Sessions:
    """Every session has at most one connection, whichever worker it is with.

    A second connection claims the session: the older one is closed with 4001, here or at another
    worker, which hands over what it knows. With a store that all workers share there is nothing to
    hand over. Without its store (Redis is away) a session goes on: what is known of it here is
    not forgotten.
    """

    def __init__(
        self,
        connections: ConnectionManager,
        delivery: Delivery,
        hub: Hub,
        store: SessionStore,
        *,
        session_seconds: float,
    ) -> None:
        self._connections = connections
        self._delivery = delivery
        self._hub = hub
        self._store = store
        self._session_seconds = session_seconds
        hub.handle("claim session", self._on_claim)

    async def open(self, connection: Connection) -> tuple[Session, list[dict[str, Any]]]:
        """Make ``connection`` the one of its session.

        Return the session with what is known of it, and the answers that waited for it.
        """
        now = time.monotonic()
        session = connection.state = Session(since=time.time_ns(), active=now, touched=now)
        session.known = await self._claim(connection.name, session.since)
        for class_id in session.known.classes:
            self._connections.rooms.join(connection, class_room(class_id))
            await self.kept(self._store.join_class(class_id, connection.name), None)
        return session, await self.kept(self._store.take_answers(connection.name), [])

    async def close(self, connection: Connection) -> None:
        """Note that the session is no longer connected."""
        for class_id in session_of(connection).known.classes:
            await self.kept(self._store.leave_class(class_id, connection.name), None)

    def ready(self, session_id: str) -> list[Connection]:
        """Return the connection of the session here, if it has one that may be told things."""
        return [
            connection
            for connection in self._connections.of_client(ClientId(SESSIONS, session_id))
            if isinstance(connection.state, Session) and connection.state.ready
        ]

    async def progress(self, connection: Connection, progress: dict[str, Any]) -> None:
        """Keep how far the session has come."""
        session_of(connection).known.progress = progress
        await self._save(connection)

    async def join_class(self, connection: Connection, class_id: str) -> None:
        """Make the session a member of a class."""
        known = session_of(connection).known
        self._connections.rooms.join(connection, class_room(class_id))
        if class_id not in known.classes:
            known.classes = [*known.classes, class_id]
            await self._save(connection)
            await self.kept(self._store.join_class(class_id, connection.name), None)

    async def leave_class(self, connection: Connection, class_id: str) -> None:
        """Make the session no member of a class."""
        known = session_of(connection).known
        self._connections.rooms.leave(connection, class_room(class_id))
        if class_id in known.classes:
            known.classes = [other for other in known.classes if other != class_id]
            await self._save(connection)
            await self.kept(self._store.leave_class(class_id, connection.name), None)

    async def touch(self, connection: Connection) -> None:
        """Note that the session is active; its store hears of it now and then."""
        session = session_of(connection)
        session.active = time.monotonic()
        if session.active - session.touched >= self._session_seconds / SWEEPS:
            session.touched = session.active
            await self.kept(self._store.touch(connection.name), None)

    async def sweep(self) -> None:
        """End the sessions that have not been active for too long, until cancelled."""
        while True:
            await asyncio.sleep(self._session_seconds / SWEEPS)
            await self.kept(self._store.sweep(), None)
            due = time.monotonic() - self._session_seconds
            for connection in tuple(self._connections):
                state = connection.state
                if isinstance(state, Session) and state.active <= due:
                    reason = f"no activity for {self._session_seconds:g} s"
                    await self._delivery.close(connection, CloseCode.IDLE, reason)

    async def kept(self, work: Awaitable[T], otherwise: T) -> T:
        """Return what ``work`` with the store gives, or ``otherwise`` if the store is away."""
        try:
            return await work
        except FAILURES as error:
            logger.warning("the session store: %s", error)
            return otherwise

    async def _claim(self, session_id: str, since: int) -> SessionState:
        await self._close_older(session_id, since)
        elsewhere, _ = await self._hub.ask("claim session", session_id, json.dumps(since))
        handed_over = [SessionState(**found) for found in elsewhere if found is not None]
        own = await self.kept(self._store.load(session_id), None)
        newest = max([*handed_over, own or SessionState()], key=lambda state: state.changed)
        if handed_over:
            await self.kept(self._store.save(session_id, newest.without_answers()), None)
        for answer in (answer for state in handed_over for answer in state.answers):
            await self.kept(self._store.keep_answer(session_id, answer), None)
        return newest.without_answers()

    async def _on_claim(self, envelope: Envelope) -> dict[str, Any] | None:
        await self._close_older(envelope.target, int(json.loads(envelope.data or "0")))
        state = await self._store.give_away(envelope.target)
        return None if state is None else state.to_json()

    async def _close_older(self, session_id: str, since: int) -> None:
        for connection in self._connections.of_client(ClientId(SESSIONS, session_id)):
            if isinstance(connection.state, Session) and connection.state.since < since:
                connection.state.ready = False
                await self._delivery.close(
                    connection, CloseCode.TAKEN_OVER, "session opened by another connection"
                )

    async def _save(self, connection: Connection) -> None:
        known = session_of(connection).known
        known.changed = time.time()
        await self.kept(self._store.save(connection.name, known), None)


def class_room(class_id: str) -> Room:
    """Return the room where the members of a class are."""
    return Room(CLASSES, class_id)
