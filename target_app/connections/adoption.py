"""Handover of an accepted connection from the application's layers to the registry below them.

For as long as an endpoint runs, every layer above it is a suspended coroutine: about a dozen of
FastAPI's and Starlette's. So an endpoint *adopts* its connection and returns; the layers unwind and
are freed, and the caller of :func:`hand_over`, below all of them, serves the connection over the
ASGI server's own callables.

The connection of an endpoint that goes on running, as in FastAPI's documentation, is registered
when its handshake is accepted, and removed when its client is gone. Without uvicorn's own
connection, which reports that, it is removed when the endpoint returns.
"""

from __future__ import annotations

import asyncio
import functools
import logging
from typing import TYPE_CHECKING, Any, Final, cast

from starlette.requests import HTTPConnection  # noqa: TC002 - FastAPI needs it at run time
from starlette.responses import PlainTextResponse
from starlette.websockets import WebSocket, WebSocketDisconnect

from target_app.connections import wire
from target_app.connections.connection import Connection, Endpoint
from target_app.connections.ended import has_ended
from target_app.connections.registry import READ_IN_A_ROW
from target_app.logs import described, is_of_the_client, one_line
from target_app.message import Message
from target_app.misread import OF_THE_WRONG_KIND, misread_in
from target_app.protocol import SHUTTING_DOWN, CloseCode

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

    from starlette.types import ASGIApp, Receive, Scope, Send
    from starlette.types import Message as ASGIEvent

    from target_app.connections.connection import CoroutineSend
    from target_app.connections.names import ClientId, Room
    from target_app.connections.registry import ConnectionManager, Refusal

logger = logging.getLogger(__name__)

HANDSHAKE: Final = "target_app.handshake"
"""The key of the ASGI scope under which the layers find their :class:`Handshake`."""

MOUNTED: Final = "(mounted)"
"""The path under which connections of an application without FastAPI's routes are counted."""


class ClosedError(ConnectionResetError):
    """Raised by a send of an endpoint that goes on running, once its connection has ended.

    ASGI asks for an :class:`OSError`; Starlette turns it into its ``WebSocketDisconnect``.
    """


