"""``/ws/{session_id}``: a session that survives its connection, and questions answered later."""

from __future__ import annotations

import json
import time
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from target_app.connections.connection import Connection, Endpoint
from target_app.connections.message import Message
from target_app.protocol import SHUTTING_DOWN, SessionMessage
from target_app.sessions.registry import class_room, session_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from target_app.bus.router import Outgoing
    from target_app.connections.delivery import Delivery
    from target_app.sessions.questions import Questions
    from target_app.sessions.registry import Sessions

    Handler = Callable[["Connection", dict[str, Any]], Awaitable[None]]


class SessionRoute:
    """Understands the messages of sessions; what is wrong with one is answered with an ``ERROR``.

    Beyond the protocol's own messages: ``JOIN_CLASS``, ``LEAVE_CLASS`` and ``CLASS_MESSAGE`` with a
    ``classId`` in their payload.
    """

    def __init__(
        self,
        sessions: Sessions,
        questions: Questions,
        outgoing: Outgoing,
        delivery: Delivery,
        *,
        questions_waiting: int,
    ) -> None:
        self._sessions = sessions
        self._questions = questions
        self._outgoing = outgoing
        self._delivery = delivery
        self._questions_waiting = questions_waiting
        self._handlers: dict[str, Handler] = {
            "STUDENT_INTERRUPTION": self._interrupted,
            "READING_PROGRESS": self._sessions.progress,
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
            self._sessions.close,
            wrap=from_server,
            shutting_down=SessionMessage(
                type="SERVER_SHUTTING_DOWN", payload={"message": SHUTTING_DOWN}
            ).message(),
        )

    async def _opened(self, connection: Connection) -> None:
        session, answers = await self._sessions.open(connection)
        if session.known.progress is not None:
            self._tell(connection, "SESSION_RESTORED", session.known.progress)
        session.ready = True
        for answer in answers:
            self._delivery.push(connection, Message(json.dumps(answer)))

    async def _received(self, connection: Connection, data: str | bytes) -> None:
        try:
            said = SessionMessage.model_validate_json(data)
        except ValidationError as error:
            problem = error.errors()[0]
            at = ".".join(map(str, problem["loc"])) or "message"
            self._error(connection, f"{at}: {problem['msg']}")
            return
        await self._sessions.touch(connection)
        if (handler := self._handlers.get(said.type)) is not None:
            await handler(connection, said.payload or {})
        else:
            known = ", ".join(self._handlers)
            self._error(connection, f"unknown type {said.type!r}; known are {known}")

    async def _interrupted(self, connection: Connection, payload: dict[str, Any]) -> None:
        text = payload.get("questionText")
        waiting = session_of(connection).waiting
        if not isinstance(text, str) or not text:
            self._error(connection, "STUDENT_INTERRUPTION needs payload.questionText")
        elif waiting >= self._questions_waiting:
            self._error(connection, f"{waiting} questions are waiting already")
        else:
            acknowledged = SessionMessage(type="INTERRUPTION_ACKNOWLEDGED", timestamp=time.time())
            self._delivery.push(connection, acknowledged.message())
            self._questions.ask(connection, text)

    async def _join(self, connection: Connection, payload: dict[str, Any]) -> None:
        if (class_id := self._class_of(connection, payload)) is not None:
            await self._sessions.join_class(connection, class_id)
            self._tell(connection, "CLASS_JOINED", {"classId": class_id})

    async def _leave(self, connection: Connection, payload: dict[str, Any]) -> None:
        if (class_id := self._class_of(connection, payload)) is not None:
            await self._sessions.leave_class(connection, class_id)
            self._tell(connection, "CLASS_LEFT", {"classId": class_id})

    async def _say(self, connection: Connection, payload: dict[str, Any]) -> None:
        if (class_id := self._class_of(connection, payload)) is None:
            return
        if class_id not in session_of(connection).known.classes:
            self._error(connection, f"not in class {class_id!r}; send JOIN_CLASS first")
            return
        said = {**payload, "sessionId": connection.name}
        message = SessionMessage(type="CLASS_MESSAGE", payload=said).message()
        await self._outgoing.to_room(class_room(class_id), message)

    def _class_of(self, connection: Connection, payload: dict[str, Any]) -> str | None:
        class_id = payload.get("classId")
        if isinstance(class_id, str) and 0 < len(class_id) <= 64:
            return class_id
        self._error(connection, "the name of a class is missing in payload.classId")
        return None

    def _tell(self, connection: Connection, kind: str, payload: dict[str, Any]) -> None:
        self._delivery.push(connection, SessionMessage(type=kind, payload=payload).message())

    def _error(self, connection: Connection, told: str) -> None:
        self._tell(connection, "ERROR", {"message": told})


def from_server(text: str) -> Message:
    """Return a text of the server's own as a message that sessions understand."""
    return SessionMessage(type="MESSAGE", payload={"text": text}).message()
