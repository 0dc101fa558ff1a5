"""The connections to Redis that all clients of one worker share.

Whatever imports this or ``redis`` is imported itself only where an address of Redis is given: the
package takes megabytes of each worker, and much of the time in which it starts.
"""

from __future__ import annotations

import re
from typing import Any, Final, cast
from urllib.parse import urlsplit

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import ConnectionError as LostError
from redis.exceptions import RedisError

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


def _pool(url: str, connections: int) -> BlockingConnectionPool:
    return BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=TIMEOUT_SECONDS,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 1, cast("Any", STALE)),
    )
