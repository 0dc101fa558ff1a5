"""Who hears what is said to a class: also members that a program beside the server added."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Final

from target_app.connections.message import Message
from target_app.sessions.session import class_room, session_of
from target_app.sessions.state import NotUnderstoodError
from target_app.sessions.store import StoreUnavailableError

if TYPE_CHECKING:
    from target_app.bus.hub import Envelope, Hub
    from target_app.bus.router import MessageRouter
    from target_app.connections.connection import Connection
    from target_app.connections.delivery import Delivery
    from target_app.connections.registry import ConnectionManager
    from target_app.sessions.registry import Sessions
    from target_app.sessions.store import SessionStore

LOOKED_FOR_AT_ONCE: Final = 64
"""Messages for whose class added members are looked for; with more, those hear the next one."""

logger = logging.getLogger(__name__)


class Classes:
    """Says things to the members of a class.

    Those who joined it are in its room, and never wait for the store. Members that were added from
    outside (``SADD class:math s-1``) are found when something is said to the class, and are in its
    room from then on for as long as they stay connected.
    """

    def __init__(
        self,
        connections: ConnectionManager,
        delivery: Delivery,
        messages: MessageRouter,
        hub: Hub,
        *,
        sessions: Sessions,
        store: SessionStore,
    ) -> None:
        self._connections = connections
        self._delivery = delivery
        self._messages = messages
        self._hub = hub
        self._sessions = sessions
        self._store = store
        self._looking = 0
        hub.handle("added to class", self._on_added)

    async def is_member(self, connection: Connection, class_id: str) -> bool:
        """Return whether the session is in the class; let it hear the class if it is."""
        room = class_room(class_id)
        if room in connection.rooms:
            return True
        if session_of(connection).id not in await self._added(class_id):
            return False
        self._connections.rooms.join(connection, room)
        return True

    async def say(self, class_id: str, message: Message) -> None:
        """Send ``message`` to all members."""
        await self._messages.to_room(class_room(class_id), message)
        if self._store.remote and self._looking < LOOKED_FOR_AT_ONCE:
            self._looking += 1
            self._sessions.spawn(self._tell_added(class_id, message))

    async def _tell_added(self, class_id: str, message: Message) -> None:
        try:
            if added := await self._added(class_id):
                text = str(message.data)
                await self._hub.publish("added to class", class_id, json.dumps([added, text]))
                self._tell_here(class_id, added, text)
        finally:
            self._looking -= 1

    async def _on_added(self, envelope: Envelope) -> None:
        added, text = json.loads(envelope.data or "[[], null]")
        self._tell_here(envelope.target, added, text)

    def _tell_here(self, class_id: str, added: list[str], text: str) -> None:
        room, message = class_room(class_id), Message(text)
        for session_id in added:
            for connection in self._sessions.ready(session_id):
                if room not in connection.rooms:
                    self._connections.rooms.join(connection, room)
                    self._delivery.push(connection, message)

    async def _added(self, class_id: str) -> list[str]:
        try:
            return await self._store.added_members(class_id)
        except StoreUnavailableError:
            return []
        except NotUnderstoodError as error:
            logger.warning("class %r: %s", class_id, error)
            return []
