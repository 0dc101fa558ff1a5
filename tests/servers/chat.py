"""A chat with rooms: ``/ws`` sends a text to all as it is, ``/ws/{id}`` as ``Client {id}: {text}``.

``python -m tests.servers.chat PORT [flags]``. ``?room=…`` keeps rooms apart. Each flag counts the
deliveries of the whole server, from 1, and does its wrong to every so many. On SIGTERM it prints
how many times it did, as one JSON object.
"""

import argparse
import asyncio
import json
import logging
import signal
import sys
from collections import Counter, defaultdict
from urllib.parse import parse_qs, urlsplit

from websockets.asyncio.server import ServerConnection, serve

FAULTS = ("lose", "duplicate", "swap", "leak")


class Chat:
    """Who is in which room, and what goes wrong."""

    def __init__(self, every: dict[str, int]) -> None:
        self._every = every
        self._rooms: defaultdict[str, dict[ServerConnection, list[str]]] = defaultdict(dict)
        self._deliveries = 0
        self.done: Counter[str] = Counter(dict.fromkeys(FAULTS, 0))

    async def handle(self, connection: ServerConnection) -> None:
        """Serve one connection."""
        assert connection.request is not None
        address = urlsplit(connection.request.path)
        room = parse_qs(address.query).get("room", [""])[0]
        name = address.path.removeprefix("/ws").strip("/")
        # What is held back for each, to change places with the next.
        self._rooms[room][connection] = []
        await connection.send("somebody connected.")
        async for text in connection:
            message = f"Client {name}: {text}" if name else str(text)
            for receiver in list(self._rooms[room]):
                await self._deliver(receiver, room, message)
        del self._rooms[room][connection]

    async def _deliver(self, receiver: ServerConnection, room: str, message: str) -> None:
        self._deliveries += 1
        fault = next((it for it in FAULTS if self._is_due(it)), "")
        held = self._rooms[room].get(receiver, [])
        if fault == "swap" and not held:
            held.append(message)
            return
        texts = {"lose": [], "duplicate": [message, message]}.get(fault, [message])
        for text in [*texts, *held]:
            await receiver.send(text)
        if fault == "swap" or held:
            self.done["swap"] += bool(held)
            held.clear()
        if fault == "leak":
            elsewhere = next(
                it for other, them in self._rooms.items() if other != room for it in them
            )
            await elsewhere.send(message)
        if fault in ("lose", "duplicate", "leak"):
            self.done[fault] += 1

    def _is_due(self, fault: str) -> bool:
        return bool(self._every[fault]) and self._deliveries % self._every[fault] == 0


async def main() -> None:
    """Serve on the port named by the first argument until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="0 lets the system choose")
    for fault in FAULTS:
        parser.add_argument(f"--{fault}", type=int, default=0)
    given = vars(parser.parse_args())
    logging.disable(logging.CRITICAL)
    chat = Chat(given)
    async with serve(chat.handle, "127.0.0.1", given["port"], compression=None) as server:
        stopped = asyncio.Event()
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
        port = next(iter(server.sockets)).getsockname()[1]
        print(f"listening on ws://127.0.0.1:{port}", file=sys.stderr, flush=True)
        await stopped.wait()
        print(json.dumps(chat.done), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
