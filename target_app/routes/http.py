"""What is served over HTTP beside the chat page: health, statistics, and a way to broadcast."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, Response
from pydantic import BaseModel, ConfigDict, Field, model_validator

from target_app.connections.message import Message
from target_app.connections.names import ClientId, Room
from target_app.protocol import CHAT, EVENTS, SESSIONS
from target_app.routes.admission import allowed_origin, identity
from target_app.stats.counters import Stats  # noqa: TC001 - FastAPI needs it at run time
from target_app.stats.metrics import CONTENT_TYPE, exposition

if TYPE_CHECKING:
    from target_app.services import Services


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


def router(services: Services) -> APIRouter:
    """Return the HTTP endpoints."""
    routes = APIRouter()

    @routes.get("/healthz")
    async def healthz() -> dict[str, str]:
        """Answer 200 for as long as the process lives; its status says whether it drains."""
        return {"status": "draining" if services.drain.draining else "ok"}

    @routes.get("/readyz")
    async def readyz(response: Response) -> dict[str, str]:
        """Answer 200 if handshakes are accepted and sessions can be kept, else 503."""
        if services.drain.draining or not services.sessions.available:
            response.status_code = 503
            return {"status": "draining" if services.drain.draining else "sessions cannot be kept"}
        return {"status": "ready"}

    @routes.get("/stats")
    async def stats() -> Stats:
        """Say what all workers have counted since each started."""
        return await services.stats.all_workers()

    @routes.get("/metrics")
    async def metrics() -> Response:
        """Say the same to Prometheus."""
        return Response(exposition(await services.stats.all_workers()), media_type=CONTENT_TYPE)

    @routes.post("/broadcast", dependencies=[Depends(allowed_origin), Depends(identity)])
    async def broadcast(
        wanted: BroadcastRequest,
    ) -> Reached:
        """Send a message to everyone, to a room or to a client; return how many were reached."""
        message = Message(wanted.message)
        if wanted.client is not None:
            count = 0
            for space in (CHAT, EVENTS, SESSIONS):
                client = ClientId(space, wanted.client)
                count += await services.messages.text_to_client(client, wanted.message)
        elif wanted.room is not None:
            count = await services.messages.to_room_and_count(Room(CHAT, wanted.room), message)
        else:
            count = await services.messages.to_everyone(message)
        return Reached(reached=count)

    return routes
