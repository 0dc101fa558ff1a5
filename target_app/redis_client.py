"""The connections to Redis that all clients of one worker share."""

from __future__ import annotations

from typing import Any, Final, cast

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
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=TIMEOUT_SECONDS,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 1, cast("Any", STALE)),
    )
    return Redis.from_pool(pool)
