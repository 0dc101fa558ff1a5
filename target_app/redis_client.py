"""The connections to Redis that all clients of one worker share."""

from __future__ import annotations

from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

TIMEOUT_SECONDS: Final = 2.0
"""For one command, and for a connection to become free: a client waits no longer for Redis."""

FAILURES: Final = (RedisError, OSError, RuntimeError)
"""What is raised when Redis is away. A RuntimeError comes from uvloop, which raises it where the
standard library's loop raises an OSError: for a write to a connection that was lost just now."""


def make_redis(url: str, connections: int) -> Redis:
    """Return a client that opens at most so many connections, each when it is first needed.

    A command that finds none free waits for one. Nothing is tried again: whoever asks knows better
    what a failure means.
    """
    pool = BlockingConnectionPool.from_url(
        url,
        max_connections=connections,
        timeout=TIMEOUT_SECONDS,
        socket_timeout=TIMEOUT_SECONDS,
        socket_connect_timeout=TIMEOUT_SECONDS,
        retry=Retry(NoBackoff(), 0),
    )
    return Redis.from_pool(pool)
