"""A bare picows client in a closed echo loop: what the swarm costs without what makes it a swarm.

``python -m benchmarks.bare_client PORT CONNECTIONS SECONDS`` sends 32 bytes on every connection,
the next after each reply, records nothing, and prints round trips and CPU seconds as JSON.
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
_MESSAGE = b"x" * 32


class Listener(WSListener):
    """Sends again whenever something comes."""

    def __init__(self) -> None:
        self.received = 0

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Keep the transport for the first message."""
        self.transport = transport

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take the payload as a client would, and send the next."""
        frame.get_payload_as_bytes()
        self.received += 1
        transport.send(WSMsgType.TEXT, _MESSAGE)


async def measure(port: int, connections: int, seconds: float) -> dict[str, float]:
    """Open, loop for so long, and count."""
    logger = logging.LoggerAdapter(logging.getLogger(__name__))
    listeners: list[Listener] = []
    for _ in range(connections):
        _, listener = await ws_connect(
            Listener,
            f"ws://127.0.0.1:{port}/echo",
            logger_name=logger,
            read_buffer_init_size=_READ_BUFFER_BYTES,
            # As the swarm has it on plain TCP, where it is the cheaper of the two.
            use_aiofastnet=False,
        )
        assert isinstance(listener, Listener)
        listeners.append(listener)
    for listener in listeners:
        listener.transport.send(WSMsgType.TEXT, _MESSAGE)
    await asyncio.sleep(seconds / 10)
    before, cpu = sum(listener.received for listener in listeners), process_time()
    await asyncio.sleep(seconds)
    trips = sum(listener.received for listener in listeners) - before
    return {"round_trips": trips, "cpu_seconds": process_time() - cpu, "seconds": seconds}


def main() -> None:
    """Measure as the arguments say."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    port, connections, seconds = sys.argv[1:]
    found = uvloop.run(measure(int(port), int(connections), float(seconds)))
    sys.stdout.write(json.dumps(found) + "\n")


if __name__ == "__main__":
    main()
