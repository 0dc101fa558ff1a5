"""Everything that serves connections: the assembled parts, and their lifetime."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import signal
import threading
from typing import TYPE_CHECKING, Any, Final

from target_app import logs
from target_app.backoff import Backoff
from target_app.bus.hub import Hub
from target_app.bus.make import make_bus
from target_app.bus.router import MessageRouter
from target_app.connections.delivery import Delivery
from target_app.connections.fanout import Fanout
from target_app.connections.names import Room
from target_app.connections.registry import ConnectionManager
from target_app.counters import Counters
from target_app.lifecycle.drain import GracefulShutdown
from target_app.lifecycle.garbage import what_stays_put_aside
from target_app.lifecycle.heartbeat import in_turns
from target_app.lifecycle.keepalive import Keepalive
from target_app.lifecycle.leaving import Leaving
from target_app.lifecycle.workers import Worker, WorkerCoordinator, is_reloaded, run_dir, supervisor
from target_app.message import Message
from target_app.protocol import CHAT
from target_app.sessions.classes import Classes
from target_app.sessions.hub_answers import HubAnswers
from target_app.sessions.memory_store import MemoryStore
from target_app.sessions.questions import Questions
from target_app.sessions.registry import Sessions
from target_app.sessions.responder import Responder
from target_app.stats.collector import StatsCollector

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from redis.asyncio import Redis
    from starlette.requests import HTTPConnection

    from target_app.connections.connection import Connection, Endpoint
    from target_app.lifecycle.upstream import Upstream
    from target_app.sessions.answers import Answers
    from target_app.sessions.store import SessionStore
    from target_app.settings import Settings

SERVICES: Final = "target_app.services"
"""The key of the ASGI scope under which :func:`services_of` finds them."""

logger = logging.getLogger(__name__)


class Services:
    """What endpoints work with: the connections, the ways to send to them, the sessions.

    They work between entering and leaving :meth:`lifespan`. Each lifespan begins with new parts,
    because those of the previous one belong to its event loop; so look up a part when it is needed,
    and keep no reference to it.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.running = False
        self.failed = False
        """Whether the failure of one of its tasks ended the server."""
        self._known: tuple[Endpoint, ...] = ()
        self._are_new = True
        self._put_together()

    def know(self, *endpoints: Endpoint) -> None:
        """Include ``endpoints`` in the statistics before they have a connection."""
        self._known += endpoints
        self.connections.know(*endpoints)

    def _put_together(self) -> None:
        settings = self.settings
        self.counters = Counters()
        self.connections = ConnectionManager(self.counters, settings)
        self.delivery = Delivery(self.counters, settings)
        self.fanout = Fanout(self.delivery, self.counters)
        self.workers = _coordinator(settings)
        self.hub = _hub(settings, self.workers)
        self.messages = MessageRouter(
            self.connections,
            self.fanout,
            self.delivery,
            self.hub,
            announce_limit=settings.announce_limit,
        )
        self.redis = _redis(settings)
        self.sessions, self.questions, self.classes = _sessions(self)
        self.upstreams = _upstreams(self)
        self.keepalive = Keepalive(
            self.connections,
            self.counters,
            interval_seconds=settings.ws_ping_interval,
            timeout_seconds=settings.ws_ping_timeout,
        )
        leaving = Leaving(self.connections, self.fanout, self.delivery, self._wait_settled)
        self.drain = GracefulShutdown(
            leaving,
            leaving.announce,
            on_asked=self._asked_to_stop,
            leave=self._leave,
            announce_seconds=settings.drain_announce_seconds,
            timeout_seconds=settings.drain_timeout_seconds,
            close_timeout_seconds=settings.close_timeout_seconds,
            # Developers want to see their new code, and would have to wait for every open page.
            at_once=is_reloaded(),
        )
        self.stats = StatsCollector(
            self.counters,
            self.connections,
            self.delivery,
            self.questions,
            self.upstreams,
            self.drain,
            self.hub,
        )

    @contextlib.asynccontextmanager
    async def lifespan(self, _app: object = None) -> AsyncIterator[None]:
        """Run the background tasks: as the ``lifespan`` of an application, or as part of one."""
        if self.running:
            raise RuntimeError("the lifespan of these services was entered already; enter it once")
        if not self._are_new:
            self._put_together()
            self.connections.know(*self._known)
        self._are_new = self.failed = False
        # Here, because every server has set up its logging by now.
        logs.install()
        self.workers.start()
        raised: Exception | None = None
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(work) for work in self._background()]
                await self.hub.ready.wait()
                self.running = True
                try:
                    with what_stays_put_aside():
                        yield
                except Exception as error:  # noqa: BLE001 - raised again once all have ended
                    raised = error
                for task in tasks:
                    task.cancel()
        except* Exception:
            # The server would go on without its tasks, and nobody would notice: better to end, so
            # that a supervisor restarts it.
            logger.critical("a task of the server failed; it stops")
            self.failed = True
            if threading.current_thread() is threading.main_thread():  # otherwise not a server
                signal.raise_signal(signal.SIGTERM)
            raise
        finally:
            self.running = False
            try:
                if self.redis is not None:
                    await self.redis.aclose()
            finally:
                self.workers.stop()
        if raised is not None:
            raise raised  # the caller's code has failed, and no task of ours

    def check_that_they_run(self) -> None:
        """Raise :class:`RuntimeError` if the lifespan has not been entered."""
        if not self.running:
            raise RuntimeError(
                "the services of target_app are not running, because the application's lifespan "
                "was not entered: write `with TestClient(app) as client:` in a test; do not serve "
                "with `--lifespan off`; if it is mounted or its routers are included in another "
                "application, enter `services.lifespan()` in the lifespan of that one"
            )

    def beat(self, connections: Sequence[Connection]) -> None:
        """Send the heartbeat to connections that get one, unless the server is about to stop."""
        if not self.drain.draining:
            for connection in connections:
                if connection.endpoint.heartbeat is not None:
                    self.delivery.push(connection, connection.endpoint.heartbeat)

    def _background(self) -> list[Any]:
        heartbeat_seconds = self.settings.heartbeat_seconds
        return [
            self.hub.run(),
            self.delivery.run(),
            self.fanout.run(),
            self.sessions.run(),
            self.questions.run(),
            self.keepalive.run(),
            self.workers.stay(),
            in_turns(self.beat, self.connections.phases, heartbeat_seconds),
            self.drain.run_and_hand_over(),
            *(upstream.run() for upstream in self.upstreams),
        ]

    def _asked_to_stop(self) -> None:
        self.connections.stop_admitting()
        self.workers.mark_draining()

    async def _wait_settled(self) -> None:
        await self.questions.wait_answered()
        await self.sessions.wait_kept()

    async def _leave(self) -> None:
        self.workers.mark_done()
        await self.connections.end_left_behind()
        await self.workers.leave()


