"""``/ws/py_client``: events between programs, each with an id assigned by the server."""

from __future__ import annotations

import dataclasses
import uuid
from typing import TYPE_CHECKING, Final

from fastapi import APIRouter, WebSocket

from target_app.connections.adoption import adopt
from target_app.connections.connection import Connection, Endpoint
from target_app.connections.names import ClientId, Room
from target_app.protocol import (
    EVENTS,
    SHUTTING_DOWN,
    NotUnderstood,
    WebsocketEvent,
    parsed,
    too_large,
)
from target_app.routes.admission import GUARDED

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable
    from typing import Any

    from target_app.message import Message
    from target_app.protocol import Problem
    from target_app.services import Services

    Handler = Callable[["Connection", WebsocketEvent], Awaitable[None]]

PATH: Final = "/ws/py_client"
EVERYONE: Final = Room(f"{EVENTS}.everyone", "")
"""The room that every client of this endpoint is in."""


def router(services: Services, routes: APIRouter | None = None) -> APIRouter:
    """Return ``routes``, by default a new router, with the endpoint of events."""
    routes = routes or APIRouter()
    events = Events(services).endpoint(PATH)
    services.know(events)

    @routes.websocket(PATH, dependencies=GUARDED)
    async def _events(websocket: WebSocket) -> None:
        await adopt(websocket, events, id=ClientId(EVENTS, new_id()))

    return routes


def new_id() -> str:
    """Return an id for a client (a UUID of version 4, RFC 9562 §5.4)."""
    return str(uuid.uuid4())


class Events:
    """The handlers of ``send_to_client``, ``broadcast``, ``join``, ``leave`` and ``room``.

    Any problem with an event is answered with an ``error`` event; the connection stays open.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._handlers: dict[str, Handler] = {
            "send_to_client": self._send_to_client,
            "broadcast": self._broadcast,
            "join": self._join,
            "leave": self._leave,
            "room": self._room,
        }

    def endpoint(self, path: str) -> Endpoint:
        """Return the endpoint of ``path``."""
        return Endpoint(
            path,
            self._opened,
            self._received,
            max_message_bytes=self._services.settings.event_bytes,
            too_large=self._too_large,
            wrap=_from_server,
            shutting_down=WebsocketEvent.of("shutdown", "server", message=SHUTTING_DOWN).message(),
        )

    async def _opened(self, connection: Connection) -> None:
        granted = WebsocketEvent.of(
            "connect", connection.name, message="connection request granted"
        )
        # Before anyone can reach it, so that this is the first message it gets.
        self._services.delivery.push(connection, granted.message())
        self._services.connections.rooms.join(connection, EVERYONE)

    async def _received(self, connection: Connection, data: str | bytes) -> None:
        try:
            event = parsed(WebsocketEvent, data)
        except NotUnderstood as error:
            self._not_valid(connection, *error.problems)
            return
        handler = self._handlers.get(event.event)
        if handler is None:
            known = ", ".join(self._handlers)
            self._error(connection, f"unknown event {event.event!r}; known are {known}")
        else:
            await handler(connection, event)

    async def _too_large(self, connection: Connection, size: int) -> None:
        self._not_valid(connection, too_large(size, self._services.settings.event_bytes))

    def _not_valid(self, connection: Connection, *problems: Problem) -> None:
        errors = [dataclasses.asdict(problem) for problem in problems]
        self._error(connection, "not a valid event", errors=errors)

    async def _send_to_client(self, connection: Connection, event: WebsocketEvent) -> None:
        message = self._from(connection, "message", event)
        if not await self._services.messages.to_client(ClientId(EVENTS, event.client_id), message):
            self._error(connection, f"no client {event.client_id!r} is connected")

    async def _broadcast(self, connection: Connection, event: WebsocketEvent) -> None:
        await self._services.messages.to_room(EVERYONE, self._from(connection, "broadcast", event))

    async def _join(self, connection: Connection, event: WebsocketEvent) -> None:
        room = self._room_of(connection, event)
        if room is None:
            return
        most = self._services.settings.rooms_per_client
        # In addition to the room that every client of this endpoint is in.
        if room not in connection.rooms and len(connection.rooms) > most:
            problem = f"in {most} rooms already, which is the limit; leave one first"
            self._error(connection, problem)
        else:
            self._services.connections.rooms.join(connection, room)
            self._answer(connection, "joined", event)

    async def _leave(self, connection: Connection, event: WebsocketEvent) -> None:
        if (room := self._room_of(connection, event)) is not None:
            self._services.connections.rooms.leave(connection, room)
            self._answer(connection, "left", event)

    async def _room(self, connection: Connection, event: WebsocketEvent) -> None:
        room = self._room_of(connection, event)
        if room is None:
            return
        if room in connection.rooms:
            await self._services.messages.to_room(room, self._from(connection, "room", event))
        else:
            self._error(connection, f"not in room {event.data.data['room']!r}; join it first")

    def _room_of(self, connection: Connection, event: WebsocketEvent) -> Room | None:
        name = event.data.data.get("room")
        if isinstance(name, str) and 0 < len(name) <= 64:
            return Room(EVENTS, name)
        self._error(connection, f"{event.event} needs the name of a room in data.data.room")
        return None

    def _from(self, connection: Connection, kind: str, event: WebsocketEvent) -> Message:
        return WebsocketEvent(event=kind, client_id=connection.name, data=event.data).message()

    def _answer(self, connection: Connection, kind: str, event: WebsocketEvent) -> None:
        self._services.delivery.push(connection, self._from(connection, kind, event))

    def _error(self, connection: Connection, problem: str, **data: Any) -> None:  # noqa: ANN401
        error = WebsocketEvent.of("error", connection.name, message=problem, **data)
        self._services.delivery.push(connection, error.message())


def _from_server(text: str) -> Message:
    return WebsocketEvent.of("message", "server", message=text).message()
