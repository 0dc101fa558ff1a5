"""A bare picows client: what the swarm costs without what makes it a swarm.

``python -m benchmarks.cost.bare_client PORT CONNECTIONS SECONDS [PER_SECOND]`` opens the
connections, as many at once as the swarm does, and records nothing. Without ``PER_SECOND`` it is a
closed echo loop: 32 bytes on every connection, the next after each reply. With it, the first
connection sends that many messages of 64 bytes a second, and all receive them. It prints CPU
seconds as JSON.
"""

import asyncio
import json
import logging
import resource
import sys
from time import process_time

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, ws_connect

_READ_BUFFER_BYTES = 2048
_OPENING_AT_ONCE = 256
_ECHOED = b"x" * 32
_BROADCAST = b"x" * 64


class Listener(WSListener):
    """A client that takes each payload as any client would, and counts."""

    def __init__(self) -> None:
        self.received = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the transport for sending."""
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:  # noqa: ARG002
        """Take one message."""
        frame.get_payload_as_bytes()
        self.received += 1


class Echoing(Listener):
    """A client that sends again whenever something arrives."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take one message and send the next."""
        frame.get_payload_as_bytes()
        self.received += 1
        transport.send(WSMsgType.TEXT, _ECHOED)


async def opened(url: str, connections: int, kind: type[Listener]) -> list[Listener]:
    """Open ``connections`` connections, some of them at once."""
    logger = logging.LoggerAdapter(logging.getLogger(__name__))
    free = asyncio.Semaphore(_OPENING_AT_ONCE)

    async def one() -> Listener:
        async with free:
            _, listener = await ws_connect(
                kind,
                url,
                logger_name=logger,
                read_buffer_init_size=_READ_BUFFER_BYTES,
                # As in the swarm on plain TCP, where it is the cheaper of the two.
                use_aiofastnet=False,
            )
        assert isinstance(listener, Listener)
        return listener

    return await asyncio.gather(*(one() for _ in range(connections)))


async def publish(listener: Listener, per_second: float) -> None:
    """Send broadcasts at a rate until cancelled."""
    loop = asyncio.get_running_loop()
    due_seconds = loop.time()
    while True:
        listener.transport.send(WSMsgType.TEXT, _BROADCAST)
        due_seconds += 1 / per_second
        await asyncio.sleep(due_seconds - loop.time())


async def measure(
    port: int, connections: int, seconds: float, per_second: float
) -> dict[str, float]:
    """Open the connections, put load on them for ``seconds``, and count.

    Returns:
        ``opening_cpu_seconds`` for all connections; ``received`` and ``cpu_seconds`` under load.
    """
    address = f"ws://127.0.0.1:{port}"
    kind, path = (Listener, "/ws") if per_second else (Echoing, "/echo")
    cpu = process_time()
    listeners = await opened(address + path, connections, kind)
    opening = process_time() - cpu
    if per_second:
        publishing = asyncio.create_task(publish(listeners[0], per_second))
    else:
        for listener in listeners:
            listener.transport.send(WSMsgType.TEXT, _ECHOED)
    await asyncio.sleep(seconds / 10)
    before, cpu = sum(listener.received for listener in listeners), process_time()
    await asyncio.sleep(seconds)
    received = sum(listener.received for listener in listeners) - before
    used = process_time() - cpu
    if per_second:
        publishing.cancel()
    return {"opening_cpu_seconds": opening, "received": received, "cpu_seconds": used}


def main() -> None:
    """Measure as the arguments say."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port, connections, seconds, *rate = sys.argv[1:]
    per_second = float(rate[0]) if rate else 0.0
    found = uvloop.run(measure(int(port), int(connections), float(seconds), per_second))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
