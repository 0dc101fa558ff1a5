"""What this server says over the wire: its texts, its close codes, its message dictionaries."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

Message = dict[str, Any]
"""An ASGI message. One that has been handed to a send is never changed again: it is shared."""


class CloseCode(enum.IntEnum):
    """The close codes this server gives (RFC 6455 §7.4.1 and the IANA registry it founded)."""

    GOING_AWAY = 1001
    """The drain is over and the client is still here."""
    SERVICE_RESTART = 1012
    """Somebody forced the shutdown."""
    TRY_AGAIN_LATER = 1013
    """The client reads more slowly than the broadcasts arrive."""


def text_message(text: str) -> Message:
    """Return the ASGI message that sends ``text`` as one text message."""
    return {"type": "websocket.send", "text": text}


def close_message(code: int, reason: str) -> Message:
    """Return the ASGI message that begins the closing handshake (RFC 6455 §7.1.2)."""
    return {"type": "websocket.close", "code": code, "reason": reason}


def send_back(received: Mapping[str, Any]) -> Message:
    """Return the message that says what was ``received``, text as text and binary as binary."""
    # ASGI lets the unused key be absent or None.
    text = received.get("text")
    if text is not None:
        return {"type": "websocket.send", "text": text}
    return {"type": "websocket.send", "bytes": received["bytes"]}


RUNNING: Final = text_message("Server is running...")
SHUTTING_DOWN: Final = text_message("Server is shutting down, please disconnect.")
