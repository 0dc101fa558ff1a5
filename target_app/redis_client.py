"""The connections to Redis that all clients of one worker share.

Whatever imports this or ``redis`` is imported itself only where an address of Redis is given: the
package takes megabytes of each worker, and much of the time in which it starts.
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
"""For one command, and for a connection to become free: a client waits no longer for Redis."""

FAILURES: Final = (RedisError, OSError, RuntimeError)
"""What is raised when Redis is away. A RuntimeError comes from uvloop, which raises it where the
standard library's loop raises an OSError: for a write to a connection that was lost just now."""

STALE: Final = (LostError, ConnectionError, RuntimeError)
"""What a command raises whose connection Redis has closed (``timeout`` in its configuration,
``CLIENT KILL``, a restart). A timeout is none of them: that command is not sent again."""


def make_redis(url: str, connections: int) -> Redis:
    """Return a client that opens at most so many connections, each when it is first needed.

    A command that finds none free waits for one. A command whose connection turns out to be closed
    is sent once more over a new one: it may be carried out twice, so that must do no harm. One that
    is not answered in time is not tried again: whoever asks knows better what that means.
    """
    return Redis.from_pool(_pool(url, connections))


def check_address(url: str) -> None:
    """Raise :class:`ValueError` if ``url`` is none that a client could be made for.

    It says nothing of what ``url`` has in it, which may be a password.
    """
    try:
        parts = urlsplit(url)
        is_valid = parts.port != 0  # which redis-py takes for none
    except ValueError:
        is_valid = False
    if not is_valid:
        raise ValueError("its host or port is not valid; write redis://host:6379/0")
    if parts.scheme == "unix":
        if not parts.path:
            raise ValueError("it has no path; write unix:///path/of/the/socket")
    elif not re.fullmatch("(/[0-9]*)?", parts.path):
        # redis-py would take database 0.
        raise ValueError("its database is not a number; write redis://host:6379/0")
    try:
        cast("Any", _pool(url, connections=1)).make_connection()
    except Exception:  # noqa: BLE001 - redis-py raises whatever a wrong option leads to
        raise ValueError("an option after ? is unknown, or its value is wrong") from None


class EndingConnection:
    """A connection, of whichever kind, on which a task that is cancelled ends.

    redis-py writes within ``asyncio.wait_for``, which before Python 3.12 swallows a cancellation
    that comes in the moment in which the write is done (python/cpython#86296): the task would go
    on, a loop for ever.
    """

    async def send_packed_command(
        self, command: bytes | str | Iterable[bytes], check_health: bool = True
    ) -> None:
        """Write a command; nobody uses the connection again if its answer is not waited for."""
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
    # The address says which kind it is: TCP, TLS or a Unix socket.
    kind = pool.connection_class
    pool.connection_class = type(kind.__name__, (EndingConnection, kind), {})
    return pool
