"""A plain ``websockets`` server, as its documentation has it: echo, and broadcast on ``/ws``.

On SIGTERM it prints what it counted, as one JSON object.
"""

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections import Counter

from websockets.asyncio.server import ServerConnection, broadcast, serve
from websockets.typing import Subprotocol

CLIENTS: set[ServerConnection] = set()
DONE: Counter[str] = Counter()


async def handle(connection: ServerConnection) -> None:
    """Serve one connection."""
    assert connection.request is not None
    DONE["handshakes"] += 1
    DONE["compressed"] += bool(connection.protocol.extensions)
    if connection.request.path != "/ws":
        async for message in connection:
            DONE["received"] += 1
            DONE["sent"] += 1
            await connection.send(message)
        return
    CLIENTS.add(connection)
    try:
        async for message in connection:
            DONE["received"] += 1
            DONE["sent"] += len(CLIENTS)
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
    parser.add_argument("--subprotocol", help="that a client has to offer")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    compression = "deflate" if arguments.compression else None
    subprotocols = [Subprotocol(arguments.subprotocol)] if arguments.subprotocol else None
    async with serve(
        handle,
        "127.0.0.1",
        arguments.port,
        compression=compression,
        subprotocols=subprotocols,
    ) as server:
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"listening on ws://127.0.0.1:{port}", file=sys.stderr, flush=True)
        await stopped.wait()
        print(json.dumps(DONE), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
