"""The bus between workers of one machine: ZeroMQ over Unix sockets, nothing to install or start.

Every worker has an inbox (PULL), a socket file in the common directory, and one PUSH to each other
inbox there. It pushes rather than publishes and subscribes, because the sender then knows its
receivers: nothing published once an inbox exists is lost to a subscription that is still on its
way, and the number of receivers that a payload was handed to is known.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections import deque
from typing import TYPE_CHECKING, Final, Literal

import zmq

from target_app.bounded_queue import BytesQueue
from target_app.bus import BusStatus
from target_app.bus.parts import PUBLISHER_BYTES, Assembly, split
from target_app.bus.sequence import Arrivals, Stamp
from target_app.lifecycle.workers import Worker

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from target_app.bus import Deliver

SUFFIX: Final = ".bus"
QUEUED: Final = 10_000
"""Payloads that may wait for one peer before more of them are dropped."""
QUEUED_BYTES: Final = 2**26
"""The most bytes that these have in total; a single payload, alone, may be larger."""
AHEAD: Final = 256
"""Parts that ZeroMQ holds for one peer on either side, of at most 64 KiB each: 16 MiB."""
LOOK_SECONDS: Final = 1.0
"""Interval between two scans of the directory, for peers that could not announce leaving."""
WELCOME_SECONDS: Final = 1.0
"""How long a newcomer waits for the peers that it has greeted."""
LINGER_SECONDS: Final = 0.5
"""Time to send what is queued when the bus ends."""
CHUNK: Final = 64
"""Parts taken in a row before other work gets its turn."""
LONGEST_PATH: Final = 107
"""The most bytes that a Unix socket's path may have (unix(7))."""
WORD: Final = b"!"
"""The first byte of a part that is not part of a payload but a word from one bus to another."""

Word = Literal["hello", "welcome", "bye", "farewell"]

logger = logging.getLogger(__name__)


class ZmqBus:
    """The bus of a server with several workers.

    A newcomer creates its inbox, reads from the directory which others are there, and greets them;
    each then pushes to it too, and welcomes it. So of two that start at the same instant, at least
    one sees the other, and both know each other when both are ready. A worker that leaves announces
    it; the files of workers that died are removed by
    :class:`target_app.lifecycle.workers.WorkerCoordinator`, and their absence is noticed here
    within :data:`LOOK_SECONDS`. A worker that leaves waits until the others have heard it, and so
    everything before it: a full inbox loses what was on its way when the sender closes (libzmq 4.3,
    an engine whose input is stopped).

    A peer whose queue is full is skipped and delays nobody. ZeroMQ bounds its own queues by the
    number of messages alone, so it is given payloads in parts, and few of them; what waits for more
    room waits here, bounded in bytes.

    ZeroMQ's own asyncio sockets cost a future for each message; here the inbox is read when the
    event loop reports it readable, and a push never waits.
    """

    def __init__(
        self,
        directory: Path,
        name: str,
        *,
        queued: int = QUEUED,
        queued_bytes: int = QUEUED_BYTES,
    ) -> None:
        self.status = BusStatus("zmq", connected=False)
        self._directory = directory
        self._own = directory / f"{name}{SUFFIX}"
        if len(str(self._own).encode()) > LONGEST_PATH:
            raise ValueError(
                f"{str(self._own)!r} is too long for a socket's path, which has at most "
                f"{LONGEST_PATH} bytes; choose a shorter run_dir"
            )
        self._bounds = (queued, queued_bytes)
        self._stamp = Stamp()
        self._arrivals = Arrivals(self._stamp.publisher)
        self._assembly = Assembly()
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._peers: dict[Path, _Peer] = {}
        self._awaited: set[Path] = set()
        self._answered = asyncio.Event()
        self._is_hidden = False

    async def publish(self, payload: bytes) -> int:
        """See :meth:`Bus.publish`; it never waits."""
        if self._context is None:
            self.status.dropped += 1
            return 0
        packet = self._stamp.put(payload)
        handed = sum(peer.push(packet) for peer in self._peers.values())
        self.status.published += 1
        self.status.dropped += handed < len(self._peers)
        return handed

    async def post(self, payload: bytes) -> None:
        """See :meth:`Bus.post`."""
        await self.publish(payload)

    async def run(self, deliver: Deliver, ready: asyncio.Event) -> None:
        """See :meth:`Bus.run`."""
        self._context = zmq.Context()
        inbox = self._socket(zmq.PULL)
        inbox.bind(f"ipc://{self._own}")
        reading = _Reading(inbox, lambda part: self._take(part, deliver))
        try:
            # Once the inbox exists: see the class docstring.
            self.look_around()
            await self._until_all_answer(WELCOME_SECONDS)
            self.status.connected = True
            ready.set()
            while True:
                await asyncio.sleep(LOOK_SECONDS)
                if not self._own.exists():
                    self._be_found_again(inbox)
                self.look_around()
        finally:
            self.status.connected = False
            self._own.unlink(missing_ok=True)
            await asyncio.shield(self._leave(inbox, reading))

    def look_around(self) -> None:
        """Find out from the directory which workers have come and which have gone."""
        there = {path for path in self._directory.glob(f"*{SUFFIX}") if path != self._own}
        for path in self._peers.keys() - there:
            # A live worker stays connected without its file, and creates it again.
            worker = Worker.named(path.stem)
            if worker is None or not worker.lives():
                self._forget(path)
        for path in there - self._peers.keys():
            self._know(path).push_word(self._word("hello"))

    def _be_found_again(self, inbox: zmq.Socket[bytes]) -> None:
        # The file was removed by a cleaner of old temporary files. Peers that were connected still
        # are; a newcomer looks for the file.
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            inbox.bind(f"ipc://{self._own}")
        except (OSError, zmq.ZMQError) as error:
            if not self._is_hidden:
                logger.warning("new workers cannot find this one: %s", error)
            self._is_hidden = True
        else:
            self._is_hidden = False

    async def _until_all_answer(self, within_seconds: float) -> None:
        # A worker that is stopped, or dead, does not answer: it is not waited for any longer.
        self._awaited = set(self._peers)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_seconds):
                while self._awaited:
                    self._answered.clear()
                    await self._answered.wait()

    async def _leave(self, inbox: zmq.Socket[bytes], reading: _Reading) -> None:
        context, self._context = self._context, None
        for peer in self._peers.values():
            peer.push_word(self._word("bye"))
        await self._until_all_answer(LINGER_SECONDS)
        reading.stop()
        inbox.close(linger=0)
        for path in tuple(self._peers):
            self._forget(path, LINGER_SECONDS)
        if context is not None:
            await asyncio.to_thread(context.term)

    def _take(self, part: bytes, deliver: Deliver) -> None:
        try:
            if part[:1] == WORD:
                self._hear(part)
            elif (packet := self._assembly.take(part)) is not None:
                self.status.received += 1
                payload = self._arrivals.take(packet)
                self.status.missed = self._arrivals.missed
                if payload is not None:
                    deliver(payload)
        except Exception:
            logger.exception("a payload of another worker")

    def _word(self, word: Word) -> bytes:
        return b" ".join([WORD + self._stamp.publisher, word.encode(), self._own.name.encode()])

    def _hear(self, part: bytes) -> None:
        head = 1 + PUBLISHER_BYTES
        word, _, name = part[head + 1 :].decode().partition(" ")
        path = self._directory / name
        if path.parent != self._directory or path == self._own:
            raise ValueError(f"{name!r} is no peer's name")
        peer = self._peers.get(path)
        if peer is None:
            if self._context is None or word != "hello":
                return
            peer = self._know(path)
        peer.publisher = part[1:head]
        if word == "hello":
            peer.push_word(self._word("welcome"))
        elif word == "bye":
            peer.push_word(self._word("farewell"))
            self._forget(path, LINGER_SECONDS)
        self._awaited.discard(path)
        self._answered.set()

    def _know(self, path: Path) -> _Peer:
        peer = _Peer(self._socket(zmq.PUSH), self._stamp.publisher, BytesQueue(*self._bounds))
        # From here on the socket queues what is pushed, whether connected yet or not.
        peer.socket.connect(f"ipc://{path}")
        self._peers[path] = peer
        self.status.peers = len(self._peers)
        return peer

    def _forget(self, path: Path, linger_seconds: float = 0.0) -> None:
        if (peer := self._peers.pop(path, None)) is not None:
            self._assembly.forget(peer.publisher)
            peer.close(linger_seconds)
        self._awaited.discard(path)
        self.status.peers = len(self._peers)

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        assert self._context is not None
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.SNDHWM, AHEAD)
        socket.setsockopt(zmq.RCVHWM, AHEAD)
        return socket


