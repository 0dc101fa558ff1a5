"""A chat over TLS, by aiohttp: ``python -m tests.servers.aiohttp_chat PORT CERTIFICATE``.

CERTIFICATE is a PEM file with the certificate and its key. ``GET /ticket`` gives a cookie, without
which ``/ws`` answers 403. What one says, ``{"say": TEXT}``, all hear as ``{"from": NAME, "heard":
[TEXT]}``. On SIGTERM it prints what it counted, as one JSON object.
"""

import argparse
import asyncio
import json
import secrets
import signal
import socket
import ssl
import sys
from collections import Counter
from contextlib import suppress

from aiohttp import WSMsgType, web


class Chat:
    """Who is here, who may come, and what was done."""

    def __init__(self) -> None:
        self._here: dict[web.WebSocketResponse, str] = {}
        self._tickets: set[str] = set()
        self.done: Counter[str] = Counter()

    async def ticket(self, _request: web.Request) -> web.Response:
        """Let somebody in who comes with this cookie."""
        ticket = secrets.token_hex(8)
        self._tickets.add(ticket)
        self.done["tickets"] += 1
        answer = web.Response(text=ticket)
        answer.set_cookie("ticket", ticket)
        return answer

    async def talk(self, request: web.Request) -> web.StreamResponse:
        """Serve one client."""
        if request.cookies.get("ticket") not in self._tickets:
            self.done["refused"] += 1
            return web.Response(status=403)
        websocket = web.WebSocketResponse(compress=False)
        await websocket.prepare(request)
        self.done["handshakes"] += 1
        self._here[websocket] = f"client {self.done['handshakes']}"
        try:
            async for message in websocket:
                if message.type is WSMsgType.TEXT:
                    await self._hear(websocket, json.loads(message.data)["say"])
        finally:
            del self._here[websocket]
        return websocket

    async def _hear(self, sender: web.WebSocketResponse, text: str) -> None:
        self.done["said"] += 1
        heard = json.dumps({"from": self._here[sender], "heard": [text]})
        for websocket in list(self._here):
            self.done["deliveries"] += 1
            with suppress(ConnectionError):
                await websocket.send_str(heard)


async def main() -> None:
    """Serve on the port named by the first argument until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="0 lets the system choose")
    parser.add_argument("certificate")
    given = parser.parse_args()
    chat, app = Chat(), web.Application()
    app.add_routes([web.get("/ticket", chat.ticket), web.get("/ws", chat.talk)])
    secured = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    secured.load_cert_chain(given.certificate)
    runner = web.AppRunner(app)
    await runner.setup()
    listening = socket.create_server(("127.0.0.1", given.port))
    await web.SockSite(runner, listening, ssl_context=secured).start()
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    port = listening.getsockname()[1]
    print(f"listening on ws://127.0.0.1:{port}", file=sys.stderr, flush=True)
    await stopped.wait()
    print(json.dumps(chat.done), flush=True)
    await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(main())