def services_of(connection: HTTPConnection) -> Services:
    """Return the services behind a request or WebSocket.

    Raise :class:`RuntimeError` if the application has none, or if they are not running.
    """
    found = connection.scope.get(SERVICES)
    if not isinstance(found, Services):
        raise RuntimeError(
            "this endpoint needs the services of target_app: make the application with "
            "create_app(), or app.add_middleware(ServeAdopted, services=Services(Settings()))"
        )
    found.check_that_they_run()
    return found


def _coordinator(settings: Settings) -> WorkerCoordinator:
    master = supervisor()
    return WorkerCoordinator(
        run_dir(settings.run_dir, master), master=None if master is None else Worker.of(master)
    )


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
    from target_app.redis_client import make_redis  # noqa: PLC0415 - see there

    # A bus over Redis has two connections to itself.
    others = 2 if settings.bus.partition(":")[0] in {"redis", "rediss", "unix"} else 0
    return make_redis(settings.redis_url, settings.redis_connections - others)


def _sessions(services: Services) -> tuple[Sessions, Questions, Classes]:
    settings = services.settings
    connections, delivery, hub = services.connections, services.delivery, services.hub
    store: SessionStore
    if services.redis is None:
        if settings.responder == "none":
            raise ValueError("responder none needs a redis_url: nobody else could answer")
        forgotten = services.counters.session_forgotten
        store = MemoryStore(settings.session_seconds, settings.sessions_bytes, forgotten)
    else:
        from target_app.sessions.redis_store import RedisStore  # noqa: PLC0415 - see redis_client

        store = RedisStore(services.redis, settings.session_seconds)
    sessions = Sessions(
        connections,
        delivery,
        hub,
        store,
        session_seconds=settings.session_seconds,
        unsaved_bytes=settings.sessions_bytes,
    )
    recipients = sessions.recipients
    otherwise = HubAnswers(hub, store, recipients)
    answers: Answers = otherwise
    if services.redis is not None:
        from target_app.sessions.redis_answers import RedisAnswers  # noqa: PLC0415

        longest = settings.session_state_bytes
        answers = RedisAnswers(services.redis, store, recipients, otherwise, longest=longest)
    recipients.keep_again = answers.keep_again
    responder = (
        None
        if settings.responder == "none"
        else Responder(settings.responder, settings.answers_at_once)
    )
    questions = Questions(
        recipients,
        hub,
        answers,
        responder,
        answer_seconds=settings.answer_seconds,
        most=settings.max_questions,
        most_bytes=settings.questions_bytes,
    )
    sessions.counts_questions(questions.waiting_here)
    classes = Classes(
        connections, services.fanout, services.messages, hub, sessions=sessions, store=store
    )
    return sessions, questions, classes


def _upstreams(services: Services) -> tuple[Upstream, ...]:
    settings = services.settings
    if not settings.upstreams:
        return ()
    from target_app.lifecycle.upstream import Upstream  # noqa: PLC0415 - see redis_client

    room = Room(CHAT, settings.upstream_room)

    # Only to the clients of this worker: every worker has its own connection.
    async def rebroadcast(data: str | bytes) -> None:
        await services.fanout.publish(Message(data), services.connections.rooms.members(room))

    return tuple(
        Upstream(url, rebroadcast, backoff=Backoff(settings.upstream_wait_seconds))
        for url in settings.upstreams
    )
