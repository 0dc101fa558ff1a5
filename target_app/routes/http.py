"""What is served over HTTP beside the chat page: health, statistics, and a way to broadcast."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import APIRouter, Depends, HTTPException, Request, Response, Security
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyQuery, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, model_validator

from target_app.connections.message import Message
from target_app.routes.admission import has_allowed_origin, has_token
from target_app.routes.session import from_server
from target_app.sessions.registry import class_room
from target_app.stats.counters import Stats  # noqa: TC001 - FastAPI needs it at run time
from target_app.stats.metrics import CONTENT_TYPE, exposition

if TYPE_CHECKING:
    from fastapi.exceptions import RequestValidationError

    from target_app.app import TargetApp

ERRORS_TOLD: Final = 5
"""Of what is wrong with one request."""
BEARER: Final = HTTPBearer(auto_error=False, description="the server's --token, if it has one")
QUERY: Final = APIKeyQuery(name="token", auto_error=False, description="the same, as ?token=")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
Query = Annotated[str | None, Security(QUERY)]


class BroadcastRequest(BaseModel):
    """What ``POST /broadcast`` takes: a message, and for whom; without that, all who chat."""

    model_config = ConfigDict(extra="forbid")

    message: str
    room: str | None = Field(default=None, description="one room of the chat")
    class_id: str | None = Field(
        default=None, alias="class", description="the sessions in this class, as a MESSAGE"
    )
    client: str | None = Field(default=None, description="the client with this id")
    session: str | None = Field(default=None, description="the session with this id")

    @model_validator(mode="after")
    def _makes_sense(self) -> BroadcastRequest:
        receivers = [self.room, self.class_id, self.client, self.session]
        if sum(receiver is not None for receiver in receivers) > 1:
            raise ValueError("room, class, client and session exclude each other")
        for text in filter(None, [self.message, *receivers]):
            if not text.isascii():
                _check_encodable(text)
        return self


def _check_encodable(text: str) -> None:
    # JSON can name half of a surrogate pair (RFC 8259 §8.2), which no UTF-8 can (RFC 3629 §3).
    try:
        text.encode()
    except UnicodeEncodeError as error:
        half = f"\\u{ord(text[error.start]):04x}"
        raise ValueError(f"{half} at {error.start} is half of a pair, not a character") from error


class Reached(BaseModel):
    """How many connections a message was handed to, over all workers that answered."""

    reached: int


class Problem(BaseModel):
    """Why a request was refused."""

    detail: str


class Guard:
    """Who may use the HTTP endpoints that tell or do something, as FastAPI dependencies."""

    def __init__(self, app: TargetApp) -> None:
        self._settings = app.settings

    async def may_post(self, request: Request, _bearer: Bearer, _query: Query) -> None:
        """Refuse pages of strangers with 403, and who does not bring the token with 401."""
        if not has_allowed_origin(self._settings, dict(request.scope["headers"])):
            raise HTTPException(403, "pages of this Origin may not")
        self._check_token(request)

    async def may_look(self, request: Request, _bearer: Bearer, _query: Query) -> None:
        """Refuse who does not bring the token with 401, unless statistics are for everyone."""
        if not self._settings.open_stats:
            self._check_token(request)

    def _check_token(self, request: Request) -> None:
        headers = dict(request.scope["headers"])
        if not has_token(self._settings, headers, request.scope["query_string"]):
            raise HTTPException(401, "a valid token is needed", {"WWW-Authenticate": "Bearer"})


UNAUTHORIZED: Final[dict[int | str, dict[str, Any]]] = {
    401: {"model": Problem, "description": "no valid token"}
}
FORBIDDEN: Final[dict[int | str, dict[str, Any]]] = {
    403: {"model": Problem, "description": "a browser's page from an Origin that is not allowed"}
}


async def invalid(_request: Request, error: Exception) -> Response:
    """Answer 422 with what is wrong, without repeating what was sent.

    That may be large, or nothing that can be encoded.
    """
    problem: RequestValidationError = error  # type: ignore[assignment]
    told = [
        {"type": each["type"], "loc": each["loc"], "msg": each["msg"]}
        for each in problem.errors()[:ERRORS_TOLD]
    ]
    return Response(json.dumps({"detail": told}), 422, media_type=JSONResponse.media_type)


def router(app: TargetApp) -> APIRouter:
    """Return the HTTP endpoints of ``app``."""
    routes = APIRouter()
    guard = Guard(app)
    look = [Depends(guard.may_look)]

    @routes.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Answer 200 for as long as the process lives; its status says whether it drains."""
        return {"status": "draining" if app.drain.draining else "ok"}

    @routes.get("/readyz")
    async def readyz(response: Response) -> dict[str, str]:
        """Answer 200 if handshakes are accepted, else 503."""
        if app.drain.draining:
            response.status_code = 503
            return {"status": "draining"}
        return {"status": "ready"}

    @routes.get("/stats", dependencies=look, responses=UNAUTHORIZED)
    async def stats() -> Stats:
        """Say what all workers have counted since each started."""
        return await app.census.all_workers()

    @routes.get("/metrics", dependencies=look, responses=UNAUTHORIZED)
    async def metrics() -> Response:
        """Say the same to Prometheus."""
        return Response(exposition(await app.census.all_workers()), media_type=CONTENT_TYPE)

    @routes.post(
        "/broadcast",
        dependencies=[Depends(guard.may_post)],
        responses=UNAUTHORIZED | FORBIDDEN,
    )
    async def broadcast(wanted: BroadcastRequest) -> Reached:
        """Send a message to everyone, a room, a class, a client or a session.

        Return how many connections were reached. Each gets it in the form that it speaks.
        """
        return Reached(reached=await _broadcast(app, wanted))

    return routes


async def _broadcast(app: TargetApp, wanted: BroadcastRequest) -> int:
    name = wanted.client if wanted.client is not None else wanted.session
    if name is not None:
        return await app.outgoing.text_to_client(name, wanted.message)
    if wanted.class_id is not None:
        return await app.outgoing.to_room_and_count(
            class_room(wanted.class_id), from_server(wanted.message)
        )
    message = Message(wanted.message)
    if wanted.room is not None:
        return await app.outgoing.to_room_and_count(wanted.room, message)
    return await app.outgoing.to_everyone(message)
