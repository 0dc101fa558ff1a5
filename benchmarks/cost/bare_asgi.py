"""The least that an ASGI application can do: accept, and send back what comes.

``uvicorn benchmarks.cost.bare_asgi:app --lifespan off``: what uvicorn itself takes for a
connection. It is held as uvicorn hands it over, its scope with it.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]


async def app(
    scope: Message,  # noqa: ARG001 - held for as long as the connection, as any application does
    receive: Callable[[], Awaitable[Message]],
    send: Callable[[Message], Awaitable[None]],
) -> None:
    """Serve one WebSocket (ASGI 3)."""
    await receive()
    await send({"type": "websocket.accept"})
    while (message := await receive())["type"] == "websocket.receive":
        await send({**message, "type": "websocket.send"})
