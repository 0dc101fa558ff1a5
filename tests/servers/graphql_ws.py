"""A server of the protocol graphql-transport-ws, as far as a chat needs it.

``python -m tests.servers.graphql_ws PORT [--silent]``. A client must say ``connection_init`` with a
token that begins with ``t-`` before anything else (else 4401, 4403), and then may subscribe to
``said``, or say something by the mutation ``say``, which all subscribers get. ``--silent`` never
acknowledges. On SIGTERM it prints what it counted, as one JSON object.
https://github.com/enisdenjo/graphql-ws/blob/master/PROTOCOL.md
"""

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections import Counter
from contextlib import suppress

from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

PROTOCOL = Subprotocol("graphql-transport-ws")


class Graph:
    """Who has subscribed under which id, and what was done."""

    def __init__(self, *, silent: bool) -> None:
        self._silent = silent
        self._subscribed: dict[ServerConnection, str] = {}
        self._acknowledged: set[ServerConnection] = set()
        self.done: Counter[str] = Counter()

    async def serve(self, connection: ServerConnection) -> None:
        """Serve one client."""
        self.done["handshakes"] += 1
        try:
            async for text in connection:
                self.done["received"] += 1
                await self._take(connection, json.loads(text))
        finally:
            self._subscribed.pop(connection, None)
            self._acknowledged.discard(connection)

    async def _take(self, connection: ServerConnection, message: dict[str, object]) -> None:
        match message:
            case {"type": "connection_init", "payload": {"token": str(token)}}:
                await self._init(connection, token)
            case _ if connection not in self._acknowledged:
                await connection.close(4401, "Unauthorized")
            case {"type": "ping"}:
                await connection.send('{"type":"pong"}')
            case {"type": "subscribe", "id": str(name), "payload": {"variables": {"text": text}}}:
                self.done["said"] += 1
                await self._publish(str(text))
                await connection.send(json.dumps({"id": name, "type": "complete"}))
            case {"type": "subscribe", "id": str(name)}:
                self.done["subscribed"] += 1
                self._subscribed[connection] = name
            case _:
                await connection.close(4400, "Invalid message")

    async def _init(self, connection: ServerConnection, token: str) -> None:
        if not token.startswith("t-"):
            self.done["forbidden"] += 1
            await connection.close(4403, "Forbidden")
        elif not self._silent:
            self._acknowledged.add(connection)
            await connection.send('{"type":"connection_ack"}')

    async def _publish(self, text: str) -> None:
        for receiver, name in list(self._subscribed.items()):
            self.done["deliveries"] += 1
            payload = {"data": {"said": {"text": text, "by": name}}}
            # One that has gone must not end the connection of the one who speaks.
            with suppress(ConnectionClosed):
                await receiver.send(json.dumps({"id": name, "type": "next", "payload": payload}))


async def main() -> None:
    """Serve on the port named by the first argument until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="0 lets the system choose")
    parser.add_argument("--silent", action="store_true")
    given = parser.parse_args()
    logging.disable(logging.CRITICAL)
    graph = Graph(silent=given.silent)
    async with serve(graph.serve, "127.0.0.1", given.port, subprotocols=[PROTOCOL]) as server:
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"listening on ws://127.0.0.1:{port}", file=sys.stderr, flush=True)
        await stopped.wait()
        print(json.dumps(graph.done), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
