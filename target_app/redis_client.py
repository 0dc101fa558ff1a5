"""The connections to Redis that all clients of one worker share."""

from __future__ import annotations

from typing import Final

from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

TIMEOUT_SECONDS: Final = 2.0
"""For one command, and for a connection to become free: a client waits no longer for Redis."""


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
