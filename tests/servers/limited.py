"""A server whose capacity is known, whatever the machine: so many connections, so many messages.

``python -m tests.servers.limited PORT [flags]``. It is an echo; of what comes faster than it
serves, each message waits for those before it. How long is arithmetic: of N a second for S seconds,
served M a second, the median waits S / 2 * (N / M - 1).
"""

import argparse
import asyncio
from http import HTTPStatus

from websockets.asyncio.server import ServerConnection, serve
from websockets.http11 import Request, Response


async def main() -> None:
    """Serve until it is stopped."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--connections", type=int, default=10_000, help="refuse more, with 503")
    parser.add_argument("--rate", type=float, default=1e9, help="serve so many a second")
    asked = parser.parse_args()
    loop = asyncio.get_running_loop()
    accepted: set[ServerConnection] = set()
    free_at = 0.0

    def admit(connection: ServerConnection, _request: Request) -> Response | None:
        if len(accepted) >= asked.connections:
            return connection.respond(HTTPStatus.SERVICE_UNAVAILABLE, "full\n")
        accepted.add(connection)
        return None

    async def echo(connection: ServerConnection) -> None:
        nonlocal free_at
        try:
            async for message in connection:
                free_at = max(free_at, loop.time()) + 1 / asked.rate
                loop.call_at(free_at, lambda text=message: loop.create_task(connection.send(text)))
        finally:
            accepted.discard(connection)

    async with serve(echo, "127.0.0.1", asked.port, process_request=admit):
        await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
