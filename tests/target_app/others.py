"""Somebody else's application with our log filter: endpoints that fail in every way."""

import contextlib

from fastapi import FastAPI, HTTPException, Request, WebSocket

from target_app import logs


@contextlib.asynccontextmanager
async def _lifespan(_app):
    logs.install()
    yield


app = FastAPI(lifespan=_lifespan)


@app.websocket("/reads-on")
async def reads_on(websocket: WebSocket):
    await websocket.accept()
    while True:
        await websocket.receive_text()


@app.websocket("/looks-up")
async def looks_up(websocket: WebSocket):
    await websocket.accept()
    {}[await websocket.receive_text()]


@app.websocket("/refuses")
async def refuses(websocket: WebSocket):
    raise HTTPException(418, "never")


@app.websocket("/says-nothing")
async def says_nothing(websocket: WebSocket):
    pass


@app.websocket("/fails")
async def fails(websocket: WebSocket):
    await websocket.accept()
    raise LookupError("expected in this test")


@app.post("/reads-a-body")
async def reads_a_body(request: Request):
    return len(await request.body())
