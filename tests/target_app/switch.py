"""A TCP switch in front of servers, as a load balancer is: who is connected stays where it is."""

from __future__ import annotations

import asyncio
import contextlib


class Switch:
    """Passes each new connection on to ``target``, the port of whichever server is its turn."""

    def __init__(self, target):
        self.target = target

    @contextlib.asynccontextmanager
    async def listening(self):
        """Listen on a free port, ``port``, until left; then cut whoever is connected."""
        self._connections = set()
        server = await asyncio.start_server(self._pass_on, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            for connection in self._connections:
                connection.cancel()
            await asyncio.gather(*self._connections, return_exceptions=True)

    async def _pass_on(self, reader, writer):
        connection = asyncio.current_task()
        self._connections.add(connection)
        try:
            with contextlib.suppress(OSError):
                behind, to_behind = await asyncio.open_connection("127.0.0.1", self.target)
                await asyncio.gather(_copy(reader, to_behind), _copy(behind, writer))
        except asyncio.CancelledError:
            pass  # the test is over; asyncio would tell of a cancelled handler
        finally:
            self._connections.discard(connection)
            writer.close()


async def _copy(reader, writer):
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    finally:
        writer.close()