class Handshake:
    """One WebSocket while the application's layers handle it.

    The layers get :meth:`receive` and :meth:`send`, which note what happens to it.
    """

    __slots__ = (
        *("_admitted", "_connections", "_disconnected", "_is_receiving", "_receive", "_running"),
        *("_scope", "_send", "_taken", "accepted", "adopted", "identity", "is_given_up"),
        *("refused_for", "shutting_down", "task"),
    )

    def __init__(
        self, connections: ConnectionManager, scope: Scope, receive: Receive, send: Send
    ) -> None:
        self._connections = connections
        self._scope = scope
        self._receive = receive
        self._send = cast("CoroutineSend", send)
        self._admitted = False
        self._disconnected = False
        self._running: Connection | None = None
        self._is_receiving = False
        self._taken = 0  # messages in a row
        self.accepted = False
        self.adopted: Connection | None = None
        self.identity: str | None = None
        """Who the client is, once a dependency has determined it."""
        self.refused_for = "other"
        """One word for the statistics, in case the handshake is not accepted."""
        self.shutting_down: str | None = SHUTTING_DOWN
        """What a drain sends to the client of an endpoint that goes on running."""
        self.task: asyncio.Task[Any] | None = None
        """The task in which such an endpoint runs."""
        self.is_given_up = False
        """Whether the server has cancelled that task while stopping."""

    @classmethod
    def of(cls, connection: HTTPConnection) -> Handshake:
        """Return the handshake that ``connection`` comes from.

        Raise :class:`RuntimeError` if nothing below the application would serve an adopted one.
        """
        found = connection.scope.get(HANDSHAKE)
        if isinstance(found, Handshake):
            return found
        raise RuntimeError(
            "nothing here serves adopted connections: make the application with create_app(), or "
            "add what serves them: app.add_middleware(ServeAdopted, services=services)"
        )

    def admit(self) -> Refusal | None:
        """Take a place among the connections, which is given back if the handshake fails.

        Return the reason if there is no place, otherwise None.
        """
        if self._admitted:
            return None
        refusal = self._connections.refusal()
        if refusal is None:
            self._admitted = True
            self._connections.begin_handshake()
        else:
            self.refused_for = refusal.reason
        return refusal

    def adopt(
        self,
        endpoint: Endpoint,
        id: ClientId | None,  # noqa: A002 - as in Connection
        rooms: tuple[Room, ...],
        state: object,
    ) -> None:
        """Let ``endpoint`` serve the connection once the layers have returned."""
        if self.accepted or self.adopted is not None:
            raise RuntimeError("adopt() accepts the WebSocket itself, and this one was accepted")
        self.adopted = Connection(
            endpoint,
            self._send,
            client=self._scope.get("client"),
            id=id,
            identity=self.identity,
            rooms=rooms,
            state=state,
        )

    @property
    def _connection(self) -> Connection | None:
        return self._running or self.adopted

    def is_to_be_served(self) -> bool:
        """Return whether the layers have adopted the connection and it is still open."""
        return self.adopted is not None and self.accepted and not self._disconnected

    async def take(self, error: Exception) -> None:
        """Handle a failure of the layers if the client caused it; otherwise raise ``error``.

        If the client sent what its endpoint does not read, the close code says so. A connection
        adopted before the failure is closed with 1011, as when ``received`` fails.
        """
        if self.is_to_be_served():
            await self._see_off(error)
            return
        if isinstance(error, WebSocketDisconnect | ClosedError):
            return
        running = self._running
        if running is None or not is_of_the_client(error):
            raise error
        if (misread := misread_in(error)) is not None:
            if logger.isEnabledFor(logging.INFO):
                who = one_line(f"{running.endpoint.path} from {running.address}")
                why = one_line(described(misread))
                logger.info("%s sent what is not read there: %s", who, why)
            if isinstance(misread, OF_THE_WRONG_KIND):
                code, reason = CloseCode.UNSUPPORTED_DATA, "this kind of message is not read here"
            else:
                code, reason = CloseCode.INVALID_DATA, "not the JSON that is read here"
            await self._connections.close(running, code, reason)

    async def _see_off(self, error: Exception) -> None:
        assert self.adopted is not None
        has_left = isinstance(error, WebSocketDisconnect)
        if has_left and wire.is_closing(self._send):
            self.adopted.close_code = 1006
        self._admitted = False  # serve() gives the place back
        try:
            await self._connections.serve(self.adopted, self._receive, has_failed=True)
        finally:
            # Even if that was cancelled, as by TestClient: this is the error that matters.
            if not has_left:
                raise error

    async def until_lost(self) -> None:
        """Wait for the end of the closing handshake, if the layers have returned before it."""
        if self._running is not None:
            await self._connections.until_lost(
                self._running, self._receive, is_reported=self._disconnected
            )

    def end(self) -> None:
        """Release what was not adopted: the layers have returned or failed."""
        if self._running is not None:
            wire.watch(self._running.wire, None)
            self._connections.remove(self._running, self._running.close_code or 1006)
            self._connections.has_returned(self)
        elif self._admitted:
            self._connections.end_handshake()
        if not self.accepted:
            self._connections.counters.refused[self.refused_for] += 1

    def lost(self, code: int) -> None:
        """See :class:`target_app.connections.bounded.Watcher`."""
        assert self._running is not None
        self._connections.leave_behind(self)
        self._connections.remove(self._running, code)

    def give_up(self) -> None:
        """See :class:`target_app.connections.registry.LeftBehind`."""
        if self.task is not None:
            self.is_given_up = True
            self.task.cancel()

    async def receive(self) -> ASGIEvent:
        """Receive for the layers; after some messages in a row, let other connections run first."""
        if self._taken == READ_IN_A_ROW:
            self._taken = 0
            # Before receiving: a message in hand would be lost if the caller were cancelled here.
            await asyncio.sleep(0)
        self._is_receiving = True
        try:
            message = await self._receive()
        finally:
            self._is_receiving = False
        if message["type"] == "websocket.receive":
            self._taken += 1
            self._connections.counters.messages_received += 1
        elif message["type"] == "websocket.disconnect":
            self._disconnected = True
            self._closes_with(message.get("code", 1005))
        return message

    async def send(self, message: ASGIEvent) -> None:
        """Send for the layers."""
        kind = message["type"]
        if kind == "websocket.accept" and not self._admitted:
            await self._admit_or_refuse()
        elif kind == "websocket.close":
            self._closes_with(message.get("code", 1000))
        try:
            await self._send(cast("dict[str, Any]", message))
        except Exception as error:
            # A close that the endpoint does not know about: by the drain, or for a missing pong.
            if self._running is not None and has_ended(error, self._running):
                raise ClosedError(f"closed with {self._running.close_code or 1006}") from error
            raise
        if kind == "websocket.send":
            self._connections.counters.messages_sent += 1
        elif kind == "websocket.close" and self._connection is not None:
            self._connection.close_sent = True
        elif kind == "websocket.accept":
            self.accepted = True
            if self.adopted is None:
                await self._goes_on_running()

    async def _admit_or_refuse(self) -> None:
        # A connection that no dependency guards counts as much as any other.
        if (refusal := self.admit()) is not None:
            refused = PlainTextResponse(refusal.text, 503)
            await refused(self._scope, self._receive, cast("Send", self._send))
            raise WebSocketDisconnect(1006, refusal.text)

    def _closes_with(self, code: int) -> None:
        if self._connection is not None and self._connection.close_code is None:
            self._connection.close_code = code

    async def _goes_on_running(self) -> None:
        path = getattr(self._scope.get("route"), "path", MOUNTED)
        self._running = Connection(
            running_endpoint(path, self.shutting_down),
            self._send,
            client=self._scope.get("client"),
            identity=self.identity,
        )
        self._connections.add(self._running)
        self._connections.end_handshake()
        if self._running.wire is not None and not self._is_receiving:
            wire.shrink(self._running.wire)
        wire.watch(self._running.wire, self)
        await self._connections.close_newcomer(self._running)


