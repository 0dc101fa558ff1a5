"""The connections to Redis that all clients of one worker share.

Modules that import this or ``redis`` are imported themselves only if a Redis address is given: the
package takes megabytes of each worker, and much of its startup time.
"""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING, Any, Final, cast
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import RedisError

if TYPE_CHECKING:
    from collections.abc import Iterable

TIMEOUT_SECONDS: Final = 2.0
"""Limit for one command, and for a connection to become free: no client waits longer for Redis."""

FAILURES: Final = (RedisError, OSError, RuntimeError)
"""Raised when Redis is unavailable.

A RuntimeError comes from uvloop, which raises it where the standard library's loop raises an
OSError: for a write to a connection that has just been lost.
"""

STALE: Final = (LostError, ConnectionError, RuntimeError)
"""Raised by a command whose connection Redis has closed.

It does so for ``timeout`` in its configuration, ``CLIENT KILL`` or a restart. A timeout is not one
of these errors: that command is not sent again.
"""


def make_redis(url: str, connections: int) -> Redis:
    """Return a client that opens at most ``connections`` connections, each when first needed.

    A command that finds none free waits for one. A command whose connection turns out to be closed
    is sent again over a new one: it may be executed twice, so that must do no harm. One that is not
    answered in time is not retried: the caller knows better what that means.
    """
    return Redis.from_pool(_pool(url, connections))


def check_address(url: str) -> None:
    """Raise :class:`ValueError` if no client could be made for ``url``.

    The error repeats nothing of ``url``, which may contain a password.
    """
    try:
        parts = urlsplit(url)
        is_valid = parts.port != 0  # which redis-py treats as no port
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ValueError("its host or port is not valid; write redis://host:6379/0")
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("it has no path; write unix:///path/of/the/socket")
    elif not re.fullmatch("(/[0-9]*)?", parts.path):
        # redis-py would use database 0.
        raise ValueError("its database is not a number; write redis://host:6379/0")
    try:
        cast("Any", _pool(url, connections=1)).make_connection()
    except Exception:  # noqa: BLE001 - redis-py raises whatever a wrong option leads to
        raise ValueError("an option after ? is unknown, or its value is wrong") from None


class EndingConnection:
    """A connection of any kind on which a cancelled task really ends.

    redis-py writes within ``asyncio.wait_for``, which before Python 3.12 swallows a cancellation
    that arrives at the moment the write completes (python/cpython#86296): the task would go on,
    and a loop would do so forever.
    """

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        """Write a command; never reuse the connection if its answer will not be awaited."""
        task = asyncio.current_task()
        before = 0 if task is None else task.cancelling()
        await super().send_packed_command(command, check_health)  # type: ignore[misc] # of any kind
        if task is not None and task.cancelling() > before:
            await self.disconnect(nowait=True)  # type: ignore[attr-defined] # the same
            raise asyncio.CancelledError


def _pool(url: str, connections: int) -> BlockingConnectionPool:
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=TIMEOUT_SECONDS,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 1, cast("Any", STALE)),
    )
    # The address determines the kind: TCP, TLS or a Unix socket.
    kind = pool.connection_class
    pool.connection_class = type(kind.__name__, (EndingConnection, kind), {})
    return pool
