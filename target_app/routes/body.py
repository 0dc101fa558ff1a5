"""A bound to the body of a request, before anybody has read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import HTTPException
from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send


class BodyLimit:
    """Middleware that answers a request with more than ``max_bytes`` of body with 413.

    FastAPI reads the whole body into memory first, and looks at tokens afterwards.
    """

    def __init__(self, app: ASGIApp, *, max_bytes: int) -> None:
        self._app = app
        self._max_bytes = max_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass everything on that is small enough, or no request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
        elif self._announced(scope) > self._max_bytes:
            await PlainTextResponse(self._refusal(), 413)(scope, receive, send)
        else:
            await self._app(scope, self._counted(receive), send)

    def _counted(self, receive: Receive) -> Receive:
        had = 0

        async def receive_counted() -> Message:
            nonlocal had
            message = await receive()
            had += len(message.get("body", b""))
            if had > self._max_bytes:
                # Starlette lets who reads the body raise this, and answers accordingly.
                raise HTTPException(413, self._refusal(), {"Connection": "close"})
            return message

        return receive_counted

    @staticmethod
    def _announced(scope: Scope) -> int:
        length = dict(scope["headers"]).get(b"content-length", b"0")
        return int(length) if length.isdigit() else 0

    def _refusal(self) -> str:
        return f"a body has at most {self._max_bytes} bytes here"
