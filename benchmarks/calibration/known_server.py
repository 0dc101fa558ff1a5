"""A server whose behaviour is known: what it injects is what the instrument must report.

``python -m benchmarks.calibration.known_server PORT [flags]``; ``/ws`` sends each message to every
client of that path, ``/echo`` and any other path back to its sender. It shares no code with the
swarm, so that one bug cannot cancel out another. On SIGTERM it releases what it still holds, prints
what it injected as one JSON object, and exits with 0.
"""

import argparse
import asyncio
import base64
import hashlib
import json
import math
import os
import random
import re
import resource
import signal
import sys
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import MISSING, fields
from functools import partial

import uvloop
from picows import (
    WSCloseCode,
    WSFrame,
    WSListener,
    WSMsgType,
    WSTransport,
    WSUpgradeRequest,
    WSUpgradeResponse,
    WSUpgradeResponseWithListener,
    ws_create_server,
)

from benchmarks.calibration.delay_line import DelayLine
from benchmarks.calibration.faults import Faults, Outbox, damaged

Message = tuple[WSMsgType, bytes]

_GREETING = "Willkommen, schön dass du da bist"
_COUNTS = (
    *("handshakes", "refused", "messages", "deliveries", "lost", "duplicated"),
    *("held", "reordered", "flushed", "damaged", "closed", "ignored"),
)
# A client that does not read must not keep the process alive at the end.
_LINGER_SECONDS = 2.0
_FIRST_STALL_SECONDS = 1.0


