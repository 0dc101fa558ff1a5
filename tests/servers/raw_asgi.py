"""The reference server's chat as raw ASGI: all that it does at a handshake, without FastAPI.

``uvicorn tests.servers.raw_asgi:app``: what an adopted connection is compared with
(benchmarks/cost/test_adoption_cost.py). Only ``/ws`` is served.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast
from urllib.parse import parse_qs

from starlette.responses import PlainTextResponse

from target_app.app import create_app
from target_app.connections.connection import Connection
from target_app.routes.chat import PATH, Chat, room_called
from target_app.settings import digest

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from target_app.connections.connection import CoroutineSend

_served = create_app()
_services = _served.services
_endpoint = Chat(_services).endpoint(PATH)


async def app(scope: Scope, receive: Receive, send: Send) -> None:
    """Serve a WebSocket, or leave a request or the lifespan to FastAPI (ASGI 3)."""
    if scope["type"] != "websocket":
        await _served(scope, receive, send)
        return
    asked = parse_qs(scope["query_string"].decode())
    if (status := _refused(scope, asked)) is not None:
        await PlainTextResponse("", status)(scope, receive, send)
        return
    connections = _services.connections
    connections.begin_handshake()
    room = room_called(asked.get("room", [""])[0])
    connection = Connection(
        _endpoint,
        cast("CoroutineSend", send),
        client=scope["client"],
        rooms=(room,),
        state=room,
    )
    await receive()
    await send({"type": "websocket.accept"})
    scope.clear()
    await connections.serve(connection, receive)


def _refused(scope: Scope, asked: dict[str, list[str]]) -> int | None:
    settings = _services.settings
    headers = dict(scope["headers"])
    origin = headers.get(b"origin", b"").decode()
    scheme, _, token = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer":
        token = asked.get("token", [""])[0].encode()
    if scope["path"] != PATH:
        return 404
    if settings.allowed_origins and origin and origin not in settings.allowed_origins:
        return 403
    if settings.names_by_token and digest(token) not in settings.names_by_token:
        return 401
    return None if _services.connections.refusal() is None else 503
