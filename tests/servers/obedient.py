"""A server whose paths say what it does: echo, push, refuse, end, fall silent.

``python -m tests.servers.obedient PORT [--certificate PEM]``.

``/echo`` sends back what comes; ``/fragments`` does so in pieces of one byte or more; ``/push/N``
sends ``tick 0`` to ``tick N-1`` before each echo. ``/silent`` never answers, ``/stall`` not even
the handshake, ``/refuse`` answers it with 403. ``/end/CODE`` closes at the first message,
``/end-once/CODE`` only the first connection that it has, ``/drop`` cuts TCP, ``/latin`` answers
with a text that is not UTF-8, ``/deaf`` reads nothing, not even a close. ``/agree`` takes the
first subprotocol and sends it and the header ``X-User``. On SIGTERM it prints how each connection
ended, as one JSON object.
"""

import argparse
import asyncio
import json
import logging
import signal
import ssl
import sys
from collections import Counter
from contextlib import suppress
from http import HTTPStatus

from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode

ENDS: Counter[str] = Counter()
SEEN: Counter[str] = Counter()
LINGER_SECONDS = 10.0


async def answer(connection: ServerConnection, words: list[str], message: str | bytes) -> None:
    """Do what the path says about one message."""
    match words:
        case ["silent"]:
            pass
        case ["fragments"]:
            half = len(message) // 2
            await connection.send([message[:half], message[half:]])
        case ["push", count]:
            for number in range(int(count)):
                await connection.send(f"tick {number}")
            await connection.send(message)
        case ["end", code]:
            await connection.close(int(code), "told to")
        case ["end-once", code] if SEEN["/".join(words)] == 1:
            await connection.close(int(code), "told to")
        case ["drop"]:
            connection.transport.abort()
        case ["latin"]:
            connection.transport.write(Frame(Opcode.TEXT, b"\xe9").serialize(mask=False))
        case ["agree"]:
            assert connection.request is not None
            user = connection.request.headers["X-User"]
            await connection.send(f"{connection.subprotocol} {user}")
        case _:
            await connection.send(message)


async def handle(connection: ServerConnection) -> None:
    """Serve one connection."""
    assert connection.request is not None
    path = connection.request.path.strip("/")
    SEEN[path] += 1
    if path == "deaf":
        connection.transport.pause_reading()
    # A client may leave before it has the answer.
    with suppress(ConnectionClosed):
        async for message in connection:
            await answer(connection, path.split("/"), message)
    ENDS[f"{path} {connection.close_code}"] += 1


async def greet(connection: ServerConnection, request: Request) -> Response | None:
    """Let in, refuse all or every second, or never answer."""
    SEEN[f"asked for {request.path}"] += 1
    is_second = SEEN[f"asked for {request.path}"] % 2 == 0
    if request.path == "/refuse" or (request.path == "/refuse-half" and is_second):
        return connection.respond(HTTPStatus.FORBIDDEN, "no\n")
    if request.path == "/stall":
        await asyncio.Event().wait()
    return None


async def main() -> None:
    """Serve on the port named by the first argument until SIGTERM."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="0 lets the system choose")
    parser.add_argument("--certificate", help="a PEM file with the key and the chain")
    arguments = parser.parse_args()
    logging.disable(logging.CRITICAL)
    tls = None
    if arguments.certificate:
        tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        tls.load_cert_chain(arguments.certificate)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    server = await serve(
        handle,
        "127.0.0.1",
        arguments.port,
        ssl=tls,
        process_request=greet,
        subprotocols=None,
        select_subprotocol=lambda _connection, offered: offered[0] if offered else None,
    )
    port = next(iter(server.sockets)).getsockname()[1]
    print(f"listening on ws://127.0.0.1:{port}", file=sys.stderr, flush=True)
    await stopped.wait()
    # The ends of those who have gone may not have been seen yet; those who stay are not waited for.
    server.close(close_connections=False)
    with suppress(TimeoutError):
        async with asyncio.timeout(LINGER_SECONDS):
            await server.wait_closed()
    print(json.dumps(ENDS), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
