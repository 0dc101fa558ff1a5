"""The reference server with endpoints of somebody else's, for tests."""

from __future__ import annotations

import asyncio
import logging
import types
from typing import TYPE_CHECKING

from fastapi import APIRouter, Depends, WebSocket, WebSocketDisconnect, WebSocketException
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from target_app import GUARDED, Endpoint, Message, adopt, create_app, sent_on_shutdown

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from starlette.types import Receive, Scope, Send

    from target_app.connections.connection import Connection

app = create_app()
goes_on = asyncio.Event()


shout = Endpoint("/shout", shutting_down=Message("Server is shutting down, please disconnect."))


@app.websocket("/shout")
async def shout_endpoint(websocket: WebSocket) -> None:
    await adopt(websocket, shout)


@app.websocket("/slow", dependencies=GUARDED)
async def slow(websocket: WebSocket) -> None:
    await goes_on.wait()
    await adopt(websocket, shout)


@app.get("/go")
async def go() -> dict[str, str]:
    goes_on.set()
    return {"status": "ok"}


@app.get("/handshakes")
async def handshakes() -> int:
    return app.services.connections.places_taken - len(app.services.connections)


@app.websocket("/loop")
@app.websocket("/told-in-json", dependencies=[Depends(sent_on_shutdown('{"type": "bye"}'))])
async def loop(websocket: WebSocket) -> None:
    await websocket.accept()
    while True:
        await websocket.receive_text()


@app.websocket("/plain")
async def plain(websocket: WebSocket) -> None:
    """Repeat, as FastAPI's documentation does."""
    await websocket.accept()
    while True:
        await websocket.send_text(await websocket.receive_text())


@app.websocket("/pauses")
async def pause(websocket: WebSocket) -> None:
    """Receive nothing before others say so."""
    await websocket.accept()
    await goes_on.wait()
    while True:
        await websocket.receive_text()
        await websocket.send_text("heard")


@app.websocket("/bytes")
async def repeat_bytes(websocket: WebSocket) -> None:
    """Repeat what is binary."""
    await websocket.accept()
    async for data in websocket.iter_bytes():
        await websocket.send_bytes(data)


@app.websocket("/json")
async def repeat_json(websocket: WebSocket) -> None:
    """Repeat JSON, in a task of a group."""

    async def repeat() -> None:
        async for data in websocket.iter_json():
            await websocket.send_json(data)

    await websocket.accept()
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(repeat())


@app.websocket("/looks-up")
async def look_up(websocket: WebSocket) -> None:
    """Look up what is not there."""
    await websocket.accept()
    await websocket.send_text({"text": "here"}[await websocket.receive_text()])


@app.websocket("/changes-its-mind")
async def change_mind(websocket: WebSocket) -> None:
    """Begin to receive, give that up, and receive after all; twice at the same time."""
    await websocket.accept()
    receiving = asyncio.create_task(websocket.receive_text())
    await asyncio.sleep(0)
    receiving.cancel()
    await websocket.send_text("say something")
    await websocket.send_text(await websocket.receive_text())
    both = [asyncio.create_task(websocket.receive_text()) for _ in range(2)]
    await websocket.send_text(" ".join(sorted(await asyncio.gather(*both))))


@app.websocket("/feed")
async def feed(websocket: WebSocket) -> None:
    """Wait for something to say, and never receive."""
    await websocket.accept()
    queue: asyncio.Queue[str] = asyncio.Queue()
    while True:
        await websocket.send_text(await queue.get())


@app.websocket("/tidies-up")
async def tidy_up(websocket: WebSocket) -> None:
    """Go on after the client has left, until others say so."""
    await websocket.accept()
    try:
        await websocket.receive_text()
    except WebSocketDisconnect as error:
        await goes_on.wait()
        logging.getLogger("uvicorn.error").info("tidied up after %d", error.code)


guarded = APIRouter(
    prefix="/guarded", dependencies=[*GUARDED, Depends(sent_on_shutdown('{"type": "bye"}'))]
)
guarded.add_api_websocket_route("/loop", loop)


@guarded.get("/request")
async def request() -> None:
    """Answer whoever may come in."""


app.include_router(guarded)

endings: list[str] = []


@app.websocket("/ticking")
async def ticking(websocket: WebSocket) -> None:
    """Send, and never receive."""
    await websocket.accept()
    try:
        while True:
            await websocket.send_text("tick")
            await asyncio.sleep(0.01)
    except WebSocketDisconnect as error:
        endings.append(f"WebSocketDisconnect {error.code}")
        raise
    except Exception as error:
        endings.append(repr(error))
        raise


async def raw_ticking(_scope: Scope, _receive: Receive, send: Send) -> None:
    """Do the same without Starlette."""
    await send({"type": "websocket.accept"})
    try:
        while True:
            await send({"type": "websocket.send", "text": "tick"})
            await asyncio.sleep(0.01)
    except ConnectionResetError:
        endings.append("ConnectionResetError")
        raise
    except Exception as error:
        endings.append(repr(error))
        raise