class _Peer:
    """The way to one other worker: ZeroMQ's short queue, and ours in front of it."""

    def __init__(
        self, socket: zmq.Socket[bytes], own_publisher: bytes, queue: BytesQueue[bytes]
    ) -> None:
        self.socket = socket
        self.publisher = b""
        """The publisher id of the peer, once a word from it has been received."""
        self._own_publisher = own_publisher
        self._queue = queue
        self._parts: deque[bytes] = deque()
        asyncio.get_running_loop().add_reader(socket.FD, self._flush)

    def is_waiting(self) -> bool:
        """Return whether anything waits here."""
        return bool(self._parts) or not self._queue.empty()

    def push(self, packet: bytes) -> bool:
        """Send ``packet`` or queue it; return False if there is no room for that."""
        try:
            self._queue.put_nowait(packet, len(packet))
        except asyncio.QueueFull:
            return False
        self._send_on()
        return True

    def push_word(self, word: bytes) -> None:
        """Send ``word`` after what is already waiting, regardless of the room there is."""
        while not self._queue.empty():
            self._parts.extend(split(self._own_publisher, self._queue.get_nowait()))
        self._parts.append(word)
        self._send_on()

    def close(self, linger_seconds: float) -> None:
        """Stop sending; ZeroMQ has ``linger_seconds`` for what it was given."""
        asyncio.get_running_loop().remove_reader(self.socket.FD)
        self.socket.close(linger=round(1000 * linger_seconds))

    def _flush(self) -> None:
        # Reading this option is what resets the descriptor.
        self.socket.getsockopt(zmq.EVENTS)
        self._send_on()

    def _send_on(self) -> None:
        try:
            while self.is_waiting():
                if not self._parts:
                    self._parts.extend(split(self._own_publisher, self._queue.get_nowait()))
                self.socket.send(self._parts[0], zmq.NOBLOCK)
                self._parts.popleft()
        except zmq.Again:
            return


class _Reading:
    """A reader of what arrives at an inbox, a chunk at a time."""

    def __init__(self, inbox: zmq.Socket[bytes], take: Callable[[bytes], None]) -> None:
        self._inbox = inbox
        self._take = take
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(inbox.FD, self._read)
        self._again = self._loop.call_soon(self._read)

    def stop(self) -> None:
        """Stop reading."""
        self._again.cancel()
        self._loop.remove_reader(self._inbox.FD)

    def _read(self) -> None:
        # The descriptor signals a change only: whatever is there has to be taken now, or asked for
        # again.
        for _ in range(CHUNK):
            try:
                part = self._inbox.recv(zmq.NOBLOCK)
            except zmq.Again:
                return
            self._take(part)
        self._again.cancel()
        self._again = self._loop.call_soon(self._read)
