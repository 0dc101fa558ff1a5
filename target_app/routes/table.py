"""Which endpoint a path is for: ``py_client`` before integers, integers before sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, cast
from urllib.parse import parse_qs

from target_app.connections.connection import Connection
from target_app.routes.chat import LOBBY
from target_app.routes.events import new_id

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import Scope, Send

    from target_app.connections.connection import CoroutineSend, Endpoint

CHAT: Final = "/ws"
NAMED_CHAT: Final = "/ws/{client_id}"
EVENTS: Final = "/ws/py_client"
SESSION: Final = "/ws/{session_id}"
ECHO: Final = "/echo"
LONGEST_NAME: Final = 128
"""Characters of a session's id, or of the name of a room."""


@dataclass(frozen=True, slots=True)
class Routes:
    """The WebSocket endpoints."""

    chat: Endpoint
    named_chat: Endpoint
    events: Endpoint
    session: Endpoint
    echo: Endpoint

    def __iter__(self) -> Iterator[Endpoint]:
        return iter((self.chat, self.named_chat, self.events, self.session, self.echo))

    def connection(self, scope: Scope, send: Send) -> Connection | None:
        """Return the connection that a handshake asks for, None if there is no such endpoint."""
        path: str = scope["path"].removeprefix(scope.get("root_path", ""))
        room = None
        name = ""
        if path == self.echo.path:
            endpoint = self.echo
        elif path == self.chat.path:
            endpoint, room = self.chat, _room(scope)
        elif path == self.events.path:
            endpoint, name = self.events, new_id()
        else:
            name = path.removeprefix("/ws/")
            if name == path or "/" in name or not 0 < len(name) <= LONGEST_NAME:
                return None
            if name.isascii() and name.isdigit():
                endpoint, name, room = self.named_chat, name.lstrip("0") or "0", _room(scope)
            else:
                endpoint = self.session
        direct = cast("CoroutineSend", send)
        return Connection(endpoint, direct, client=scope.get("client"), name=name, state=room)


def _room(scope: Scope) -> str:
    asked = parse_qs(scope["query_string"].decode("latin-1")).get("room", [LOBBY])
    return str(asked[0])[:LONGEST_NAME]
