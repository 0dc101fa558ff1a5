"""The application: FastAPI with the endpoints of the reference server, over its services."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from fastapi import FastAPI, HTTPException
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import PlainTextResponse

from target_app import logs
from target_app.connections import wire
from target_app.connections.adoption import HANDSHAKE, Handshake, hand_over
from target_app.lifecycle.workers import supervisor
from target_app.routes import chat, events, http, session
from target_app.routes.page import add_page
from target_app.services import SERVICES, Services
from target_app.settings import Settings, problems_in
from target_app.telemetry import as_set_up

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping

    from fastapi import WebSocket
    from starlette.types import ASGIApp, Lifespan, Receive, Scope, Send

    from target_app.connections.connection import Connection


_Handler = TypeVar("_Handler", bound="Callable[..., Any]")

EXIT_USAGE: Final = 2
STARTUP_FAILURE: Final = 3
"""Exit status of a worker that uvicorn does not restart."""


class ServeAdopted:
    """An ASGI layer that serves the connections adopted by ``app``'s endpoints, below its layers.

    For an application that :func:`create_app` did not make; as its middleware, or around it.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection, a request or the lifespan (ASGI 3)."""
        if not _is_to_be_served(scope, self._services):
            await self._app(scope, receive, send)
            return
        adopted = await _adopted(self._app, self._services, scope, receive, send, by=self)
        if adopted is not None:
            await self._services.connections.serve(adopted, receive)


class TargetApp(FastAPI):
    """A FastAPI application that serves the connections its endpoints adopt.

    Routers, dependencies, middleware and exception handlers work as in any other; of an adopted
    connection they see only the handshake. ``options`` are those of :class:`fastapi.FastAPI`; its
    ``lifespan``, or otherwise its event handlers, runs within that of ``services``.
    """

    def __init__(self, services: Services, **options: Any) -> None:  # noqa: ANN401 - FastAPI's own
        handlers = {
            RequestValidationError: http.invalid,
            WebSocketRequestValidationError: _not_valid,
        }
        theirs = options.get("exception_handlers") or {}
        super().__init__(**(options | {"exception_handlers": handlers | theirs}))
        self.services = services
        # Bounded by the application alone: the router would do so again, around each handshake too.
        self.max_body_size = options.get("max_body_size", services.settings.body_bytes)
        self.router.max_body_size = None
        self.router.default = _not_found
        self._has_lifespan = options.get("lifespan") is not None
        self._lifespan = self.router.lifespan_context
        self.router.lifespan_context = cast("Lifespan[Any]", self._within_services)
        if self.router.on_startup or self.router.on_shutdown:
            self._check_that_they_are_called()

    def on_event(self, event_type: str) -> Callable[[_Handler], _Handler]:
        """Declare a handler as :class:`fastapi.FastAPI` does; raise if it would not be called."""
        self._check_that_they_are_called()
        return super().on_event(event_type)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a connection, a request or the lifespan (ASGI 3)."""
        if not _is_to_be_served(scope, self.services):
            await super().__call__(scope, receive, send)
            return
        adopted = await _adopted(super().__call__, self.services, scope, receive, send, by=self)
        if adopted is not None:
            await self.services.connections.serve(adopted, receive)

    def _check_that_they_are_called(self) -> None:
        if self._has_lifespan:
            raise RuntimeError(
                "FastAPI calls no on_event, on_startup or on_shutdown of an application that has a "
                "lifespan: let the lifespan do what they were to do"
            )

    @contextlib.asynccontextmanager
    async def _within_services(self, app: TargetApp) -> AsyncIterator[Mapping[str, Any] | None]:
        async with self.services.lifespan(), self._lifespan(app) as state:
            yield state


async def _adopted(
    layers: ASGIApp, services: Services, scope: Scope, receive: Receive, send: Send, *, by: ASGIApp
) -> Connection | None:
    """Pass a WebSocket through ``layers``; return the connection to be served ``by`` the caller.

    It is not served here, because each coroutine in between would last as long as the connection.
    """
    adopted = await hand_over(layers, services.connections, scope, receive, send)
    if adopted is not None and wire.calls_directly(send, by):
        scope.clear()
    return adopted


def _is_to_be_served(scope: Scope, services: Services) -> bool:
    """Note the services; return whether this is a WebSocket that no outer layer serves."""
    if scope["type"] == "lifespan":
        return False
    is_served = scope.get(SERVICES) is services
    scope[SERVICES] = services
    if scope["type"] != "websocket" or is_served:
        return False
    # If they did not run, a connection would open and then not be served, or not be drained.
    services.check_that_they_run()
    return True


async def _not_found(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] == "websocket":
        scope[HANDSHAKE].refused_for = "not_found"
        # Starlette would answer a WebSocket to an unknown path with 403.
        await PlainTextResponse("Not Found", 404)(scope, receive, send)
    else:
        raise HTTPException(404)


async def _not_valid(websocket: WebSocket, error: Exception) -> None:
    assert isinstance(error, WebSocketRequestValidationError)
    # FastAPI would refuse with 403 and no reason.
    Handshake.of(websocket).refused_for = "not_valid"
    await websocket.send_denial_response(http.what_is_wrong(error))


def create_app(
    settings: Settings | None = None,
    *,
    lifespan: Lifespan[TargetApp] | None = None,
    **fastapi_options: Any,  # noqa: ANN401 - FastAPI's own
) -> TargetApp:
    """Return a new application, with ``settings`` or, by default, those of the environment.

    ``lifespan`` is entered once the services run, and exited before they end. ``fastapi_options``
    are those of :class:`fastapi.FastAPI`.
    """
    services = Services(settings or Settings())
    options = {"title": "swarmgate reference server"} | fastapi_options
    app = TargetApp(services, lifespan=lifespan, **options)
    # In this order: py_client and integers are valid session ids too. Straight into the
    # application's own router, because a handshake would search an included one twice.
    for routes in (chat, events, session):
        routes.router(services, app.router)
    app.include_router(http.router(services))
    add_page(app, websocket=chat.PATH)
    return app


def __getattr__(name: str) -> TargetApp:
    # ``app`` is for ``uvicorn target_app.app:app`` and is made on first access, because it reads
    # the environment: code that only imports create_app may have its own settings.
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    try:
        made = globals()["app"] = create_app(telemetry=as_set_up())
    except (OSError, ValueError) as error:
        # The server that imports this would print a traceback, and restart a worker forever.
        logs.say(problems_in(error))
        raise SystemExit(EXIT_USAGE if supervisor() is None else STARTUP_FAILURE) from None
    return made
