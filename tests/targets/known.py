"""A server whose behaviour is known: what it injects is what the instrument must report.

``python -m tests.targets.known PORT [flags]``; ``/echo`` sends each message back, ``/ws`` to every
client. It shares no code with the swarm, so that one bug cannot cancel the other. On SIGTERM it
prints what it injected, as one JSON object, and exits with 0.
"""

import argparse
import asyncio
import base64
import ctypes
import hashlib
import json
import os
import re
import resource
import signal
import sys
import time
from collections import Counter, deque
from dataclasses import dataclass
from enum import Enum, auto

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


class Fate(Enum):
    """What becomes of one reply or delivery."""

    SENT = auto()
    LOST = auto()
    DUPLICATED = auto()
    HELD = auto()


@dataclass(frozen=True, slots=True)
class Faults:
    """What to inject; 0 never does. ``…_every`` counts over the whole server, from 1."""

    delay_seconds: float = 0.0
    stall_at_message: int = 0
    stall_seconds: float = 0.0
    lose_every: int = 0
    duplicate_every: int = 0
    reorder_every: int = 0
    refuse_every: int = 0
    refuse_status: int = 403
    close_after: int = 0
    close_code: int = 1000
    die_at_message: int = 0
    damage_every: int = 0
    fragment: bool = False
    greet: bool = False

    def fate(self, number: int) -> Fate:
        """Decide the fate of the delivery of that number."""
        if self.lose_every and number % self.lose_every == 0:
            return Fate.LOST
        if self.duplicate_every and number % self.duplicate_every == 0:
            return Fate.DUPLICATED
        if self.reorder_every and number % self.reorder_every == 0:
            return Fate.HELD
        return Fate.SENT

    def refuses(self, handshake: int) -> bool:
        """Tell whether the handshake of that number is refused."""
        return bool(self.refuse_every) and handshake % self.refuse_every == 0


class DelayLine:
    """Lets each message out exactly so long after it came in, however many are inside."""

    def __init__(self, seconds: float) -> None:
        self._delay_ns = round(seconds * 1e9)
        self._waiting: deque[tuple[int, WSTransport, WSMsgType, bytes]] = deque()
        self._libc = ctypes.CDLL(None)
        self._file = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK)
        asyncio.get_running_loop().add_reader(self._file, self._on_timer)

    def put(self, transport: WSTransport, kind: WSMsgType, payload: bytes) -> None:
        self._waiting.append((time.monotonic_ns() + self._delay_ns, transport, kind, payload))
        if len(self._waiting) == 1:
            self._arm()

    def _arm(self) -> None:
        seconds, nanoseconds = divmod(self._waiting[0][0], 10**9)
        setting = (ctypes.c_long * 4)(0, 0, seconds, nanoseconds)
        self._libc.timerfd_settime(self._file, 1, setting, None)

    def _on_timer(self) -> None:
        os.read(self._file, 8)
        while self._waiting and self._waiting[0][0] <= time.monotonic_ns():
            _, transport, kind, payload = self._waiting.popleft()
            transport.send(kind, payload)
        if self._waiting:
            self._arm()


