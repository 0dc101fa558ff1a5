"""A chat as FastAPI tutorials write it: a server to compare others with, not one to copy.

    uvicorn examples.tutorial_server:app         or: python examples/tutorial_server.py PORT

It has their faults. A client that does not read blocks everybody. One that sends while another is
lost is thrown out. A binary message raises an exception that leaves its sender in the list, and who
sends after that is thrown out. There is no heartbeat, bound, farewell or second worker.
"""

import sys

import uvicorn
from fastapi import FastAPI, WebSocket, WebSocketDisconnect

app = FastAPI()


class ConnectionManager:
    def __init__(self):
        self.active_connections: list[WebSocket] = []

    async def connect(self, websocket: WebSocket):
        await websocket.accept()
        self.active_connections.append(websocket)

    def disconnect(self, websocket: WebSocket):
        self.active_connections.remove(websocket)

    async def broadcast(self, message: str):
        for connection in self.active_connections:
            await connection.send_text(message)


manager = ConnectionManager()


@app.websocket("/ws")
@app.websocket("/ws/{client_id}")
async def websocket_endpoint(websocket: WebSocket, client_id: int | None = None):
    await manager.connect(websocket)
    try:
        while True:
            data = await websocket.receive_text()
            named = client_id is not None
            await manager.broadcast(f"Client #{client_id} says: {data}" if named else data)
    except WebSocketDisconnect:
        manager.disconnect(websocket)
        if client_id is not None:
            await manager.broadcast(f"Client #{client_id} left the chat")


@app.websocket("/echo")
async def echo(websocket: WebSocket):
    await websocket.accept()
    async for data in websocket.iter_text():
        await websocket.send_text(data)


if __name__ == "__main__":
    uvicorn.run(app, port=int(sys.argv[1]))
