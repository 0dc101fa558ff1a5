"""The reference server's chat as raw ASGI: all of its parts, and none of FastAPI's layers.

``uvicorn tests.servers.raw_asgi:app``: what an adopted connection is compared with
(benchmarks/test_adoption_cost.py). Every path is ``/ws``, and nobody is refused.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

from target_app.app import create_app
from target_app.connections.connection import Connection
from target_app.routes.chat import LOBBY, PATH, Chat

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
    connections = _services.connections
    connections.begin_handshake()
    connection = Connection(
        _endpoint,
        cast("CoroutineSend", send),
        client=scope["client"],
        rooms=(LOBBY,),
        state=LOBBY,
    )
    await receive()
    await send({"type": "websocket.accept"})
    scope.clear()
    await connections.serve(connection, receive)
