"""What the clients send: a handshake and text messages, the same bytes each time (RFC 6455)."""

from __future__ import annotations

MASK = b"\x37\xfa\x21\x3d"
ACCEPTED = b"HTTP/1.1 101 "


def handshake(path: str) -> bytes:
    """Return the request that opens a WebSocket, without extensions (RFC 6455 §4.1)."""
    lines = (
        f"GET {path} HTTP/1.1",
        "Host: 127.0.0.1",
        "Upgrade: websocket",
        "Connection: Upgrade",
        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        "Sec-WebSocket-Version: 13",
    )
    return "\r\n".join((*lines, "", "")).encode()


def refusal(answer: bytes) -> str | None:
    """Return the status line of a response that opens no WebSocket; None if it opens one."""
    if answer.startswith(ACCEPTED):
        return None
    return answer.split(b"\r\n", 1)[0].decode("latin-1") or "nothing"


def text_frame(text: str) -> bytes:
    """Return ``text`` as one masked frame (RFC 6455 §5.2)."""
    payload = text.encode()
    size = len(payload)
    if size < 126:
        head = bytes((0x81, 0x80 | size))
    elif size < 2**16:
        head = bytes((0x81, 0x80 | 126)) + size.to_bytes(2, "big")
    else:
        head = bytes((0x81, 0x80 | 127)) + size.to_bytes(8, "big")
    masked = bytes(byte ^ MASK[index % 4] for index, byte in enumerate(payload))
    return head + MASK + masked
