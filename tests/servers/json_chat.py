"""A chat as a FastAPI team writes it: JSON both ways, a token in the query, rooms in the messages.

``python -m tests.servers.json_chat PORT [--form FORM] [--lose N]``. On ``/ws?token=t-…``,
``{"type": "chat", "room": …, "text": …}`` is heard by everybody in the form asked for;
``{"type": "echo", "text": …}`` comes back to its sender; ``{"type": "ping", "id": …}`` is answered
with ``pong``. What is none of these is answered with an error that quotes nothing. ``--lose`` keeps
back every so many deliveries of a chat. ``POST /login?user=…`` gives a token. On SIGTERM it prints
what it counted, as one JSON object.
"""

import argparse
import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Final

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect, WebSocketException

FORMS: Final[Mapping[str, Callable[[str, str], str]]] = {
    # The text, and to whom it goes.
    "object": lambda text, to: json.dumps({"type": "message", "text": text, "at": "12:00"}),
    "addressed": lambda text, to: json.dumps({"to": to, "text": text}),
    "string": lambda text, to: json.dumps(text),
    "nested": lambda text, to: json.dumps({"data": json.dumps({"text": text, "tags": ["a"]})}),
    "words": lambda text, to: f"somebody says {text} at noon",
    "twice": lambda text, to: json.dumps({"text": text, "html": f"<p>{text}</p>"}),
}


class Chat:
    """Who is here, and what was done."""

    def __init__(self, form: str, lose: int) -> None:
        self._form = FORMS[form]
        self._lose = lose
        self._here: dict[WebSocket, str] = {}
        self.done: Counter[str] = Counter()

    async def serve(self, websocket: WebSocket, token: str) -> None:
        """Serve one client."""
        if not token.startswith("t-"):
            self.done["refused"] += 1
            raise WebSocketException(code=1008)
        await websocket.accept()
        self.done["accepted"] += 1
        self._here[websocket] = token
        try:
            await websocket.send_text(json.dumps({"type": "welcome", "you": token}))
            while True:
                await self._take(websocket, await websocket.receive_text())
        except WebSocketDisconnect:
            del self._here[websocket]

    async def _take(self, websocket: WebSocket, text: str) -> None:
        self.done["received"] += 1
        match self._parsed(text):
            case {"type": "chat", "text": str(content)}:
                self.done["chats"] += 1
                await self._send_to_all(content)
            case {"type": "echo", "text": str(content)}:
                self.done["echoed"] += 1
                await websocket.send_text(self._form(content, self._here[websocket]))
            case {"type": "ping", "id": name}:
                self.done["pongs"] += 1
                await websocket.send_text(json.dumps({"type": "pong", "id": name}))
            case _:
                self.done["invalid"] += 1
                await websocket.send_text('{"type": "error"}')

    async def _send_to_all(self, content: str) -> None:
        for receiver, token in list(self._here.items()):
            self.done["deliveries"] += 1
            if self._lose and self.done["deliveries"] % self._lose == 0:
                self.done["lost"] += 1
                continue
            # One that has gone must not end the connection of the one who speaks.
            with suppress(WebSocketDisconnect, RuntimeError):
                await receiver.send_text(self._form(content, token))

    @staticmethod
    def _parsed(text: str) -> Any:
        try:
            return json.loads(text)
        except ValueError:
            return None


def main() -> None:
    """Serve on the port named by the first argument until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="0 lets the system choose")
    parser.add_argument("--form", choices=FORMS, default="object")
    parser.add_argument("--lose", type=int, default=0)
    given = parser.parse_args()
    chat = Chat(given.form, given.lose)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        print(json.dumps(chat.done), flush=True)

    app = FastAPI(lifespan=lifespan)

    @app.websocket("/ws")
    async def talk(websocket: WebSocket, token: str = "") -> None:
        await chat.serve(websocket, token)

    @app.post("/login")
    async def login(user: str) -> dict[str, str]:
        chat.done["logins"] += 1
        return {"token": f"t-{user}"}

    uvicorn.run(app, host="127.0.0.1", port=given.port)


if __name__ == "__main__":
    sys.exit(main())
