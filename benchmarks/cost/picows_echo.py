"""An echo server on bare picows: the cheapest Python server there is, so that it is not the limit.

Run it as ``python -m benchmarks.cost.picows_echo PORT``. The cost benchmarks put load on it, and it
is one of the servers other than ours on which ``swarmgate run`` is demonstrated.
"""

import resource
import socket
import sys

import uvloop
from picows import WSFrame, WSListener, WSMsgType, WSTransport, WSUpgradeRequest, ws_create_server

_BACKLOG = 4096
_READ_BUFFER_BYTES = 2048


class EchoListener(WSListener):
    """A listener that sends every data frame back as it came, and closes when the peer closes."""

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Echo one frame (RFC 6455 section 5.6 data frames, fragments kept as fragments)."""
        if frame.msg_type is WSMsgType.CLOSE:
            transport.send_close(frame.get_close_code(), frame.get_close_message())
            transport.disconnect()
        elif frame.msg_type is not WSMsgType.PONG:
            transport.send(frame.msg_type, frame.get_payload_as_memoryview(), fin=frame.fin)


def accept(_request: WSUpgradeRequest) -> EchoListener:
    """Answer every handshake with an echo connection, whatever its path."""
    return EchoListener()


async def serve(port: int) -> None:
    """Echo on 127.0.0.1:port until cancelled."""
    server = await ws_create_server(
        accept,
        "127.0.0.1",
        port,
        backlog=_BACKLOG,
        family=socket.AF_INET,
        read_buffer_init_size=_READ_BUFFER_BYTES,
    )
    bound = server.sockets[0].getsockname()[1]
    sys.stderr.write(f"listening on ws://127.0.0.1:{bound}\n")
    await server.serve_forever()


def main() -> None:
    """Serve on the port named by the first argument."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    uvloop.run(serve(int(sys.argv[1])))


if __name__ == "__main__":
    main()
