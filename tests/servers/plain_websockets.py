"""A plain ``websockets`` server, as its documentation has it: echo, and broadcast on ``/ws``."""

import argparse
import asyncio
import logging
import signal
import sys

from websockets.asyncio.server import ServerConnection, broadcast, serve

CLIENTS: set[ServerConnection] = set()


async def handle(connection: ServerConnection) -> None:
    """Serve one connection."""
    assert connection.request is not None
    if connection.request.path != "/ws":
        async for message in connection:
            await connection.send(message)
        return
    CLIENTS.add(connection)
    try:
        async for message in connection:
            broadcast(CLIENTS, message)
    finally:
        CLIENTS.discard(connection)


async def main() -> None:
    """Serve on the port named by the first argument until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="0 lets the system choose")
    parser.add_argument(
        "--compression",
        action=argparse.BooleanOptionalAction,
        default=True,
        help="permessage-deflate (RFC 7692) where the client offers it, as the library has it",
    )
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    compression = "deflate" if arguments.compression else None
    async with serve(handle, "127.0.0.1", arguments.port, compression=compression) as server:
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"listening on ws://127.0.0.1:{port}", file=sys.stderr, flush=True)
        await stopped.wait()


if __name__ == "__main__":
    asyncio.run(main())
