"""A server that sends to one receiver after the other, each once the one before has acknowledged.

On SIGTERM it prints what it counted, as one JSON object.
"""

import asyncio
import json
import logging
import signal
import sys
from collections import Counter
from itertools import count

from websockets.asyncio.server import ServerConnection, serve

CLIENTS: dict[ServerConnection, None] = {}
WAITING: dict[str, asyncio.Event] = {}
DONE: Counter[str] = Counter()
NUMBERS = count()
TASKS: set[asyncio.Task[None]] = set()


async def deliver(text: str) -> None:
    """Deliver a text to everybody, in turn."""
    for client in list(CLIENTS):
        name = f"d{next(NUMBERS)}"
        WAITING[name] = asyncio.Event()
        DONE["deliveries"] += 1
        await client.send(json.dumps({"id": name, "text": text}))
        await WAITING[name].wait()
        del WAITING[name]


async def handle(connection: ServerConnection) -> None:
    """Serve one connection."""
    CLIENTS[connection] = None
    try:
        async for message in connection:
            content = json.loads(message)
            if "say" in content:
                DONE["said"] += 1
                TASKS.add(task := asyncio.create_task(deliver(content["say"])))
                task.add_done_callback(TASKS.discard)
            else:
                DONE["acknowledged"] += 1
                WAITING[content["ack"]].set()
    finally:
        del CLIENTS[connection]


async def main() -> None:
    """Serve on the port named by the first argument until SIGTERM."""
    logging.disable(logging.CRITICAL)
    async with serve(handle, "127.0.0.1", int(sys.argv[1])) as server:
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"listening on ws://127.0.0.1:{port}", file=sys.stderr, flush=True)
        await stopped.wait()
        print(json.dumps(DONE), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
