"""The server with a startup and options of somebody else's, for tests."""

from __future__ import annotations

import contextlib
import sys
from typing import TYPE_CHECKING

from fastapi import WebSocket  # noqa: TC002 - FastAPI needs it at run time

from target_app import TargetApp, create_app

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@contextlib.asynccontextmanager
async def lifespan(app: TargetApp) -> AsyncIterator[dict[str, str]]:
    """Say whether the services run, at both ends."""
    print(f"before, running: {app.services.running}", file=sys.stderr, flush=True)
    yield {"prepared": "yes"}
    print(f"after, running: {app.services.running}", file=sys.stderr, flush=True)


app = create_app(lifespan=lifespan, title="Prepared", docs_url=None)


@app.websocket("/prepared")
async def prepared(websocket: WebSocket) -> None:
    """Say what the lifespan has yielded."""
    await websocket.accept()
    await websocket.send_text(websocket.state.prepared)
    await websocket.receive_text()