class Server:
    """Everything the connections share: the faults, the counts, the connected clients."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.injected: Counter[str] = Counter(dict.fromkeys(_COUNTS, 0))
        # In the order in which they connected, so that deliveries are always numbered alike.
        self.clients: dict[Client, None] = {}
        self._line = DelayLine() if faults.delay_seconds else None
        # The same every time; no secret depends on it.
        self._random = random.Random(1)
        self.stalls_ns: list[int] = []
        self._stalls = 0
        self._stalled_since_ns = 0
        self._ending = False

    def accept(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        """Answer one handshake."""
        number = self.count("handshakes")
        if self.faults.refuses(number):
            self.count("refused")
            refusal = WSUpgradeResponse.create_error_response(self.faults.refuse_status)
            return WSUpgradeResponseWithListener(refusal, None)
        return Client(self, request.path.decode())

    def count(self, name: str) -> int:
        """Count one more; return its number."""
        self.injected[name] += 1
        return self.injected[name]

    def on_message(self, client: "Client", message: Message) -> None:
        """Take one message and deliver it to its receivers."""
        if self._ending:
            return
        arrived_ns = time.monotonic_ns()
        if self._stalled_since_ns:
            self.stalls_ns.append(arrived_ns - self._stalled_since_ns)
            self._stalled_since_ns = 0
        number = self.count("messages")
        if number == 1 and self.faults.stalls:
            asyncio.get_running_loop().call_later(_FIRST_STALL_SECONDS, self._stall)
        if number == self.faults.die_at_message:
            os._exit(1)
        if number == self.faults.stall_at_message:
            time.sleep(self.faults.stall_seconds)
        for receiver in self._receivers(client):
            self._deliver(receiver, message, arrived_ns)
        client.messages += 1
        if client.messages == self.faults.close_after:
            self.count("closed")
            self.close(client, self.faults.close_code, arrived_ns)

    def close(self, client: "Client", code: int, arrived_ns: int) -> None:
        """Send a client what is held for it, then a close frame, and nothing after that."""
        client.is_closing = True
        for message in client.outbox.flush():
            self._leave(client, arrived_ns, partial(self._send, client, message))
        self._leave(client, arrived_ns, partial(client.send_close, code), is_message=False)

    async def end(self) -> None:
        """Release everything that came in, then end every connection without a close frame."""
        self._ending = True
        now_ns = time.monotonic_ns()
        for client in self.clients:
            for message in client.outbox.flush():
                self._leave(client, now_ns, partial(self._send, client, message))
        if self._line is not None:
            await self._line.drain()
        left = list(self.clients)
        for client in left:
            client.transport.disconnect()
        with suppress(TimeoutError):
            async with asyncio.timeout(_LINGER_SECONDS):
                waiting = (client.transport.wait_disconnected() for client in left)
                await asyncio.gather(*waiting, return_exceptions=True)

    def _receivers(self, sender: "Client") -> list["Client"]:
        if sender.path != "/ws":
            return [sender]
        return [it for it in self.clients if it.path == "/ws" and not it.is_closing]

    def _deliver(self, receiver: "Client", message: Message, arrived_ns: int) -> None:
        number = self.count("deliveries")
        if self.faults.damages(number):
            self.count("damaged")
            kind, payload = message
            message = kind, damaged(payload)
        for sent in receiver.outbox.put(message, self.faults.fate(number)):
            self._leave(receiver, arrived_ns, partial(self._send, receiver, sent))

    def _leave(
        self,
        client: "Client",
        arrived_ns: int,
        action: Callable[[], None],
        *,
        is_message: bool = True,
    ) -> None:
        # Close frames go through the same line, so that none overtakes a reply.
        is_delayed = client.path.endswith(self.faults.delay_path)
        if self._line is None or not (is_delayed or self.faults.other_delay_seconds):
            action()
        elif is_delayed:
            self._line.put(arrived_ns, self._delay_ns(), action, is_timed=is_message)
        else:
            other_ns = round(self.faults.other_delay_seconds * 1e9)
            self._line.put(arrived_ns, other_ns, action, is_timed=False)

    def _delay_ns(self) -> int:
        """Draw how long one reply is held."""
        faults = self.faults
        scatter = self._random.gauss(0.0, faults.delay_sigma) if faults.delay_sigma else 0.0
        return round(faults.delay_seconds * math.exp(scatter) * 1e9)

    def _stall(self) -> None:
        """Stall; the stall is over when the next message is taken."""
        self._stalls += 1
        self._stalled_since_ns = time.monotonic_ns()
        next_at = asyncio.get_running_loop().time() + self.faults.stall_every_seconds
        time.sleep(self.faults.stall_seconds)
        if self._stalls < self.faults.stalls:
            asyncio.get_running_loop().call_at(next_at, self._stall)

    def record(self) -> dict[str, object]:
        """Return what was injected: counts, and the times a calibration needs, in nanoseconds."""
        found: dict[str, object] = dict(self.injected)
        if self._line is not None and self.faults.delay_path:
            found["delays_ns"] = list(self._line.delays_ns)
        if self.faults.stalls:
            found["stalls_ns"] = self.stalls_ns
        return found

    def _send(self, receiver: "Client", message: Message) -> None:
        kind, payload = message
        transport = receiver.transport
        if not self.faults.fragment:
            transport.send(kind, payload)
            return
        # RFC 6455 section 5.4: the first frame has the type, the others continue it, and a control
        # frame may come between. The cuts fall where they may, inside a character too.
        transport.send(kind, payload[:5], fin=False)
        transport.send(WSMsgType.CONTINUATION, payload[5:9], fin=False)
        transport.send_ping(b"between")
        transport.send(WSMsgType.CONTINUATION, payload[9:])


class Client(WSListener):
    """One connection."""

    def __init__(self, server: Server, path: str) -> None:
        self._server = server
        self.path = path
        self.messages = 0
        self.is_closing = False
        self.outbox: Outbox[Message] = Outbox(server.injected)
        self.transport: WSTransport

    def on_ws_connected(self, transport: WSTransport) -> None:
        """Join the connected clients."""
        self.transport = transport
        self._server.clients[self] = None
        if self._server.faults.greet:
            transport.send(WSMsgType.TEXT, _GREETING.encode())

    def on_ws_disconnected(self, transport: WSTransport) -> None:  # noqa: ARG002
        """Leave the connected clients."""
        self._server.clients.pop(self, None)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        """Take a data frame, or the close frame that begins or answers a closing handshake."""
        if frame.msg_type is WSMsgType.CLOSE:
            if transport.is_close_frame_sent:
                transport.disconnect()
            elif not self.is_closing:
                self._server.close(self, int(frame.get_close_code().value), time.monotonic_ns())
        elif frame.msg_type is WSMsgType.PONG:
            pass
        elif self.is_closing:
            # Sent before the client knew of the close; a message is counted by its first frame.
            if frame.msg_type is not WSMsgType.CONTINUATION:
                self._server.count("ignored")
        elif frame.fin and frame.msg_type is not WSMsgType.CONTINUATION:
            self._server.on_message(self, (frame.msg_type, frame.get_payload_as_bytes()))
        else:
            # A server of known behaviour does nothing by halves: it does no reassembly.
            transport.send_close(WSCloseCode.UNSUPPORTED_DATA)

    def send_close(self, code: int) -> None:
        """Send a close frame; end the connection if the client has already sent one."""
        handshake = self.transport.close_handshake
        if code == WSCloseCode.NO_INFO.value:
            # RFC 6455 section 7.4.1: no code is answered with none, as there is none to send.
            self.transport.send(WSMsgType.CLOSE, None)
        else:
            self.transport.send_close(code)  # type: ignore[arg-type] # takes any code
        if handshake is not None and handshake.recv is not None:
            self.transport.disconnect()


async def _mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
    """Accept and send nothing, until the client gives up."""
    await reader.read(-1)


async def _babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with something that is not HTTP."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    await writer.drain()


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:  # noqa: ARG001
    """End the connection in the middle of the handshake."""
    await reader.readuntil(b"\r\n\r\n")


async def _late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer correctly (RFC 6455 section 4.2.2), but a second after the request."""
    request = await reader.readuntil(b"\r\n\r\n")
    key = re.search(rb"(?i)sec-websocket-key: (\S+)", request)
    assert key is not None
    proof = key[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    accept = base64.b64encode(hashlib.sha1(proof).digest())  # noqa: S324 - the protocol's choice
    await asyncio.sleep(1.0)
    writer.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        b"Sec-WebSocket-Accept: " + accept + b"\r\n\r\n"
    )
    await reader.read(-1)


