"""What this server says and understands: its texts, its close codes, its JSON messages."""

from __future__ import annotations

import enum
from typing import Any, Final

from pydantic import BaseModel, ConfigDict, Field

from target_app.connections.message import Message

RUNNING: Final = "Server is running..."
SHUTTING_DOWN: Final = "Server is shutting down, please disconnect."


class CloseCode(enum.IntEnum):
    """The close codes this server gives (RFC 6455 §7.4; those from 4000 on are its own)."""

    GOING_AWAY = 1001
    """The drain is over and the client is still here."""
    POLICY_VIOLATION = 1008
    """Too many messages a second, or a slow consumer if the settings say so."""
    MESSAGE_TOO_BIG = 1009
    """A message larger than the settings allow."""
    INTERNAL_ERROR = 1011
    """The server could not go on with this client; also a ping that was never answered."""
    SERVICE_RESTART = 1012
    """Somebody forced the shutdown."""
    TRY_AGAIN_LATER = 1013
    """The client reads more slowly than the messages for it arrive."""
    TAKEN_OVER = 4001
    """The same session was opened by another connection."""
    NOT_OWNER = 4003
    """The session belongs to somebody else."""
    IDLE = 4008
    """The session was not active for too long."""


def connected(client: str) -> str:
    """Return the notice that ``client`` (``ip:port``) has come."""
    return f'Client "{client}" connected.'


def disconnected(client: str) -> str:
    """Return the notice that ``client`` (``ip:port``) has left."""
    return f'Client "{client}" disconnected.'


def said_by(client_id: str, text: str) -> str:
    """Return what everyone sees when the client who calls itself ``client_id`` says ``text``."""
    return f"Client {client_id}: {text}"


class EventData(BaseModel):
    """The data of an event: an object of its own inside, as the tutorials have it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    data: dict[str, Any]


class WebsocketEvent(BaseModel):
    """One message of ``/ws/py_client``, in both directions.

    From a client ``client_id`` names the addressee; from the server it names the sender, or the
    client itself in ``connect``, ``error`` and the server's own notices.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    event: str = Field(min_length=1, max_length=64)
    client_id: str = Field(max_length=64)
    data: EventData

    @classmethod
    def of(cls, event: str, client_id: str, **data: Any) -> WebsocketEvent:  # noqa: ANN401
        """Return an event with ``data``."""
        return cls(event=event, client_id=client_id, data=EventData(data=data))

    def message(self) -> Message:
        """Return the event as a message to send."""
        return Message(self.model_dump_json())


class SessionMessage(BaseModel):
    """One message of ``/ws/{session_id}``, in both directions."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    type: str = Field(min_length=1, max_length=64)
    payload: dict[str, Any] | None = None
    timestamp: float | None = None

    def message(self) -> Message:
        """Return it as a message to send; what is None is left out."""
        return Message(self.model_dump_json(exclude_none=True))
