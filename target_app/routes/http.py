"""What is served over HTTP besides the chat page: health, statistics, and a way to broadcast."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Annotated, Any, Final, cast

from fastapi import APIRouter, Depends, Response, Security
from fastapi.responses import JSONResponse
from fastapi.security import APIKeyQuery, HTTPAuthorizationCredentials, HTTPBearer
from pydantic import BaseModel, ConfigDict, Field, model_validator

from target_app.connections.names import ClientId, Room
from target_app.counters import Stats  # noqa: TC001 - FastAPI needs it at run time
from target_app.message import Message
from target_app.protocol import CHAT, EVENTS, SESSIONS
from target_app.routes.admission import GUARDED
from target_app.routes.chat import IntegerConvertor
from target_app.routes.session import from_server
from target_app.stats.metrics import CONTENT_TYPE, exposition

if TYPE_CHECKING:
    from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
    from starlette.requests import Request

    from target_app.services import Services

MOST_PROBLEMS: Final = 5
"""Maximum number of errors reported for one request."""
BEARER: Final = HTTPBearer(auto_error=False, description="the server's --token, if it has one")
QUERY: Final = APIKeyQuery(name="token", auto_error=False, description="the same, as ?token=")
Bearer = Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)]
Query = Annotated[str | None, Security(QUERY)]


class BroadcastRequest(BaseModel):
    """What ``POST /broadcast`` takes: a message and its receiver; by default, all who chat."""

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
    # JSON can name half of a surrogate pair (RFC 8259 §8.2), which UTF-8 cannot (RFC 3629 §3).
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


async def documented(_bearer: Bearer, _query: Query) -> None:
    """Describe in OpenAPI how a token is sent; it is the guard that checks it."""


REFUSED: Final[dict[int | str, dict[str, Any]]] = {
    401: {"model": Problem, "description": "no valid token"},
    403: {"model": Problem, "description": "a browser's page from an Origin that is not allowed"},
}


async def invalid(_request: Request, error: Exception) -> Response:
    """Answer a request that does not validate with 422."""
    return what_is_wrong(cast("RequestValidationError", error))


def what_is_wrong(error: RequestValidationError | WebSocketRequestValidationError) -> Response:
    """Return a 422 that says what is wrong, without repeating what was sent.

    That may be large, or impossible to encode.
    """
    problems = [
        {"type": each["type"], "loc": each["loc"], "msg": each["msg"]}
        for each in error.errors()[:MOST_PROBLEMS]
    ]
    return Response(json.dumps({"detail": problems}), 422, media_type=JSONResponse.media_type)


def router(services: Services) -> APIRouter:
    """Return the HTTP endpoints."""
    routes = APIRouter()
    guarded = [Depends(documented), *GUARDED]
    look, refused = ([], {}) if services.settings.open_stats else (guarded, REFUSED)

    @routes.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Answer 200 for as long as the process lives; its status says whether it drains."""
        return {"status": "draining" if services.drain.draining else "ok"}

    @routes.get("/readyz")
    async def readyz(response: Response) -> dict[str, str]:
        """Answer 503 while it drains or sessions cannot be kept, otherwise 200.

        That is 200 even while all places are taken: a client that leaves frees one.
        """
        if services.drain.draining or not services.sessions.available:
            response.status_code = 503
            return {"status": "draining" if services.drain.draining else "sessions cannot be kept"}
        return {"status": "ready"}

    @routes.get("/stats", dependencies=look, responses=refused)
    async def stats() -> Stats:
        """Return what all workers have counted since each started."""
        return await services.stats.all_workers()

    @routes.get("/metrics", dependencies=look, responses=refused)
    async def metrics() -> Response:
        """Return the same to Prometheus."""
        return Response(exposition(await services.stats.all_workers()), media_type=CONTENT_TYPE)

    @routes.post("/broadcast", dependencies=guarded, responses=REFUSED)
    async def broadcast(wanted: BroadcastRequest) -> Reached:
        """Send a message to everyone, a room, a class, a client or a session.

        Return how many connections were reached. Each gets it in the form that it speaks.
        """
        return Reached(reached=await _broadcast(services, wanted))

    return routes


async def _broadcast(services: Services, wanted: BroadcastRequest) -> int:
    messages = services.messages
    if wanted.client is not None:
        return await messages.text_to_client(_client(wanted.client), wanted.message)
    if wanted.session is not None:
        session = ClientId(SESSIONS, wanted.session)
        return await messages.text_to_client(session, wanted.message)
    if wanted.class_id is not None:
        return await services.classes.say_and_count(wanted.class_id, from_server(wanted.message))
    message = Message(wanted.message)
    if wanted.room is not None:
        return await messages.to_room_and_count(Room(CHAT, wanted.room), message)
    return await messages.to_everyone(message)


def _client(name: str) -> ClientId:
    # Clients of the chat are named by an integer, those of events by a UUID.
    if re.fullmatch(IntegerConvertor.regex, name):
        return ClientId(CHAT, str(int(name)))
    return ClientId(EVENTS, name)
