"""``/ws/{session_id}``: a session that survives its connection, and questions answered later."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final

from fastapi import APIRouter, WebSocket
from starlette.convertors import Convertor, register_url_convertor

from target_app.connections.adoption import adopt
from target_app.connections.connection import Connection, Endpoint
from target_app.connections.names import ClientId
from target_app.protocol import (
    SESSIONS,
    SHUTTING_DOWN,
    NotUnderstood,
    SessionMessage,
    parsed,
    too_large,
)
from target_app.routes.admission import GUARDED
from target_app.sessions.session import session_of
from target_app.sessions.state import compact

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from target_app.message import Message
    from target_app.protocol import Problem
    from target_app.services import Services

    Handler = Callable[["Connection", dict[str, Any]], Awaitable[None]]


PATH: Final = "/ws/{session_id}"
LONGEST_ID: Final = 128
"""Maximum number of characters of a session's id."""

ENVELOPE_BYTES: Final = 1024
"""Bytes that a message may have beyond the progress in it."""


class SessionIdConvertor(Convertor[str]):
    """A part of a path that may be a session's id."""

    regex = f"[^/]{{1,{LONGEST_ID}}}"

    def convert(self, value: str) -> str:
        """Return ``value`` unchanged."""
        return value

    def to_string(self, value: str) -> str:
        """Return ``value`` unchanged."""
        return value


register_url_convertor("session_id", SessionIdConvertor())


def router(services: Services, routes: APIRouter | None = None) -> APIRouter:
    """Return ``routes``, by default a new router, with the endpoint of sessions."""
    routes = routes or APIRouter()
    sessions = SessionRoute(services).endpoint(PATH)
    services.know(sessions)

    @routes.websocket("/ws/{session_id:session_id}", dependencies=GUARDED)
    async def _session(websocket: WebSocket, session_id: str) -> None:
        await adopt(websocket, sessions, id=ClientId(SESSIONS, session_id))

    return routes


class SessionRoute:
    """The handlers of session messages; any problem with one is answered with an ``ERROR``.

    In addition to the protocol's own messages: ``JOIN_CLASS``, ``LEAVE_CLASS`` and
    ``CLASS_MESSAGE`` with a ``classId`` in their payload.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._most = services.settings.session_state_bytes + ENVELOPE_BYTES
        self._handlers: dict[str, Handler] = {
            "STUDENT_INTERRUPTION": self._interrupted,
            "READING_PROGRESS": self._progress,
            "JOIN_CLASS": self._join,
            "LEAVE_CLASS": self._leave,
            "CLASS_MESSAGE": self._say,
        }

    def endpoint(self, path: str) -> Endpoint:
        """Return the endpoint of ``path``."""
        return Endpoint(
            path,
            self._opened,
            self._received,
            self._closed,
            max_message_bytes=self._most,
            too_large=self._too_large,
            wrap=from_server,
            shutting_down=SessionMessage(
                type="SERVER_SHUTTING_DOWN", payload={"message": SHUTTING_DOWN}
            ).message(),
        )

    async def _opened(self, connection: Connection) -> None:
        await self._services.sessions.open(connection)

    async def _received(self, connection: Connection, data: str | bytes) -> None:
        if not session_of(connection).ready:
            return  # it has lost its session, and is being closed
        try:
            message = parsed(SessionMessage, data)
        except NotUnderstood as error:
            self._not_understood(connection, error.problems[0])
            return
        self._services.sessions.touch(connection)
        if (handler := self._handlers.get(message.type)) is not None:
            await handler(connection, message.payload or {})
        else:
            known = ", ".join(self._handlers)
            self._error(connection, f"unknown type {message.type!r}; known are {known}")

    async def _too_large(self, connection: Connection, size: int) -> None:
        if session_of(connection).ready:
            self._not_understood(connection, too_large(size, self._most))

    def _not_understood(self, connection: Connection, problem: Problem) -> None:
        self._error(connection, f"{problem.at or 'message'}: {problem.problem}")

    async def _interrupted(self, connection: Connection, payload: dict[str, Any]) -> None:
        text = payload.get("questionText")
        if not isinstance(text, str) or not text:
            self._error(connection, "STUDENT_INTERRUPTION needs payload.questionText")
            return
        most = self._services.settings.questions_waiting
        waiting = self._services.questions.waiting_of(connection)
        if waiting >= most:
            waiting = await self._services.questions.counted_again(connection)
        if waiting >= most:
            self._error(connection, f"{waiting} questions are waiting already")
        elif (problem := self._services.questions.refusal(text)) is not None:
            self._error(connection, problem)
        else:
            acknowledged = SessionMessage(type="INTERRUPTION_ACKNOWLEDGED", timestamp=time.time())
            self._services.delivery.push(connection, acknowledged.message())
            self._services.questions.ask(connection, text)

    async def _closed(self, connection: Connection) -> None:
        await self._services.sessions.close(connection)

    async def _progress(self, connection: Connection, payload: dict[str, Any]) -> None:
        try:
            progress = compact(payload)
        except ValueError as error:
            self._error(connection, f"progress cannot be kept as JSON: {error}")
            return
        if len(progress) > (most := self._services.settings.session_state_bytes):
            self._error(
                connection, f"progress of {len(progress)} bytes; at most {most} bytes are kept"
            )
        else:
            await self._services.sessions.progress(connection, progress)

    async def _join(self, connection: Connection, payload: dict[str, Any]) -> None:
        if (class_id := self._class_of(connection, payload)) is None:
            return
        classes = session_of(connection).state.classes
        most = self._services.settings.session_classes
        if class_id not in classes and len(classes) >= most:
            self._error(connection, f"in {len(classes)} classes already; send LEAVE_CLASS first")
            return
        if await self._services.sessions.join_class(connection, class_id):
            self._send(connection, "CLASS_JOINED", {"classId": class_id})

    async def _leave(self, connection: Connection, payload: dict[str, Any]) -> None:
        if (class_id := self._class_of(connection, payload)) is not None:
            await self._services.sessions.leave_class(connection, class_id)
            self._send(connection, "CLASS_LEFT", {"classId": class_id})

    async def _say(self, connection: Connection, payload: dict[str, Any]) -> None:
        if (class_id := self._class_of(connection, payload)) is None:
            return
        if not await self._services.classes.is_member(connection, class_id):
            self._error(connection, f"not in class {class_id!r}; send JOIN_CLASS first")
            return
        signed = {**payload, "sessionId": session_of(connection).id}
        message = SessionMessage(type="CLASS_MESSAGE", payload=signed).message()
        await self._services.classes.say(class_id, message)

    def _class_of(self, connection: Connection, payload: dict[str, Any]) -> str | None:
        class_id = payload.get("classId")
        if isinstance(class_id, str) and 0 < len(class_id) <= 64:
            return class_id
        self._error(connection, "the name of a class is missing in payload.classId")
        return None

    def _send(self, connection: Connection, kind: str, payload: dict[str, Any]) -> None:
        self._services.delivery.push(
            connection, SessionMessage(type=kind, payload=payload).message()
        )

    def _error(self, connection: Connection, problem: str) -> None:
        self._send(connection, "ERROR", {"message": problem})


def from_server(text: str) -> Message:
    """Return ``text`` from the server as a message that sessions understand."""
    return SessionMessage(type="MESSAGE", payload={"text": text}).message()
