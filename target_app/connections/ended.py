"""Distinguishing the end of a connection from a fault, by what a send raises."""

from __future__ import annotations

from typing import Final, Protocol

from anyio import BrokenResourceError, ClosedResourceError

from target_app.connections import wire

ENDED: Final = (OSError, BrokenResourceError, ClosedResourceError)
"""Errors that are raised only for an end.

ASGI 2.4 asks servers for a subclass of :class:`OSError` once the client has left, and uvicorn
raises one in all its protocols. Starlette's test client sends through a stream of anyio.
"""


class Sending(Protocol):
    """The part of a connection that is used here."""

    @property
    def send(self) -> object:
        """The ASGI server's callable that it sends through."""

    @property
    def close_sent(self) -> bool:
        """Whether a close frame of ours is on its way."""


def has_ended(error: Exception, connection: Sending) -> bool:
    """Return whether a send raised ``error`` because ``connection`` has ended or is closing.

    After a close frame from the server (ours, or uvicorn's for a message that it refuses), ASGI
    servers raise :class:`RuntimeError`. Many faults do so too: it counts as an end only if the
    connection itself shows that it is closing.
    """
    if isinstance(error, ENDED):
        return True
    return isinstance(error, RuntimeError) and (
        connection.close_sent or wire.is_closing(connection.send)
    )