async def raw_early(_scope: Scope, receive: Receive, send: Send) -> None:
    """Receive the first message before the handshake is accepted."""
    await receive()
    receiving = asyncio.create_task(receive())
    await asyncio.sleep(0)
    await send({"type": "websocket.accept"})
    await send({"type": "websocket.send", "text": (await receiving)["text"]})
    await receive()


app.mount("/raw", raw_ticking)
app.mount("/early", raw_early)


@app.get("/endings")
async def how_they_ended() -> list[str]:
    return endings


@app.get("/layers")
async def layers() -> list[str]:
    """Return the coroutines that a WebSocket's task is suspended in, and what its scope has."""
    for task in asyncio.all_tasks():
        coroutine = task.get_coro()
        protocol = coroutine.cr_frame.f_locals.get("self")
        if isinstance(protocol, WebSocketsSansIOProtocol):
            names = []
            while isinstance(coroutine, types.CoroutineType):
                names.append(coroutine.cr_code.co_name)
                coroutine = coroutine.cr_await
            return [*names, *protocol.scope]
    return []


@app.websocket("/bye")
async def bye(websocket: WebSocket) -> None:
    """Close at once."""
    await websocket.accept()
    await websocket.close(4000)


async def _say_much_and_fail(connection: Connection, _data: str | bytes) -> None:
    for n in range(60):
        app.services.delivery.push(connection, Message(f"{n:>65536}"))
    raise LookupError("expected in this test")


FAILING = Endpoint("/failing", received=_say_much_and_fail)


@app.websocket(FAILING.path)
async def failing(websocket: WebSocket) -> None:
    """Adopt what will fail."""
    await adopt(websocket, FAILING)


noted: list[str] = []


async def _note_opened(connection: Connection) -> None:
    noted.append(f"opened {connection.state}")


async def _note_closed(connection: Connection) -> None:
    noted.append(f"closed {connection.state}")


NOTED = Endpoint("/noted", opened=_note_opened, closed=_note_closed)


async def _left_badly(how: str) -> AsyncIterator[None]:
    yield
    if how == "dependency":
        raise LookupError("expected in this test")


@app.websocket("/noted/{how}", dependencies=[*GUARDED, Depends(_left_badly)])
async def note(websocket: WebSocket, how: str) -> None:
    """Adopt, and end in some way."""
    await adopt(websocket, NOTED, state=how)
    if how == "closes":
        await websocket.close(4000)
    if how == "is refused":
        raise WebSocketException(4001)
    if how == "sends much":
        await websocket.send_text("x" * 2**24)
    while how == "sends on":
        await websocket.send_text("x")
        await asyncio.sleep(0.01)
    if how in {"fails", "sends much"}:
        raise LookupError("expected in this test")


@app.get("/noted")
async def what_was_noted() -> list[str]:
    return noted


heard: list[str] = []


async def _answer_later(connection: Connection, data: str | bytes) -> None:
    heard.append(str(data))
    await goes_on.wait()
    app.services.delivery.push(connection, Message("heard"))


HELD = Endpoint("/held", received=_answer_later)


@app.websocket(HELD.path)
async def held(websocket: WebSocket) -> None:
    """Adopt what is answered once others say so."""
    await adopt(websocket, HELD)


async def _repeat(connection: Connection, data: str | bytes) -> None:
    app.services.delivery.push(connection, Message(f"{data!s} heard"))


LATE = Endpoint("/late", received=_repeat)


@app.websocket(LATE.path)
async def late(websocket: WebSocket) -> None:
    """Adopt, and take time to return."""
    await adopt(websocket, LATE)
    await goes_on.wait()


@app.get("/heard")
async def what_was_heard() -> list[str]:
    return heard


def counted_turns(has_ended: Callable[[], bool]) -> list[int]:
    """Return a list whose one item grows by 1 at each turn of the event loop."""
    turns = [0]

    def turn() -> None:
        turns[0] += 1
        if not has_ended():
            asyncio.get_running_loop().call_soon(turn)

    turn()
    return turns


async def _count_turns(connection: Connection) -> None:
    connection.state = counted_turns(lambda: connection.close_code is not None)


async def _say_turns(connection: Connection, data: str | bytes) -> None:
    assert isinstance(connection.state, list)
    app.services.delivery.push(connection, Message(f"{data!s} {connection.state[0]}"))


TURNS = Endpoint("/turns", opened=_count_turns, received=_say_turns)


@app.websocket(TURNS.path)
async def turns(websocket: WebSocket) -> None:
    """Adopt what is told how often others had their turn since it came."""
    await adopt(websocket, TURNS)


@app.websocket("/plain/turns")
async def plain_turns(websocket: WebSocket) -> None:
    """Tell the same of an endpoint that goes on running."""
    await websocket.accept()
    ended: list[bool] = []
    turns = counted_turns(lambda: bool(ended))
    try:
        async for text in websocket.iter_text():
            await websocket.send_text(f"{text} {turns[0]}")
    finally:
        ended.append(True)
