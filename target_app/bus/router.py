"""Sending to a room, to a client or to everyone, whichever worker they are connected to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_app.connections.names import ClientId, Room
from target_app.protocol import CHAT

if TYPE_CHECKING:
    from collections.abc import Iterator, Set

    from target_app.bus.hub import Envelope, Hub
    from target_app.connections.connection import Connection
    from target_app.connections.delivery import Delivery
    from target_app.connections.fanout import Fanout
    from target_app.connections.registry import ConnectionManager
    from target_app.message import Message


class MessageRouter:
    """A router of messages: to clients here at once, and to others through their workers.

    Local clients never wait for the bus: if it is down, only the other workers miss the message.
    """

    def __init__(
        self,
        connections: ConnectionManager,
        fanout: Fanout,
        delivery: Delivery,
        hub: Hub,
        *,
        announce_limit: int,
    ) -> None:
        self._connections = connections
        self._chatting = connections.where(lambda endpoint: endpoint.space == CHAT)
        self._fanout = fanout
        self._delivery = delivery
        self._hub = hub
        self._announce_limit = announce_limit
        hub.handle("room", self._on_room)
        hub.handle("notice", self._on_notice)
        hub.handle("everyone", self._on_everyone)
        hub.handle("client", self._on_client)
        hub.handle("text", self._on_text)

    async def to_room(self, room: Room, message: Message) -> None:
        """Broadcast ``message`` to ``room``; wait while too much is being broadcast already."""
        await self._fanout.publish(message, self._connections.rooms.members(room))
        await self._hub.publish("room", room.encode(), message.data)

    async def announce(self, room: Room, message: Message) -> None:
        """Broadcast an arrival or departure to ``room``, unless it has become too large for that.

        Sent to everyone, 10,000 arrivals would be 50 million messages.
        """
        if self._announce_limit:
            await self._announce_here(room, message)
            await self._hub.publish("notice", room.encode(), message.data)

    async def to_room_and_count(self, room: Room, message: Message) -> int:
        """Broadcast ``message`` to ``room``; return how many connections it was handed to."""
        here = await self._fanout.publish_and_count(message, self._connections.rooms.members(room))
        return here + await self._elsewhere("room", room.encode(), message.data)

    async def to_everyone(self, message: Message) -> int:
        """Broadcast ``message`` to all who chat, in any room; return how many it was handed to."""
        here = await self._fanout.publish_and_count(message, self._chatting)
        return here + await self._elsewhere("everyone", "", message.data)

    async def to_client(self, client: ClientId, message: Message) -> int:
        """Send ``message`` to ``client``; return how many of its connections it was handed to."""
        # A client has one connection; the other workers are asked only if it is not here.
        here = self._push(client, message)
        return here or await self._elsewhere("client", client.encode(), message.data)

    async def text_to_client(self, client: ClientId, text: str) -> int:
        """Send ``text`` like :meth:`to_client`, in the form that the client's endpoint uses."""
        return self._push_text(client, text) + await self._elsewhere("text", client.encode(), text)

    async def _elsewhere(self, kind: str, target: str, data: str | bytes) -> int:
        counts, _ = await self._hub.ask(kind, target, data)
        return sum(int(count) for count in counts)

    def _push(self, client: ClientId, message: Message) -> int:
        return sum(self._delivery.push(c, message) for c in self._connections.of_client(client))

    def _push_text(self, client: ClientId, text: str) -> int:
        found = self._connections.of_client(client)
        return sum(self._delivery.push(c, c.endpoint.wrap(text)) for c in found)

    async def _on_room(self, envelope: Envelope) -> int | None:
        members = self._connections.rooms.members(Room.decode(envelope.target))
        if envelope.question:
            return await self._fanout.publish_and_count(envelope.message(), members)
        if members:
            await self._fanout.publish(envelope.message(), members)
        return None

    async def _on_notice(self, envelope: Envelope) -> None:
        await self._announce_here(Room.decode(envelope.target), envelope.message())

    async def _announce_here(self, room: Room, message: Message) -> None:
        members = self._connections.rooms.members(room)
        if 0 < len(members) <= self._announce_limit:
            await self._fanout.publish(message, _UpTo(self._announce_limit, members))

    async def _on_everyone(self, envelope: Envelope) -> int:
        return await self._fanout.publish_and_count(envelope.message(), self._chatting)

    async def _on_client(self, envelope: Envelope) -> int:
        return self._push(ClientId.decode(envelope.target), envelope.message())

    async def _on_text(self, envelope: Envelope) -> int:
        return self._push_text(ClientId.decode(envelope.target), str(envelope.data))


class _UpTo:
    # Empty if there are too many members by the time this is iterated over.
    def __init__(self, limit: int, members: Set[Connection]) -> None:
        self._limit = limit
        self._members = members

    def __iter__(self) -> Iterator[Connection]:
        return iter(self._members if len(self._members) <= self._limit else ())
