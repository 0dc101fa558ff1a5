"""One outgoing message, encoded once, however many clients it goes to."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from websockets.frames import Frame, Opcode

if TYPE_CHECKING:
    from collections.abc import Mapping

ASGIMessage = dict[str, Any]
"""An ASGI message. Once passed to a send, it is never changed again: it is shared."""

NOT_KEPT: Final = "swarmgate.not_kept"
"""Key of an ASGI ``websocket.receive`` without data: the bytes of an oversized message."""


class Message:
    """A text (``str``) or binary (``bytes``) message, ready for both ways of sending it.

    :attr:`asgi` is for ASGI's ``send``; :attr:`frame` is the same as one unmasked, uncompressed
    frame, for :mod:`target_app.connections.wire`. A server may send a message uncompressed whatever
    was negotiated (RFC 7692 §6), so one frame serves all clients.
    """

    __slots__ = ("asgi", "data", "frame")

    def __init__(self, data: str | bytes) -> None:
        self.data = data
        if isinstance(data, str):
            self.asgi: ASGIMessage = {"type": "websocket.send", "text": data}
            self.frame = Frame(Opcode.TEXT, data.encode()).serialize(mask=False)
        else:
            self.asgi = {"type": "websocket.send", "bytes": data}
            self.frame = Frame(Opcode.BINARY, data).serialize(mask=False)


def received_data(received: Mapping[str, Any]) -> str | bytes:
    """Return what an ASGI ``websocket.receive`` carries, text as str and binary as bytes."""
    # ASGI lets the unused key be absent or None.
    text: str | None = received.get("text")
    data: bytes | None = received.get("bytes")
    return text if text is not None else data or b""


def received_bytes(received: Mapping[str, Any]) -> int:
    """Return the size of what an ASGI ``websocket.receive`` carries, or of what was not kept."""
    if (size := received.get(NOT_KEPT)) is not None:
        return int(size)
    data = received_data(received)
    is_one_byte_each = isinstance(data, bytes) or data.isascii()
    return len(data) if is_one_byte_each else len(str(data).encode())


def close_message(code: int, reason: str) -> ASGIMessage:
    """Return the ASGI message that begins the closing handshake (RFC 6455 §7.1.2)."""
    return {"type": "websocket.close", "code": code, "reason": reason}
