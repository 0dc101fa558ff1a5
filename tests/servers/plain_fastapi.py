"""An ordinary FastAPI endpoint in the reference server, which loops over what it receives.

``uvicorn tests.servers.plain_fastapi:app``: what an adopted connection is compared with
(benchmarks/cost/test_adoption_cost.py). It is counted, notified and drained like any other; what
one sends on ``/plain`` goes to all, in a loop of ``send_text``.
"""

from fastapi import WebSocket, WebSocketDisconnect

from target_app.app import create_app

app = create_app()
_audience: set[WebSocket] = set()


@app.websocket("/plain")
async def plain(websocket: WebSocket) -> None:
    """Send what comes to everybody."""
    await websocket.accept()
    _audience.add(websocket)
    try:
        while True:
            text = await websocket.receive_text()
            for receiver in tuple(_audience):
                await receiver.send_text(text)
    except WebSocketDisconnect:
        _audience.discard(websocket)
