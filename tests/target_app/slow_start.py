"""Workers that serve only once a file exists, under the server's own supervisor, for tests.

``python -m tests.target_app.slow_start FILE SECONDS``, where the supervisor waits for its workers
for so many SECONDS before it goes on.
"""

import asyncio
import contextlib
import os
import socket
import sys

import anyio
import uvicorn
from fastapi import FastAPI

from target_app.lifecycle import supervisor

FILE = "SLOW_START_FILE"


@contextlib.asynccontextmanager
async def lifespan(_app):
    file = anyio.Path(os.environ[FILE])
    while not await file.exists():  # noqa: ASYNC110 - a file tells nobody
        await asyncio.sleep(0.01)
    yield


app = FastAPI(lifespan=lifespan)

if __name__ == "__main__":
    os.environ[FILE] = sys.argv[1]
    supervisor.START_SECONDS = float(sys.argv[2])
    config = uvicorn.Config("tests.target_app.slow_start:app", workers=2)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        supervisor.Supervisor(
            config, [listener], lambda: print("listening", file=sys.stderr, flush=True)
        ).run()