HANDSHAKES = {"late": _late, "mute": _mute, "garbage": _babble, "hang-up": _hang_up}


async def _mishandle(
    server: Server, handshake: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
) -> None:
    """Answer one handshake as no WebSocket server does; either side may give up first."""
    server.count("handshakes")
    with suppress(OSError, asyncio.IncompleteReadError):
        await HANDSHAKES[handshake](reader, writer)
    writer.close()


async def serve(host: str, port: int, faults: Faults, handshake: str) -> dict[str, object]:
    """Serve on host:port until SIGTERM; return what was injected."""
    server = Server(faults)
    if handshake == "normal":
        listening = await ws_create_server(
            server.accept,
            host,
            port,
            backlog=4096,
            read_buffer_init_size=2048,
            use_aiofastnet=False,
        )
    else:
        mishandle = partial(_mishandle, server, handshake)
        listening = await asyncio.start_server(mishandle, host, port)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    bound = listening.sockets[0].getsockname()[1]
    print(f"listening on ws://{host}:{bound}", file=sys.stderr, flush=True)
    await stopped.wait()
    listening.close()
    await server.end()
    return server.record()


def _parser() -> argparse.ArgumentParser:
    """Return a parser with a flag for every fault: ``--lose-every 7``."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int, help="0 lets the system choose")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--handshake", choices=["normal", *HANDSHAKES], default="normal")
    for flag, handshake in (("--silent-handshake", "mute"), ("--garbage-handshake", "garbage")):
        parser.add_argument(
            flag,
            action="store_const",
            dest="handshake",
            const=handshake,
            help=f"short for --handshake {handshake}",
        )
    for field in fields(Faults):
        flag = f"--{field.name.replace('_', '-')}"
        assert field.default is not MISSING
        if field.default is False:
            parser.add_argument(flag, action="store_true")
        else:
            parser.add_argument(flag, type=type(field.default), default=field.default)
    return parser


def main() -> None:
    """Serve as the arguments say."""
    arguments = vars(_parser().parse_args())
    host, port = arguments.pop("host"), arguments.pop("port")
    handshake = arguments.pop("handshake")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    print(json.dumps(uvloop.run(serve(host, port, Faults(**arguments), handshake))), flush=True)


if __name__ == "__main__":
    main()
