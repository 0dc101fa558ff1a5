"""What is served over HTTP beside the chat page: health, statistics, and a way to broadcast."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Header, HTTPException, Request, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from target_app.connections.message import Message
from target_app.routes.admission import has_token
from target_app.stats.counters import Stats  # noqa: TC001 - FastAPI needs it at run time
from target_app.stats.metrics import CONTENT_TYPE, exposition

if TYPE_CHECKING:
    from target_app.app import TargetApp


class BroadcastRequest(BaseModel):
    """What ``POST /broadcast`` takes: a message, and for whom; without either, all who chat."""

    model_config = ConfigDict(extra="forbid")

    message: str
    room: str | None = Field(default=None, description="one room of the chat")
    client: str | None = Field(default=None, description="the client with this id")

    @model_validator(mode="after")
    def _one_or_the_other(self) -> BroadcastRequest:
        if self.room is not None and self.client is not None:
            raise ValueError("room and client exclude each other")
        return self


class Reached(BaseModel):
    """How many connections a message was handed to, over all workers that answered."""

    reached: int


def router(app: TargetApp) -> APIRouter:
    """Return the HTTP endpoints of ``app``."""
    routes = APIRouter()

    @routes.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Answer 200 for as long as the process lives; its status says whether it drains."""
        return {"status": "draining" if app.drain.draining else "ok"}

    @routes.get("/readyz")
    async def readyz(response: Response) -> dict[str, str]:
        """Answer 200 if handshakes are accepted and sessions can be kept, else 503."""
        if app.drain.draining or not app.sessions.available:
            response.status_code = 503
            return {"status": "draining" if app.drain.draining else "sessions cannot be kept"}
        return {"status": "ready"}

    @routes.get("/stats")
    async def stats() -> Stats:
        """Say what all workers have counted since each started."""
        return await app.census.all_workers()

    @routes.get("/metrics")
    async def metrics() -> Response:
        """Say the same to Prometheus."""
        return Response(exposition(await app.census.all_workers()), media_type=CONTENT_TYPE)

    @routes.post("/broadcast")
    async def broadcast(
        request: Request,
        wanted: BroadcastRequest,
        authorization: Annotated[str | None, Header()] = None,
    ) -> Reached:
        """Send a message to everyone, to a room or to a client; return how many were reached."""
        headers = {b"authorization": (authorization or "").encode("latin-1")}
        if not has_token(app.settings, headers, request.url.query.encode()):
            raise HTTPException(401, "a valid token is needed", {"WWW-Authenticate": "Bearer"})
        message = Message(wanted.message)
        if wanted.client is not None:
            count = await app.outgoing.text_to_client(wanted.client, wanted.message)
        elif wanted.room is not None:
            count = await app.outgoing.to_room_and_count(wanted.room, message)
        else:
            count = await app.outgoing.to_everyone(message)
        return Reached(reached=count)

    return routes
