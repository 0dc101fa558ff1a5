"""``/ws`` and ``/ws/{client_id}``: what one sends, all in the room get. And ``/echo``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from target_app.connections.connection import Connection, Endpoint
from target_app.connections.ended import has_ended
from target_app.connections.message import Message
from target_app.protocol import RUNNING, SHUTTING_DOWN, connected, disconnected, said_by

if TYPE_CHECKING:
    from target_app.bus.router import Outgoing
    from target_app.connections.registry import ConnectionManager
    from target_app.stats.counters import Counters

LOBBY: Final = "lobby"
"""The room of those who did not ask for another."""


class Chat:
    """A room where everybody hears everybody, and who comes and goes."""

    def __init__(self, connections: ConnectionManager, outgoing: Outgoing) -> None:
        self._rooms = connections.rooms
        self._outgoing = outgoing

    def endpoint(self, path: str) -> Endpoint:
        """Return the endpoint of ``path``; a connection with a name says who it is."""
        return Endpoint(
            path,
            self._opened,
            self._received,
            self._closed,
            heartbeat=Message(RUNNING),
            shutting_down=Message(SHUTTING_DOWN),
        )

    async def _opened(self, connection: Connection) -> None:
        assert isinstance(connection.state, str)
        room = connection.state
        self._rooms.join(connection, room)
        await self._outgoing.announce(room, Message(connected(connection.address)))

    async def _received(self, connection: Connection, data: str | bytes) -> None:
        if connection.name and isinstance(data, str):
            data = said_by(connection.name, data)
        for room in connection.rooms:
            await self._outgoing.to_room(room, Message(data))

    async def _closed(self, connection: Connection) -> None:
        assert isinstance(connection.state, str)
        notice = disconnected(connection.address)
        await self._outgoing.announce(connection.state, Message(notice))


class Echo:
    """Whatever a client sends comes back to it."""

    def __init__(self, counters: Counters) -> None:
        self._counters = counters

    def endpoint(self, path: str) -> Endpoint:
        """Return the endpoint of ``path``.

        Its clients are told nothing else, so that what arrives can be checked.
        """
        return Endpoint(path, _nothing, self._received, _nothing)

    async def _received(self, connection: Connection, data: str | bytes) -> None:
        # Whoever does not read is not read from: the wait for room is the backpressure.
        key = "text" if isinstance(data, str) else "bytes"
        try:
            await connection.send({"type": "websocket.send", key: data})
        except Exception as error:
            if not has_ended(error, connection):
                raise
            self._counters.messages_lost += 1
        else:
            self._counters.messages_sent += 1


async def _nothing(_connection: Connection) -> None:
    pass
