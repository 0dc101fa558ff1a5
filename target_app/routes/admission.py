"""Who may come in: the drain, the cap, the Origin and the token, looked at before a handshake."""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import parse_qs

from starlette.responses import PlainTextResponse

if TYPE_CHECKING:
    from starlette.types import Receive, Scope, Send

    from target_app.settings import Settings


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why somebody may not come in."""

    reason: str
    """One word, for the statistics."""
    status: int
    text: str


SHUTTING_DOWN = Refusal("draining", 503, "Server is shutting down.")
NOT_FOUND = Refusal("not_found", 404, "No such endpoint.")


def refusal(
    scope: Scope, settings: Settings, *, draining: bool, connections: int
) -> Refusal | None:
    """Return why the handshake of ``scope`` is refused, None if it is not."""
    if draining:
        return SHUTTING_DOWN
    if settings.max_connections and connections >= settings.max_connections:
        return Refusal("full", 503, f"{connections} connections are open, which is the limit.")
    if not settings.allowed_origins and settings.token is None:
        return None
    headers = dict(scope["headers"])
    if not has_allowed_origin(settings, headers):
        origin = headers[b"origin"].decode("latin-1")
        return Refusal("origin", 403, f"Pages of {origin} may not connect.")
    if not has_token(settings, headers, scope["query_string"]):
        return Refusal("token", 401, "A valid token is needed: Authorization: Bearer, or ?token=.")
    return None


def has_allowed_origin(settings: Settings, headers: dict[bytes, bytes]) -> bool:
    """Return whether the request comes from a page that may make it, or from no page at all.

    A client without an Origin is no browser and has no pages of others to fear (RFC 6455 §10.2).
    """
    origin = headers.get(b"origin", b"").decode("latin-1")
    return not (settings.allowed_origins and origin) or origin in settings.allowed_origins


def has_token(settings: Settings, headers: dict[bytes, bytes], query: bytes) -> bool:
    """Return whether the request brings the token, if there has to be one.

    Taken from ``Authorization: Bearer`` (RFC 6750 §2.1), or from ``?token=``, since a browser
    cannot set headers on a WebSocket.
    """
    if settings.token is None:
        return True
    scheme, _, given = headers.get(b"authorization", b"").partition(b" ")
    if scheme.lower() != b"bearer":
        # Whatever bytes there are: that they are no text makes them wrong, not our fault.
        found = parse_qs(query.decode("latin-1"), errors="surrogateescape").get("token", [""])
        given = found[0].encode(errors="surrogateescape")
    return hmac.compare_digest(given.strip(), settings.token.get_secret_value().encode())


async def refuse(scope: Scope, receive: Receive, send: Send, refused: Refusal) -> None:
    """Answer a handshake with the status of ``refused``, or 403 where ASGI knows no other."""
    await receive()
    if "websocket.http.response" in scope.get("extensions", {}):
        response = PlainTextResponse(f"{refused.text}\n", refused.status)
        if refused.status == 401:
            response.headers["www-authenticate"] = "Bearer"
        await response(scope, receive, send)
    else:
        await send({"type": "websocket.close"})
