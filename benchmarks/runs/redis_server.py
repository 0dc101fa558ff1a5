"""A dedicated Redis for one run, and how many connections it has during the run."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from loadtests.errors import TargetError
from loadtests.plan.target_source import TargetSource
from loadtests.run.target import running

_LOOK_SECONDS: Final = 0.1


@dataclass(slots=True)
class WatchedRedis:
    """A running Redis.

    Attributes:
        url: the address where it listens.
        connections_peak: the most connections in any sample, without the sampling connection.
        looks: the number of samples.
    """

    url: str
    connections_peak: int = 0
    looks: int = 0

    def figures(self) -> dict[str, float]:
        """Return the observations as figures."""
        return {
            "redis.connections_peak": float(self.connections_peak),
            "redis.looks": float(self.looks),
        }


@asynccontextmanager
async def watched_redis(log: Path) -> AsyncIterator[WatchedRedis]:
    """Run a Redis that persists nothing, and sample it ten times a second.

    Raises:
        TargetError: none is installed, or it does not start.
    """
    program = shutil.which("redis-server") or shutil.which("valkey-server")
    if program is None:
        raise TargetError("redis-server is not installed; on Debian: apt install redis-server")
    command = (program, "--port", "{port}", "--bind", "127.0.0.1", "--save", "", "--appendonly")
    source = TargetSource((*command, "no", "--dir", str(log.parent.resolve())))
    async with running(source, log) as server:
        redis = WatchedRedis(f"redis://127.0.0.1:{server.port}/0")
        watching = asyncio.create_task(_watch(redis, server.port))
        try:
            yield redis
        finally:
            watching.cancel()
            await asyncio.wait((watching,))


async def _watch(redis: WatchedRedis, port: int) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        while True:
            writer.write(b"INFO clients\r\n")
            # A bulk string (RESP): its length on a line, then that many bytes and a line ending.
            length = int((await reader.readline())[1:])
            text = (await reader.readexactly(length + 2)).decode()
            fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
            redis.connections_peak = max(
                redis.connections_peak, int(fields["connected_clients"]) - 1
            )
            redis.looks += 1
            await asyncio.sleep(_LOOK_SECONDS)
    finally:
        with suppress(OSError):
            writer.close()
