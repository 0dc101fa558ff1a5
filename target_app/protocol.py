"""What this server sends and understands: its texts, its close codes, its JSON messages."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import Any, Final, TypeVar

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator
from pydantic_core import PydanticCustomError, from_json

from target_app.message import Message

CHAT: Final = "chat"
EVENTS: Final = "events"
SESSIONS: Final = "sessions"
CLASSES: Final = "classes"
"""The spaces of each protocol's room and client names."""

M = TypeVar("M", bound=BaseModel)

RUNNING: Final = "Server is running..."
SHUTTING_DOWN: Final = "Server is shutting down, please disconnect."


PROBLEMS_TOLD: Final = 5
"""Maximum number of problems of one message that are reported to its sender."""
REPEATED_CHARACTERS: Final = 64
"""Maximum length of client input that an answer repeats: a name, or the path to a problem."""


class CloseCode(enum.IntEnum):
    """The close codes this server sends (RFC 6455 §7.4; those from 4000 on are its own)."""

    GOING_AWAY = 1001
    """The drain is over and the client is still connected."""
    UNSUPPORTED_DATA = 1003
    """Binary where the endpoint reads text, or text where it reads binary."""
    INVALID_DATA = 1007
    """Text that is not JSON where the endpoint reads JSON."""
    POLICY_VIOLATION = 1008
    """Too many messages a second, or a slow consumer if the settings say so."""
    MESSAGE_TOO_BIG = 1009
    """A message larger than the settings allow."""
    INTERNAL_ERROR = 1011
    """The server could not continue with this client; also a ping that was never answered."""
    SERVICE_RESTART = 1012
    """The shutdown was forced."""
    TRY_AGAIN_LATER = 1013
    """The client reads more slowly than the messages for it arrive."""
    TAKEN_OVER = 4001
    """The same session was opened by another connection."""
    NOT_OWNER = 4003
    """The session belongs to somebody else."""
    IDLE = 4008
    """The session was not active for too long."""


def connected(client: str) -> str:
    """Return the notice that ``client`` (``ip:port``) has connected."""
    return f'Client "{client}" connected.'


def disconnected(client: str) -> str:
    """Return the notice that ``client`` (``ip:port``) has disconnected."""
    return f'Client "{client}" disconnected.'


def said_by(client_id: str, text: str) -> str:
    """Return what everyone sees when the client that calls itself ``client_id`` sends ``text``."""
    return f"Client {client_id}: {text}"


@dataclass(frozen=True, slots=True)
class Problem:
    """A problem with a message from a client."""

    at: str
    """The path to it, such as ``data.data``; empty for the message as a whole."""
    problem: str


class NotUnderstood(ValueError):  # noqa: N818 - it is not the server's fault
    """A message from a client that its endpoint does not accept."""

    def __init__(self, *problems: Problem) -> None:
        super().__init__(*problems)
        self.problems = problems
        """The first few problems, at least one."""


def too_large(size: int, most: int) -> Problem:
    """Return the problem with a message of ``size`` bytes where at most ``most`` are accepted."""
    return Problem("", f"{size} bytes; at most {most} are taken")


def parsed(model: type[M], data: str | bytes) -> M:
    """Parse ``data``, JSON, as ``model``; raise :class:`NotUnderstood` if it is not valid.

    ``NaN`` and ``Infinity`` are not JSON (RFC 8259 §6), and clients that this server passes them on
    to could not read them.
    """
    try:
        return model.model_validate(from_json(data, allow_inf_nan=False))
    except ValidationError as error:
        found = error.errors(include_url=False, include_context=False, include_input=False)
        raise NotUnderstood(
            *(
                Problem(cut(".".join(map(str, problem["loc"]))), problem["msg"])
                for problem in found[:PROBLEMS_TOLD]
            )
        ) from None
    except ValueError as error:
        raise NotUnderstood(Problem("", f"Invalid JSON: {error}")) from None


def cut(text: str) -> str:
    """Return ``text``, which a client sent, cut to the length that an answer may repeat."""
    return text if len(text) <= REPEATED_CHARACTERS else f"{text[:REPEATED_CHARACTERS]}…"


class ClientMessage(BaseModel):
    """A message, or a part of one, that accepts only the keys it declares.

    pydantic's ``extra="forbid"`` alone reports every other key as a problem: 7,000 in a message of
    64 KiB took 25 ms to report. Here they are one problem.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    @model_validator(mode="before")
    @classmethod
    def _no_other_keys(cls, value: object) -> object:
        if isinstance(value, dict) and not value.keys() <= cls.model_fields.keys():
            others = [cut(key) for key in value if key not in cls.model_fields]
            raise PydanticCustomError(
                "other_keys",
                "takes only {taken}; not {others}{more}",
                {
                    "taken": ", ".join(cls.model_fields),
                    "others": ", ".join(others[:PROBLEMS_TOLD]),
                    "more": f" and {len(others) - PROBLEMS_TOLD} more"
                    if len(others) > PROBLEMS_TOLD
                    else "",
                },
            )
        return value


class EventData(ClientMessage):
    """The data of an event: an object nested inside, as in the tutorials."""

    data: dict[str, Any]


class WebsocketEvent(ClientMessage):
    """One message of ``/ws/py_client``, in both directions.

    From a client, ``client_id`` names the addressee; from the server it names the sender, or the
    client itself in ``connect``, ``error`` and the server's own notices.
    """

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


class SessionMessage(ClientMessage):
    """One message of ``/ws/{session_id}``, in both directions."""

    type: str = Field(min_length=1, max_length=64)
    payload: dict[str, Any] | None = None
    timestamp: float | None = None

    def message(self) -> Message:
        """Return it as a message to send, without the fields that are None."""
        return Message(self.model_dump_json(exclude_none=True))
