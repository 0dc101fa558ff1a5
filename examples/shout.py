"""An endpoint of one's own: whatever one client says, all hear in capitals.

``uvicorn shout:app`` serves it beside those of the reference server.
"""

from fastapi import WebSocket

from target_app import Connection, Endpoint, Message, Room, adopt, create_app

app = create_app()
EVERYBODY = Room("shout", "everybody")


async def shouted(connection: Connection, data: str | bytes) -> None:
    await app.services.messages.to_room(EVERYBODY, Message(str(data).upper()))


shout = Endpoint("/shout", received=shouted, shutting_down=Message("SEE YOU"))


@app.websocket("/shout")
async def shout_endpoint(websocket: WebSocket) -> None:
    await adopt(websocket, shout, rooms=(EVERYBODY,))
