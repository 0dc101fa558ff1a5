"""The least that an ASGI application can do: accept, and send messages back.

``uvicorn benchmarks.cost.bare_asgi:app --lifespan off``: what a connection costs uvicorn itself.
The connection is kept as uvicorn passes it on, including its scope.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]


async def app(
    scope: Message,  # noqa: ARG001 - kept for as long as the connection, as any application does
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Serve one WebSocket (ASGI 3)."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
