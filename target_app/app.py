"""The application: its parts put together, and their lifetime."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import sys
from typing import TYPE_CHECKING, Final

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError

from target_app import logs
from target_app.backoff import Backoff
from target_app.bus.hub import Hub
from target_app.bus.make import make_bus
from target_app.bus.router import Outgoing
from target_app.connections.delivery import Delivery
from target_app.connections.fanout import Fanout
from target_app.connections.message import Message
from target_app.connections.registry import ConnectionManager
from target_app.lifecycle.drain import GracefulShutdown
from target_app.lifecycle.heartbeat import in_turns
from target_app.lifecycle.keepalive import Keepalive
from target_app.lifecycle.leaving import Leaving
from target_app.lifecycle.upstream import Upstream
from target_app.lifecycle.workers import WorkerCoordinator, run_dir, supervisor
from target_app.redis_client import make_redis
from target_app.routes import admission, http, table
from target_app.routes.body import BodyLimit
from target_app.routes.chat import Chat, Echo
from target_app.routes.events import Events
from target_app.routes.page import add_page
from target_app.routes.session import SessionRoute
from target_app.sessions.answers import HubAnswers, RedisAnswers
from target_app.sessions.questions import Questions
from target_app.sessions.registry import Sessions
from target_app.sessions.responder import Responder
from target_app.sessions.store import MemoryStore, RedisStore
from target_app.settings import Settings, told
from target_app.stats.collector import Census
from target_app.stats.counters import Counters

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from redis.asyncio import Redis
    from starlette.types import Receive, Scope, Send

    from target_app.connections.connection import Connection
    from target_app.sessions.answers import Answers
    from target_app.sessions.store import SessionStore

EXIT_USAGE: Final = 2
STARTUP_FAILURE: Final = 3
"""Status of a worker that uvicorn does not start again."""

logger = logging.getLogger(__name__)


class TargetApp(FastAPI):
    """A FastAPI application whose WebSockets do not pass through its HTTP middleware.

    Every layer between server and endpoint is a suspended coroutine for as long as a connection is
    open, and none of them does anything for a WebSocket here.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__(title="swarmgate reference server", lifespan=_lifespan)
        self.settings = settings
        self.counters = Counters()
        self.connections = ConnectionManager(self.counters, settings)
        self.delivery = Delivery(self.counters, settings)
        self.fanout = Fanout(self.delivery, self.counters)
        self.workers = _coordinator(settings)
        self.hub = _hub(settings, self.workers)
        self.outgoing = Outgoing(
            self.connections,
            self.fanout,
            self.delivery,
            self.hub,
            announce_limit=settings.announce_limit,
        )
        self.redis = _redis(settings)
        self.sessions, self.questions = _sessions(self)
        self.upstreams = _upstreams(self)
        self.keepalive = Keepalive(
            self.connections,
            self.counters,
            interval_seconds=settings.ws_ping_interval,
            timeout_seconds=settings.ws_ping_timeout,
        )
        self.routes_of_websockets = _routes(self)
        leaving = Leaving(self.connections, self.fanout, self.delivery, self.routes_of_websockets)
        self.drain = GracefulShutdown(
            leaving,
            leaving.announce,
            on_asked=self._asked_to_stop,
            leave=self._leave,
            announce_seconds=settings.drain_announce_seconds,
            timeout_seconds=settings.drain_timeout_seconds,
            close_timeout_seconds=settings.close_timeout_seconds,
        )
        self.census = Census(
            self.counters,
            self.connections,
            self.delivery,
            self.questions,
            self.upstreams,
            self.drain,
            self.hub,
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, request or lifespan (ASGI 3).

        A WebSocket goes straight to its endpoint, without the router and the exception handlers in
        between.
        """
        if scope["type"] != "websocket":
            await super().__call__(scope, receive, send)
            return
        refused = admission.refusal(
            scope,
            self.settings,
            draining=self.drain.draining,
            connections=len(self.connections),
        )
        connection = None if refused else self.routes_of_websockets.connection(scope, send)
        if connection is not None:
            await self.connections.serve(connection, receive)
        else:
            refused = refused or admission.NOT_FOUND
            self.counters.refused[refused.reason] += 1
            await admission.refuse(scope, receive, send, refused)

    def beat(self, connections: Sequence[Connection]) -> None:
        """Send the heartbeat to those who get one, unless the server is about to stop."""
        if not self.drain.draining:
            for connection in connections:
                if connection.endpoint.heartbeat is not None:
                    self.delivery.push(connection, connection.endpoint.heartbeat)

    def _asked_to_stop(self) -> None:
        self.workers.mark_draining()

    async def _leave(self) -> None:
        self.workers.mark_done()
        await self.workers.leave()


def _routes(app: TargetApp) -> table.Routes:
    chat = Chat(app.connections, app.outgoing)
    session = SessionRoute(
        app.sessions,
        app.questions,
        app.outgoing,
        app.delivery,
        questions_waiting=app.settings.questions_waiting,
    )
    routes = table.Routes(
        chat=chat.endpoint(table.CHAT),
        named_chat=chat.endpoint(table.NAMED_CHAT),
        events=Events(app.connections, app.outgoing, app.delivery).endpoint(table.EVENTS),
        session=session.endpoint(table.SESSION),
        echo=Echo(app.counters).endpoint(table.ECHO),
    )
    for endpoint in routes:
        app.connections.know(endpoint)
    return routes


def _coordinator(settings: Settings) -> WorkerCoordinator:
    master = supervisor()
    return WorkerCoordinator(run_dir(settings.run_dir, master), master=master)


def _hub(settings: Settings, workers: WorkerCoordinator) -> Hub:
    url = settings.bus
    if url == "auto":
        several = supervisor() is not None or settings.run_dir is not None
        url = "zmq" if several else "local"
    bus = make_bus(url, directory=workers.directory, name=workers.worker.name)
    return Hub(bus, workers.forget_dead)


def _redis(settings: Settings) -> Redis | None:
    if settings.redis_url is None:
        return None
    # A bus over Redis has two connections of its own.
    others = 2 if settings.bus.partition(":")[0] in {"redis", "rediss", "unix"} else 0
    return make_redis(settings.redis_url, settings.redis_connections - others)


def _sessions(app: TargetApp) -> tuple[Sessions, Questions]:
    settings = app.settings
    store: SessionStore
    answers: Answers
    if app.redis is None:
        store = MemoryStore(settings.session_seconds)
        answers = HubAnswers(app.hub, store)
    else:
        store = RedisStore(app.redis, settings.session_seconds)
        answers = RedisAnswers(app.redis, store)
    sessions = Sessions(
        app.connections, app.delivery, app.hub, store, session_seconds=settings.session_seconds
    )
    questions = Questions(
        sessions,
        app.delivery,
        answers,
        Responder(settings.responder, settings.answers_at_once),
        answer_seconds=settings.answer_seconds,
    )
    return sessions, questions


def _upstreams(app: TargetApp) -> tuple[Upstream, ...]:
    # To the clients of this worker alone: every worker has a connection of its own.
    async def rebroadcast(data: str | bytes) -> None:
        members = app.connections.rooms.members(app.settings.upstream_room)
        await app.fanout.publish(Message(data), members)

    return tuple(
        Upstream(url, rebroadcast, backoff=Backoff(app.settings.upstream_wait_seconds))
        for url in app.settings.upstreams
    )


@contextlib.asynccontextmanager
async def _lifespan(app: TargetApp) -> AsyncIterator[None]:
    # Here, because every server has set up its logging by now.
    logs.install()
    app.workers.start()
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [
                group.create_task(app.hub.run()),
                group.create_task(app.delivery.run()),
                group.create_task(app.fanout.run()),
                group.create_task(app.sessions.sweep()),
                group.create_task(app.questions.run()),
                group.create_task(app.keepalive.run()),
                group.create_task(
                    in_turns(app.beat, app.connections.phases, app.settings.heartbeat_seconds)
                ),
                group.create_task(app.drain.run_and_hand_over()),
                *(group.create_task(upstream.run()) for upstream in app.upstreams),
            ]
            await app.hub.ready.wait()
            yield
            for task in tasks:
                task.cancel()
    except* Exception:
        # The server would go on without its tasks, and nobody could tell: better to end, for a
        # supervisor to start it again.
        logger.critical("a task of the server failed; it stops")
        signal.raise_signal(signal.SIGTERM)
        raise
    finally:
        if app.redis is not None:
            await app.redis.aclose()
        app.workers.stop()


def create_app(settings: Settings | None = None) -> TargetApp:
    """Return a new application, with ``settings`` or else those of the environment."""
    app = TargetApp(settings or Settings())
    app.include_router(http.router(app))
    app.add_exception_handler(RequestValidationError, http.invalid)
    app.add_middleware(BodyLimit, max_bytes=app.settings.ws_max_size)
    add_page(app, websocket=table.CHAT)
    return app


def __getattr__(name: str) -> TargetApp:
    # ``app`` is for ``uvicorn target_app.app:app`` and is made when first asked for, because it
    # reads the environment: whoever only wants create_app may have settings of its own.
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        made = globals()["app"] = create_app()
    except (OSError, ValueError) as error:
        # The server that imports this would print a traceback, and start a worker again for ever.
        print(told(error), file=sys.stderr)
        raise SystemExit(EXIT_USAGE if supervisor() is None else STARTUP_FAILURE) from None
    return made
