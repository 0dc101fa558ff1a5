"""Sending to the members of a class, also those added by a program alongside the server."""

from __future__ import annotations

import asyncio
import json
import logging
from typing import TYPE_CHECKING, Final

from target_app.message import Message
from target_app.sessions.session import class_room, session_of
from target_app.sessions.state import NotUnderstoodError
from target_app.sessions.store import StoreUnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from target_app.bus.hub import Envelope, Hub
    from target_app.bus.router import MessageRouter
    from target_app.connections.connection import Connection
    from target_app.connections.fanout import Fanout
    from target_app.connections.registry import ConnectionManager
    from target_app.sessions.registry import Sessions
    from target_app.sessions.store import SessionStore

ADDED: Final = "added to class"
COUNTED_SECONDS: Final = 1.0
"""How long a count waits for added members; the other workers have as long to answer."""
LOOKED_FOR_AT_ONCE: Final = 64
"""Messages for which added members are looked up at once; beyond that, they get the next one."""

logger = logging.getLogger(__name__)


class Classes:
    """The sender of messages to the members of classes.

    Members that joined a class are in its room, and never wait for the store. Members that were
    added from outside (``SADD class:math s-1``) are found when a message is sent to the class, and
    are in its room from then on for as long as they stay connected.
    """

    def __init__(
        self,
        connections: ConnectionManager,
        fanout: Fanout,
        messages: MessageRouter,
        hub: Hub,
        *,
        sessions: Sessions,
        store: SessionStore,
    ) -> None:
        self._connections = connections
        self._fanout = fanout
        self._messages = messages
        self._hub = hub
        self._sessions = sessions
        self._store = store
        self._looking = 0
        self._unannounced: dict[str, list[Message]] = {}
        """Messages sent to each class while its added members were being looked up."""
        hub.handle(ADDED, self._on_added)

    async def is_member(self, connection: Connection, class_id: str) -> bool:
        """Return whether the session is in the class; if so, put it in the class's room."""
        if class_room(class_id) in connection.rooms:
            return True
        name = session_of(connection).id
        if name not in await self._added(class_id):
            return False
        await self._let_in(class_id, [name], self._unannounced.get(class_id, []))
        return True

    async def say(self, class_id: str, message: Message) -> None:
        """Send ``message`` to all members, without waiting for those that were added."""
        looks = self._will_look(class_id, message)
        try:
            await self._messages.to_room(class_room(class_id), message)
        finally:
            if looks:
                self._sessions.spawn(self._announce(class_id, message))

    async def say_and_count(self, class_id: str, message: Message) -> int:
        """Send ``message`` to all members; return how many connections it was handed to.

        Added members that are found later than ``COUNTED_SECONDS`` get it, but are not counted.
        """
        announcing: asyncio.Task[int] | None = None
        looks = self._will_look(class_id, message)
        try:
            reached = await self._messages.to_room_and_count(class_room(class_id), message)
        finally:
            if looks:
                announcing = self._sessions.spawn(self._announce_and_count(class_id, message))
        if announcing is not None:
            await asyncio.wait([announcing], timeout=COUNTED_SECONDS)
            reached += announcing.result() if announcing.done() else 0
        return reached

    async def _announce(self, class_id: str, message: Message) -> None:
        added, unheard = await self._look(class_id, message)
        if added:
            await self._let_in(class_id, added, unheard)
            await self._hub.publish(ADDED, class_id, _encoded(added, unheard))

    async def _announce_and_count(self, class_id: str, message: Message) -> int:
        added, unheard = await self._look(class_id, message)
        if not added:
            return 0
        here = await self._let_in(class_id, added, unheard)
        elsewhere, _ = await self._hub.ask(ADDED, class_id, _encoded(added, unheard))
        return here + sum(map(int, elsewhere))

    async def _on_added(self, envelope: Envelope) -> int:
        added, texts = json.loads(envelope.data or "[[], []]")
        return await self._let_in(envelope.target, added, [Message(text) for text in texts])

    def _will_look(self, class_id: str, message: Message) -> bool:
        # Record a message before it is sent, so that a member found while that takes time gets it
        # twice rather than not at all.
        if not self._store.remote or self._looking >= LOOKED_FOR_AT_ONCE:
            return False
        self._looking += 1
        self._unannounced.setdefault(class_id, []).append(message)
        return True

    async def _look(self, class_id: str, message: Message) -> tuple[list[str], list[Message]]:
        # Return the added members, and the messages that those not in the room yet have not got,
        # including what was sent since. A lookup for one of the latter finds them in the room.
        try:
            added = await self._added(class_id)
        finally:
            self._looking -= 1
            unannounced = self._unannounced.pop(class_id, [])
        return added, unannounced if message in unannounced else [message, *unannounced]

    async def _let_in(self, class_id: str, names: list[str], unheard: list[Message]) -> int:
        # Return how many entered the room. They enter in their turn, between what was sent to the
        # room and what will be, so that they get each message once and in order.
        newcomers = Newcomers(lambda: self._join_room(class_id, names))
        if not unheard or not self._not_in_room(class_id, names):
            return len([*newcomers])
        for message in unheard[:-1]:
            await self._fanout.publish(message, newcomers)
        return await self._fanout.publish_and_count(unheard[-1], newcomers)

    def _join_room(self, class_id: str, names: list[str]) -> list[Connection]:
        new = self._not_in_room(class_id, names)
        for connection in new:
            self._connections.rooms.join(connection, class_room(class_id))
        return new

    def _not_in_room(self, class_id: str, names: list[str]) -> list[Connection]:
        ready = self._sessions.recipients.ready
        here = (connection for name in names for connection in ready(name))
        return [connection for connection in here if class_room(class_id) not in connection.rooms]

    async def _added(self, class_id: str) -> list[str]:
        try:
            return await self._store.added_members(class_id)
        except StoreUnavailableError:
            return []
        except NotUnderstoodError as error:
            logger.warning("class %r: %s", class_id, error)
            return []


class Newcomers:
    """The connections that ``come()`` returns; it is called on the first iteration over them."""

    def __init__(self, come: Callable[[], list[Connection]]) -> None:
        self._come = come
        self._found: list[Connection] | None = None

    def __iter__(self) -> Iterator[Connection]:
        if self._found is None:
            self._found = self._come()
        return iter(self._found)


def _encoded(added: list[str], unheard: list[Message]) -> str:
    return json.dumps([added, [str(message.data) for message in unheard]])
