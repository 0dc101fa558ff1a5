"""A chat over Socket.IO, by python-socketio: ``python -m tests.servers.socket_io PORT``.

A client connects with ``{"token": "t-…"}`` (else it is refused), and what one says in a ``say``
event all get in a ``said`` event. ``--ping SECONDS`` is how often the server pings, and how long it
waits for the answer. On SIGTERM it prints what it counted, as one JSON object.
https://socket.io/docs/v4/engine-io-protocol/, https://socket.io/docs/v4/socket-io-protocol/
"""

import argparse
import json
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import socketio
import uvicorn
from starlette.applications import Starlette
from starlette.routing import Mount


def main() -> None:
    """Serve on the port named by the first argument until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="0 lets the system choose")
    parser.add_argument("--ping", type=float, default=25.0)
    given = parser.parse_args()
    done: Counter[str] = Counter()
    server = socketio.AsyncServer(
        async_mode="asgi",
        transports=["websocket"],
        ping_interval=given.ping,
        ping_timeout=given.ping,
        monitor_clients=True,
    )

    async def connect(_client: str, _environment: Any, login: Any = None) -> bool:
        is_known = isinstance(login, dict) and str(login.get("token")).startswith("t-")
        done["connected" if is_known else "refused"] += 1
        return is_known

    async def say(_client: str, text: str) -> None:
        done["said"] += 1
        done["deliveries"] += done["connected"] - done["left"]
        await server.emit("said", {"text": text, "number": done["said"]})

    async def disconnect(_client: str, reason: str) -> None:
        done["left"] += 1
        done[f"left for {reason}"] += 1

    server.on("connect", connect)
    server.on("say", say)
    server.on("disconnect", disconnect)

    @asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        yield
        print(json.dumps(done), flush=True)

    routes = [Mount("/socket.io", socketio.ASGIApp(server, socketio_path=""))]
    uvicorn.run(Starlette(routes=routes, lifespan=lifespan), host="127.0.0.1", port=given.port)


if __name__ == "__main__":
    main()
