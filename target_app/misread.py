"""Distinguishing a message that an endpoint could not read from a fault of the endpoint itself.

Starlette's ``receive_text``, ``receive_bytes`` and ``receive_json`` raise :class:`KeyError` for a
message of the other kind, and what :mod:`json` raises for text that is not JSON. An endpoint
that looks up or decodes something itself raises the same; where it was raised tells them apart.
"""

from __future__ import annotations

import traceback
from typing import TYPE_CHECKING, Final

from starlette.websockets import WebSocket

if TYPE_CHECKING:
    from types import CodeType

READING: Final[frozenset[CodeType]] = frozenset(
    method.__code__
    for method in (WebSocket.receive_text, WebSocket.receive_bytes, WebSocket.receive_json)
)
OF_THE_WRONG_KIND: Final = (KeyError, TypeError, AttributeError)
"""Raised for binary where text is read and vice versa; the last two where a server passes None."""
NOT_READABLE: Final = (ValueError, RecursionError)
"""Raised for what is not UTF-8, not JSON, or nested too deeply."""


def is_misread(error: BaseException) -> bool:
    """Return whether ``error`` means that a client sent what its endpoint does not read."""
    known = (*OF_THE_WRONG_KIND, *NOT_READABLE)
    return isinstance(error, known) and _was_raised_reading(error)


def misread_in(error: BaseException) -> BaseException | None:
    """Return the first error in ``error``, itself or a group, that :func:`is_misread` accepts."""
    if not isinstance(error, BaseExceptionGroup):
        return error if is_misread(error) else None
    found = error.subgroup(is_misread)
    return None if found is None else misread_in(found.exceptions[0])


def _was_raised_reading(error: BaseException) -> bool:
    # In one of Starlette's methods itself, or in the JSON decoder that it called.
    frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
    while frames and frames[-1].f_globals.get("__name__", "").partition(".")[0] == "json":
        frames.pop()
    return bool(frames) and frames[-1].f_code in READING
