"""A plain FastAPI application: endpoints that loop, a set of connections, a loop of sends.

``uvicorn benchmarks.servers.fastapi_app:app``: like most applications, but without the faults of
the tutorial (examples/tutorial_server.py).
"""

from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()
_audience: set[WebSocket] = set()


@app.websocket("/ws")
async def broadcast(websocket: WebSocket) -> None:
    """Send each message to every connection here."""
    await websocket.accept()
    _audience.add(websocket)
    try:
        while True:
            text = await websocket.receive_text()
            for receiver in tuple(_audience):
                await receiver.send_text(text)
    except WebSocketDisconnect:
        pass
    finally:
        _audience.discard(websocket)


@app.websocket("/echo")
async def echo(websocket: WebSocket) -> None:
    """Send each message back."""
    await websocket.accept()
    async for text in websocket.iter_text():
        await websocket.send_text(text)
