"""The same as raw ASGI: no framework between the server and the application.

``uvicorn benchmarks.servers.raw_asgi:app --lifespan off``.
"""

from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

Message = MutableMapping[str, Any]
Send = Callable[[Message], Awaitable[None]]

_audience: set[Send] = set()


async def app(scope: Message, receive: Callable[[], Awaitable[Message]], send: Send) -> None:
    """Serve one WebSocket: broadcast on ``/ws``, echo on any other path (ASGI 3)."""
    await receive()
    await send({"type": "websocket.accept"})
    is_broadcast = scope["path"] == "/ws"
    if is_broadcast:
        _audience.add(send)
    try:
        while (message := await receive())["type"] == "websocket.receive":
            answer = {**message, "type": "websocket.send"}
            for receiver in tuple(_audience) if is_broadcast else (send,):
                await receiver(answer)
    finally:
        _audience.discard(send)