@functools.lru_cache
def running_endpoint(path: str, shutting_down: str | None) -> Endpoint:
    """Return the endpoint of connections whose endpoint function goes on running.

    The same arguments give the same endpoint, so that many connections share it.
    """
    farewell = None if shutting_down is None else Message(shutting_down)
    return Endpoint(path, shutting_down=farewell)


async def adopt(
    websocket: WebSocket,
    endpoint: Endpoint,
    *,
    id: ClientId | None = None,  # noqa: A002 - as in Connection
    rooms: tuple[Room, ...] = (),
    state: object = None,
    subprotocol: str | None = None,
    headers: Iterable[tuple[bytes, bytes]] | None = None,
) -> None:
    """Accept ``websocket``, and let ``endpoint`` serve it as soon as the caller returns.

    Call it at the end of an endpoint function. The connection is registered under ``id``, joins
    ``rooms``, and keeps ``state`` and the identity that the guard determined. ``subprotocol`` and
    ``headers`` go into the answer to the handshake.

    If the caller, or a dependency that exits after it, then raises or closes the WebSocket, the
    connection is closed (with 1011 if FastAPI has no code for it), and neither ``opened`` nor
    ``closed`` of ``endpoint`` is called.

    Raise :class:`RuntimeError` if the WebSocket was accepted already, or if nothing below the
    application would serve it.
    """
    Handshake.of(websocket).adopt(endpoint, id, rooms, state)
    await websocket.accept(subprotocol, headers)


def sent_on_shutdown(text: str | None) -> Callable[[HTTPConnection], Awaitable[None]]:
    """Return a dependency: a drain sends ``text`` to clients of endpoints that go on running.

    For endpoints whose clients expect messages of a certain form; None sends nothing. In a router
    that also serves requests, it has no effect on those.
    """

    async def set_farewell(connection: HTTPConnection) -> None:
        if connection.scope["type"] == "websocket":
            Handshake.of(connection).shutting_down = text

    return set_farewell


async def hand_over(
    app: ASGIApp, connections: ConnectionManager, scope: Scope, receive: Receive, send: Send
) -> Connection | None:
    """Pass a WebSocket through ``app``; return the connection that is still to be served, if any.

    A returned connection has been accepted, and has a place as a handshake until it is served.
    """
    scope[HANDSHAKE] = handshake = Handshake(connections, scope, receive, send)
    handshake.task = asyncio.current_task()
    try:
        try:
            await app(scope, handshake.receive, handshake.send)
            if handshake.is_to_be_served():
                return handshake.adopted
        except Exception as error:  # noqa: BLE001 - what is not the client's fault is raised again
            # This is how an endpoint that goes on running ends when its client disconnects.
            await handshake.take(error)
        await handshake.until_lost()
    except BaseException as error:
        handshake.end()
        if isinstance(error, asyncio.CancelledError) and handshake.is_given_up:
            return None
        raise
    finally:
        scope.pop(HANDSHAKE, None)  # which refers to the scope
    handshake.end()
    return None
