"""The application: its endpoints, and the parts behind them put together."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from typing import TYPE_CHECKING, Any, cast

from fastapi import FastAPI
from starlette.responses import PlainTextResponse
from starlette.routing import Match, WebSocketRoute

from target_app.connections import GONE, Connection, ConnectionManager
from target_app.fanout import Fanout
from target_app.heartbeat import heartbeat
from target_app.protocol import RUNNING, SHUTTING_DOWN, send_back
from target_app.settings import Settings
from target_app.shutdown import GracefulShutdown
from target_app.stats import Counters, Stats

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, MutableMapping

    from starlette.types import Receive, Scope, Send

    from target_app.connections import CoroutineSend, OnMessage

BROADCAST = "/ws"
ECHO = "/echo"


class TargetApp(FastAPI):
    """A FastAPI application whose WebSockets do not pass through its HTTP middleware.

    Every layer between server and endpoint is a suspended coroutine for as long as a connection is
    open, and none of them does anything for a WebSocket here.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(title="swarmgate reference server", lifespan=_lifespan)
        self.settings = settings
        self.started = time.monotonic()
        self.counters = Counters()
        self.connections = ConnectionManager(
            self.counters, close_timeout_seconds=settings.close_timeout_seconds
        )
        self.fanout = Fanout(
            self.counters,
            slow_consumer_seconds=settings.slow_consumer_seconds,
            slow_consumer_messages=settings.slow_consumer_messages,
            close_timeout_seconds=settings.close_timeout_seconds,
        )
        self.drain = GracefulShutdown(
            self.connections,
            self._announce_shutdown,
            announce_seconds=settings.drain_announce_seconds,
            timeout_seconds=settings.drain_timeout_seconds,
            close_timeout_seconds=settings.close_timeout_seconds,
        )
        self._websockets = (
            WebSocketRoute(BROADCAST, self._endpoint(BROADCAST, self._broadcast)),
            WebSocketRoute(ECHO, self._endpoint(ECHO, self._echo)),
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, request or lifespan (ASGI 3).

        WebSocket routes are tried in order, and the one that matches is called without the router
        and the exception handlers around it. A connection then takes 19.7 KiB; with Starlette's
        router in between 20.5; as an ``@app.websocket`` route of a plain application 30.5 (uvicorn
        0.54, no deflate, PSS of the process, slope from 500 to 2,000 idle connections).
        """
        if scope["type"] != "websocket":
            await super().__call__(scope, receive, send)
        elif self.drain.draining:
            self.counters.refused += 1
            await _deny(scope, receive, send, 503, "Server is shutting down.")
        else:
            for route in self._websockets:
                match, parameters = route.matches(scope)
                if match is Match.FULL:
                    scope.update(parameters)
                    await route.app(scope, receive, send)
                    return
            await _deny(scope, receive, send, 404, "No such endpoint.")

    async def beat(self) -> None:
        """Broadcast the heartbeat, unless the server is about to say that it stops."""
        if not self.drain.draining:
            await self.fanout.publish(RUNNING, self.connections.members(BROADCAST))

    async def _announce_shutdown(self) -> None:
        # Not to /echo: what arrives there is what was sent there, so that it can be checked.
        await self.fanout.publish(SHUTTING_DOWN, self.connections.members(BROADCAST))

    async def _broadcast(self, connection: Connection, received: MutableMapping[str, Any]) -> None:
        await self.fanout.publish(
            send_back(received), self.connections.members(connection.endpoint)
        )

    async def _echo(self, connection: Connection, received: MutableMapping[str, Any]) -> None:
        # Whoever does not read is not read from: the wait for room is the backpressure.
        with contextlib.suppress(*GONE):
            await connection.send(send_back(received))
            self.counters.messages_sent += 1

    def _endpoint(self, path: str, on_message: OnMessage) -> _Endpoint:
        self.connections.members(path)  # so that /stats knows it before anybody comes
        return _Endpoint(self.connections, path, on_message)


class _Endpoint:
    # Starlette takes an object, other than a function, for an ASGI application of its own and
    # leaves its messages unwrapped.
    def __init__(self, connections: ConnectionManager, path: str, on_message: OnMessage) -> None:
        self._connections = connections
        self._path = path
        self._on_message = on_message

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        await self._connections.serve(
            self._path, receive, cast("CoroutineSend", send), self._on_message
        )


async def _deny(scope: Scope, receive: Receive, send: Send, status: int, text: str) -> None:
    await receive()
    if "websocket.http.response" in scope.get("extensions", {}):
        await PlainTextResponse(f"{text}\n", status)(scope, receive, send)
    else:
        await send({"type": "websocket.close"})  # the server makes a 403 of it


@contextlib.asynccontextmanager
async def _lifespan(app: TargetApp) -> AsyncIterator[None]:
    app.started = time.monotonic()
    async with asyncio.TaskGroup() as group:
        tasks = [
            group.create_task(app.fanout.run()),
            group.create_task(heartbeat(app.beat, app.settings.heartbeat_seconds)),
            group.create_task(app.drain.run_and_hand_over()),
        ]
        yield
        for task in tasks:
            task.cancel()


def create_app(settings: Settings | None = None) -> TargetApp:
    """Return a new application, with ``settings`` or else those of the environment."""
    app = TargetApp(settings or Settings())

    @app.get("/")
    async def root() -> dict[str, str]:
        return {"message": "Hello World"}

    @app.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Answer 200 for as long as the process lives; its status says whether it drains."""
        return {"status": "draining" if app.drain.draining else "ok"}

    @app.get("/stats")
    async def stats() -> Stats:
        """Say what this process has counted since it started."""
        counters = app.counters
        return Stats(
            open=app.connections.open_by_endpoint(),
            accepted=counters.accepted,
            refused=counters.refused,
            messages_received=counters.messages_received,
            messages_sent=counters.messages_sent,
            broadcasts=counters.broadcasts,
            slow_consumers_closed=counters.slow_consumers_closed,
            closed_by_code=dict(sorted(counters.closed_by_code.items())),
            uptime_seconds=time.monotonic() - app.started,
            draining=app.drain.draining,
            pid=os.getpid(),
            event_loop=type(asyncio.get_running_loop()).__module__.partition(".")[0],
        )

    return app


def __getattr__(name: str) -> TargetApp:
    # ``app`` is for ``uvicorn target_app.app:app`` and is made when first asked for, because it
    # reads the environment: whoever only wants create_app may have settings of its own.
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    made = globals()["app"] = create_app()
    return made
