"""The request that a client library is given to open one connection."""

import ssl
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Request:
    """Everything a client library needs to open one connection.

    Attributes:
        connect: returns a connected socket; ``secured`` must be called when TLS is done, just
            before the request is written.
    """

    url: str
    headers: Sequence[tuple[str, str]]
    subprotocols: tuple[str, ...]
    deflate: bool
    max_message_bytes: int
    tls: ssl.SSLContext | None
    proxy: str | None
    timeout_seconds: float
    connect: Callable[[], Any]
    secured: Callable[[], None]
