"""Who may connect: the drain, the limit, the Origin and the login, as one FastAPI dependency.

:func:`guard` can be replaced, with ``app.dependency_overrides``, by what :func:`identified_by`
makes from an application's own login. Any other function in its place replaces the check of the
Origin, the place among the connections and the identity too: what it returns names no client.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Final

from fastapi import Depends, HTTPException
from starlette.requests import HTTPConnection  # noqa: TC002 - FastAPI needs it at run time

from target_app.connections.adoption import HANDSHAKE, Handshake
from target_app.services import services_of
from target_app.settings import digest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from fastapi.params import Depends as Dependency


def _by_token(connection: HTTPConnection) -> str | None:
    """Return who the client is by its token, None if none is needed; refuse others with 401.

    The token comes in ``Authorization: Bearer`` (RFC 6750 §2.1), or as ``?token=``, since a browser
    cannot set headers on a WebSocket.
    """
    names = services_of(connection).settings.names_by_token
    if not names:
        return None
    given = digest(_token_given(connection))
    if given in names:
        return names[given]
    raise refusal(
        connection,
        "token",
        401,
        "A valid token is needed: Authorization: Bearer, or ?token=.",
        {"WWW-Authenticate": "Bearer"},
    )


async def guard(connection: HTTPConnection) -> str | None:
    """Refuse a handshake that may not connect; on others, record who the client is by its token.

    Return that too, as :data:`Identity` for functions that take it; None if no token is needed.

    All in one, because FastAPI takes longer to resolve what a dependency depends on than any of
    these checks takes, and does so at every handshake. A request takes no place among the
    connections: only its Origin and its login are checked.
    """
    return _let_in(connection, _by_token(connection))


def identified_by(identity: Callable[..., Any]) -> Callable[..., Awaitable[str | None]]:
    """Return a replacement for :func:`guard` that lets ``identity`` determine who the client is.

    Use it as ``app.dependency_overrides[guard] = identified_by(identity)``. ``identity`` is a
    dependency, possibly with its own: it returns a name, or None, or raises.
    """

    async def identified(
        connection: HTTPConnection, who: str | None = Depends(identity)
    ) -> str | None:
        return _let_in(connection, who)

    return identified


# With a scope, which makes no difference unless it is a generator, FastAPI does not have to
# determine one at every handshake.
_GUARD: Final = Depends(guard, scope="request")

GUARDED: Final[Sequence[Dependency]] = (_GUARD,)
"""What every router of the server requires before its endpoints, for handshakes and requests."""

Identity = Annotated[str | None, _GUARD]
"""Who the client is, for any FastAPI function that takes it; :func:`guard` is called once."""


def _let_in(connection: HTTPConnection, who: str | None) -> str | None:
    _refuse_other_origins(connection)
    if connection.scope["type"] == "websocket":
        handshake = Handshake.of(connection)
        handshake.identity = who
        if (full := handshake.admit()) is not None:
            raise HTTPException(503, full.text)
    return who


def _refuse_other_origins(connection: HTTPConnection) -> None:
    # A client without an Origin is no browser and need not fear foreign pages (RFC 6455 §10.2).
    allowed = services_of(connection).settings.allowed_origins
    origin = connection.headers.get("origin", "") if allowed else ""
    if origin and origin not in allowed:
        raise refusal(connection, "origin", 403, f"Pages of {origin} may not connect.")


def refusal(
    connection: HTTPConnection,
    reason: str,
    status: int,
    text: str,
    headers: dict[str, str] | None = None,
) -> HTTPException:
    """Return the exception to raise, and note the one-word ``reason`` for the statistics."""
    handshake = connection.scope.get(HANDSHAKE)
    if isinstance(handshake, Handshake):
        handshake.refused_for = reason
    return HTTPException(status, text, headers)


def _token_given(connection: HTTPConnection) -> bytes:
    scheme, _, given = connection.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer":
        return given.strip().encode("latin-1")  # as Starlette decoded it
    return connection.query_params.get("token", "").strip().encode()
