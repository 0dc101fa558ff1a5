"""``/ws`` and ``/ws/{client_id}``: what one client sends, all in the room get. And ``/echo``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, WebSocket
from fastapi.exceptions import WebSocketRequestValidationError
from starlette.convertors import Convertor, register_url_convertor

from target_app.connections.adoption import adopt
from target_app.connections.connection import Connection, Endpoint
from target_app.connections.ended import has_ended
from target_app.connections.names import ClientId, Room
from target_app.message import Message
from target_app.protocol import CHAT, RUNNING, SHUTTING_DOWN, connected, disconnected, said_by
from target_app.routes.admission import GUARDED

if TYPE_CHECKING:
    from collections.abc import Callable

    from target_app.services import Services

PATH: Final = "/ws"
LOBBY: Final = Room(CHAT, "lobby")
"""The room of clients that did not ask for another; one object for all of them."""
LONGEST_NAME: Final = 128
"""Maximum number of characters of a room's name, and of digits of a client's number."""


class IntegerConvertor(Convertor[int]):
    """An integer in a path, which may be negative, unlike with Starlette's ``int``.

    No longer than Python converts in no time: its own limit is 4,300 digits and an exception.
    """

    regex = f"-?[0-9]{{1,{LONGEST_NAME}}}"

    def convert(self, value: str) -> int:
        """Return the integer of a path."""
        return int(value)

    def to_string(self, value: int) -> str:
        """Return ``value`` as a part of a path."""
        return str(value)


register_url_convertor("integer", IntegerConvertor())


def router(services: Services, routes: APIRouter | None = None) -> APIRouter:
    """Return ``routes``, by default a new router, with the endpoints of the chat and the echo."""
    routes = routes or APIRouter()
    chat = Chat(services)
    plain, named = chat.endpoint(PATH), chat.endpoint(f"{PATH}/{{client_id}}")
    echo = Endpoint("/echo", received=Echo(services).received)
    services.know(plain, named, echo)

    @routes.websocket(PATH, dependencies=GUARDED)
    async def _plain(websocket: WebSocket) -> None:
        room = room_asked_for(websocket)
        await adopt(websocket, plain, rooms=(room,), state=room)

    @routes.websocket(f"{PATH}/{{client_id:integer}}", dependencies=GUARDED)
    async def _named(websocket: WebSocket, client_id: int) -> None:
        client, room = ClientId(CHAT, str(client_id)), room_asked_for(websocket)
        await adopt(websocket, named, id=client, rooms=(room,), state=room)

    @routes.websocket(echo.path, dependencies=GUARDED)
    async def _echo(websocket: WebSocket) -> None:
        await adopt(websocket, echo)

    return routes


def room_asked_for(websocket: WebSocket) -> Room:
    """Return the room of ``?room=``; without one, the lobby.

    Not a parameter of the endpoints, since FastAPI takes longer to find that it is missing than for
    any other part of a handshake. Raise what FastAPI would raise for a name that is too long.
    """
    name = websocket.query_params.get("room", "")
    if len(name) > LONGEST_NAME:
        complaint = f"String should have at most {LONGEST_NAME} characters"
        problem = {"type": "string_too_long", "loc": ("query", "room"), "msg": complaint}
        raise WebSocketRequestValidationError([problem])
    return room_called(name)


def room_called(name: str) -> Room:
    """Return the room of that ``name``; if it is empty, the lobby."""
    return Room(CHAT, name) if name not in {"", LOBBY.name} else LOBBY


class Chat:
    """A room where everyone gets everyone's messages, and learns who comes and goes."""

    def __init__(self, services: Services) -> None:
        self._services = services

    def endpoint(self, path: str) -> Endpoint:
        """Return the endpoint of ``path``; what a connection with an id sends names it."""
        return Endpoint(
            path,
            self._opened,
            self._received,
            self._closed,
            space=CHAT,
            heartbeat=Message(RUNNING),
            shutting_down=Message(SHUTTING_DOWN),
        )

    async def _opened(self, connection: Connection) -> None:
        await self._announce(connection, connected)

    async def _received(self, connection: Connection, data: str | bytes) -> None:
        if connection.id is not None and isinstance(data, str):
            data = said_by(connection.name, data)
        for room in connection.rooms:
            await self._services.messages.to_room(room, Message(data))

    async def _closed(self, connection: Connection) -> None:
        await self._announce(connection, disconnected)

    async def _announce(self, connection: Connection, notice: Callable[[str], str]) -> None:
        if self._services.settings.announce_limit:
            # Not to connection.rooms: it has left those once it is closed.
            assert isinstance(connection.state, Room)
            message = Message(notice(connection.address))
            await self._services.messages.announce(connection.state, message)


class Echo:
    """An echo of whatever a client sends, and nothing else, so that it can be checked."""

    def __init__(self, services: Services) -> None:
        self._services = services

    async def received(self, connection: Connection, data: str | bytes) -> None:
        """Send ``data`` back."""
        # A client that does not read is not read from: the wait for room is the backpressure.
        key = "text" if isinstance(data, str) else "bytes"
        try:
            await connection.send({"type": "websocket.send", key: data})
        except Exception as error:
            if not has_ended(error, connection):
                raise
            self._services.counters.messages_lost += 1
        else:
            self._services.counters.messages_sent += 1
