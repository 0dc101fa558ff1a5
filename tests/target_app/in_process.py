"""The server in the test's own process, so that it can be looked into."""

import asyncio
import contextlib

import uvicorn
from fastapi import WebSocket

from target_app.app import create_app
from target_app.connections.bounded import BoundedWebSocket, bounded_http
from target_app.settings import Settings
from tests.target_app.conftest import until


@contextlib.asynccontextmanager
async def served():
    """Serve the application in this process, as ``python -m target_app`` does; yield its port."""
    app = create_app(Settings(log_level="error", announce_limit=0))

    @app.websocket("/plain")
    async def plain(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text(await websocket.receive_text())

    @app.websocket("/pushes")
    async def pushes(websocket: WebSocket) -> None:
        await websocket.accept()
        while True:
            await websocket.send_text("more")
            await asyncio.sleep(0.01)

    server = uvicorn.Server(
        uvicorn.Config(
            app,
            port=0,
            ws=BoundedWebSocket,
            http=bounded_http(10.0),
            log_level="error",
            ws_ping_interval=None,
        )
    )

    async def started():
        return server.started

    serving = asyncio.create_task(server.serve())
    await until(started)
    try:
        yield server.servers[0].sockets[0].getsockname()[1]
    finally:
        server.should_exit = True
        await serving