class Server:
    """Everything the connections share: the faults, the counts, who is there."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.injected: Counter[str] = Counter()
        self.clients: dict[str, list[Client]] = {"/ws": []}
        self._line = DelayLine(faults.delay_seconds) if faults.delay_seconds else None

    def accept(self, request: WSUpgradeRequest) -> WSListener | WSUpgradeResponseWithListener:
        """Answer one handshake."""
        self.injected["handshakes"] += 1
        if self.faults.refuses(self.injected["handshakes"]):
            self.injected["refused"] += 1
            refusal = WSUpgradeResponse.create_error_response(self.faults.refuse_status)
            return WSUpgradeResponseWithListener(refusal, None)
        return Client(self, request.path.decode())

    def on_message(self, client: "Client", kind: WSMsgType, payload: bytes) -> None:
        """Take one message and let it go where it goes."""
        self.injected["messages"] += 1
        number = self.injected["messages"]
        if number == self.faults.die_at_message:
            os._exit(1)
        if number == self.faults.stall_at_message:
            time.sleep(self.faults.stall_seconds)
        for receiver in self.clients.get(client.path, [client]):
            self._deliver(receiver, kind, payload)
        client.messages += 1
        if client.messages == self.faults.close_after:
            client.transport.send_close(self.faults.close_code)
            self.injected["closed"] += 1

    def _deliver(self, receiver: "Client", kind: WSMsgType, payload: bytes) -> None:
        self.injected["deliveries"] += 1
        fate = self.faults.fate(self.injected["deliveries"])
        if self.faults.damage_every and self.injected["deliveries"] % self.faults.damage_every == 0:
            self.injected["damaged"] += 1
            payload = payload[:-1] + b"?"
        if fate is Fate.LOST:
            self.injected["lost"] += 1
            return
        if fate is Fate.HELD and receiver.held is None:
            self.injected["held"] += 1
            receiver.held = payload
            return
        self._send(receiver, kind, payload)
        if fate is Fate.DUPLICATED:
            self.injected["duplicated"] += 1
            self._send(receiver, kind, payload)
        if receiver.held is not None:
            self.injected["reordered"] += 1
            self._send(receiver, kind, receiver.held)
            receiver.held = None

    def _send(self, receiver: "Client", kind: WSMsgType, payload: bytes) -> None:
        if self._line is not None:
            self._line.put(receiver.transport, kind, payload)
        elif self.faults.fragment:
            # RFC 6455 section 5.4: the first frame has the type, the others continue it.
            receiver.transport.send(kind, payload[:5], fin=False)
            receiver.transport.send(WSMsgType.CONTINUATION, payload[5:9], fin=False)
            receiver.transport.send_ping(b"between")
            receiver.transport.send(WSMsgType.CONTINUATION, payload[9:])
        else:
            receiver.transport.send(kind, payload)


class Client(WSListener):
    """One connection."""

    def __init__(self, server: Server, path: str) -> None:
        self._server = server
        self.path = path
        self.messages = 0
        self.held: bytes | None = None
        self.transport: WSTransport

    def on_ws_connected(self, transport: WSTransport) -> None:
        self.transport = transport
        if self.path in self._server.clients:
            self._server.clients[self.path].append(self)
        if self._server.faults.greet:
            transport.send(WSMsgType.TEXT, "Willkommen, schön dass du da bist".encode())

    def on_ws_disconnected(self, transport: WSTransport) -> None:
        if self.path in self._server.clients:
            self._server.clients[self.path].remove(self)

    def on_ws_frame(self, transport: WSTransport, frame: WSFrame) -> None:
        if frame.msg_type is WSMsgType.CLOSE:
            if not transport.is_close_frame_sent:
                transport.send_close(frame.get_close_code())
            transport.disconnect()
        elif frame.msg_type in (WSMsgType.TEXT, WSMsgType.BINARY):
            self._server.on_message(self, frame.msg_type, frame.get_payload_as_bytes())


async def _mute(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Accept and say nothing, until the client gives up."""
    await reader.read(-1)
    writer.close()


async def _babble(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer with something that is no HTTP."""
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    await writer.drain()
    writer.close()


async def _hang_up(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """End the connection in the middle of the handshake."""
    await reader.readuntil(b"\r\n\r\n")
    writer.close()


async def _late(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Answer rightly (RFC 6455 section 4.2.2), but a second after the question."""
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
    writer.close()


HANDSHAKES = {"late": _late, "mute": _mute, "garbage": _babble, "hang-up": _hang_up}


async def serve(port: int, faults: Faults, handshake: str) -> Counter[str]:
    """Serve until SIGTERM; gives what was injected."""
    server = Server(faults)
    if handshake == "normal":
        listening = await ws_create_server(
            server.accept,
            "127.0.0.1",
            port,
            backlog=4096,
            read_buffer_init_size=2048,
            use_aiofastnet=False,
        )
    else:
        listening = await asyncio.start_server(HANDSHAKES[handshake], "127.0.0.1", port)
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    bound = listening.sockets[0].getsockname()[1]
    print(f"listening on ws://127.0.0.1:{bound}", file=sys.stderr, flush=True)
    await stopped.wait()
    return server.injected


def main() -> None:
    """Serve as the arguments say."""
    parser = argparse.ArgumentParser()
    parser.add_argument("port", type=int)
    parser.add_argument("--handshake", choices=["normal", *HANDSHAKES], default="normal")
    for name, default in (
        ("delay_seconds", 0.0),
        ("stall_at_message", 0),
        ("stall_seconds", 0.0),
        ("lose_every", 0),
        ("duplicate_every", 0),
        ("reorder_every", 0),
        ("refuse_every", 0),
        ("refuse_status", 403),
        ("close_after", 0),
        ("close_code", int(WSCloseCode.OK.value)),
        ("die_at_message", 0),
        ("damage_every", 0),
    ):
        parser.add_argument(f"--{name.replace('_', '-')}", type=type(default), default=default)
    for name in ("fragment", "greet"):
        parser.add_argument(f"--{name}", action="store_true")
    arguments = vars(parser.parse_args())
    port, handshake = arguments.pop("port"), arguments.pop("handshake")
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    injected = uvloop.run(serve(port, Faults(**arguments), handshake))
    print(json.dumps(injected), flush=True)
    # Connections are still open: they end with the process.
    os._exit(0)


if __name__ == "__main__":
    main()
