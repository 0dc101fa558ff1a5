"""Any ASGI application, its WebSocket messages counted beneath it.

``python -m tests.servers.counted MODULE:APP PORT``, in the directory in which MODULE is. On SIGTERM
it prints what it counted, as one JSON object.
"""

import importlib
import json
import sys
from collections import Counter
from collections.abc import Awaitable, Callable, MutableMapping
from pathlib import Path
from typing import Any

import uvicorn

Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]


class Counted:
    """An application that counts what passes between the server and another one."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self.done: Counter[str] = Counter()

    async def __call__(self, scope: Message, receive: Receive, send: Send) -> None:
        async def received() -> Message:
            message = await receive()
            self.done[message["type"]] += 1
            if message["type"] == "lifespan.shutdown":
                # The server ends itself with the signal as soon as the application has ended.
                print(json.dumps(self.done), flush=True)
            return message

        async def sent(message: Message) -> None:
            await send(message)
            self.done[message["type"]] += 1

        await self._app(scope, received, sent)


def main() -> None:
    """Serve until SIGTERM."""
    sys.path.insert(0, str(Path.cwd()))
    module, _, name = sys.argv[1].partition(":")
    counted = Counted(getattr(importlib.import_module(module), name))
    config = uvicorn.Config(counted, port=int(sys.argv[2]), log_level="critical")
    uvicorn.Server(config).run()


if __name__ == "__main__":
    main()
