"""Between the workers of one machine: ZeroMQ over Unix sockets, with nothing to install or start.

Every worker has an inbox (PULL), a socket file in the common directory, and one PUSH to each other
inbox there. Pushing rather than publish and subscribe, because the sender then knows its receivers:
nothing that is published after an inbox is there is lost on a subscription that is still on its
way, and how many a payload was handed to is a number.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Final

import zmq

from target_app.bus import BusStatus
from target_app.bus.sequence import Arrivals, Stamp

if TYPE_CHECKING:
    from pathlib import Path

    from target_app.bus import Deliver

SUFFIX: Final = ".bus"
QUEUED: Final = 10_000
"""Payloads that wait for one peer before more of them are dropped."""
LINGER_MS: Final = 500
"""For what is queued when the bus ends."""
CHUNK: Final = 64
"""Payloads taken in a row before other work gets its turn."""
LONGEST_PATH: Final = 107
"""Bytes of a Unix socket's path (unix(7))."""

logger = logging.getLogger(__name__)


class ZmqBus:
    """The bus of a server with several workers.

    Who the others are is read from the directory, again whenever it has changed; the files of
    workers that died are removed by :class:`target_app.lifecycle.workers.WorkerCoordinator`. A peer
    whose queue is full is passed over and delays nobody.

    ZeroMQ's own asyncio sockets cost a future for each message; here the inbox is read when the
    loop says so, and a push never waits.
    """

    def __init__(self, directory: Path, name: str, *, queued: int = QUEUED) -> None:
        self.status = BusStatus("zmq", connected=False)
        self._directory = directory
        self._own = directory / f"{name}{SUFFIX}"
        if len(str(self._own).encode()) > LONGEST_PATH:
            raise ValueError(
                f"{str(self._own)!r} is too long for a socket's path, which has at most "
                f"{LONGEST_PATH} bytes; choose a shorter run_dir"
            )
        self._queued = queued
        self._stamp = Stamp()
        self._arrivals = Arrivals(self._stamp.publisher)
        self._context: zmq.Context[zmq.Socket[bytes]] | None = None
        self._peers: dict[Path, zmq.Socket[bytes]] = {}
        self._seen_at = -1

    async def publish(self, payload: bytes) -> int:
        """See :meth:`Bus.publish`; it never waits."""
        if self._context is None:
            self.status.dropped += 1
            return 0
        self._look_around()
        packet = self._stamp.put(payload)
        handed = 0
        for peer in self._peers.values():
            with contextlib.suppress(zmq.Again):
                peer.send(packet, zmq.NOBLOCK)
                handed += 1
        self.status.published += 1
        self.status.dropped += handed < len(self._peers)
        return handed

    async def post(self, payload: bytes) -> None:
        """See :meth:`Bus.post`."""
        await self.publish(payload)

    async def run(self, deliver: Deliver, ready: asyncio.Event) -> None:
        """See :meth:`Bus.run`."""
        self._context = context = zmq.Context()
        inbox = self._socket(zmq.PULL)
        inbox.bind(f"ipc://{self._own}")
        loop = asyncio.get_running_loop()

        def take() -> None:
            # The descriptor tells of a change only: whatever is there has to be taken now, or
            # asked for again.
            for _ in range(CHUNK):
                try:
                    packet = inbox.recv(zmq.NOBLOCK)
                except zmq.Again:
                    return
                self._take(packet, deliver)
            again.append(loop.call_soon(take))
            del again[:-1]

        again: list[asyncio.Handle] = []
        loop.add_reader(inbox.FD, take)
        take()
        self._look_around()
        self.status.connected = True
        ready.set()
        try:
            await asyncio.Event().wait()
        finally:
            loop.remove_reader(inbox.FD)
            for handle in again:
                handle.cancel()
            self._context = None
            self.status.connected = False
            self._own.unlink(missing_ok=True)
            inbox.close(linger=0)
            for peer in self._peers.values():
                peer.close(linger=LINGER_MS)
            await asyncio.shield(asyncio.to_thread(context.term))

    def _take(self, packet: bytes, deliver: Deliver) -> None:
        self.status.received += 1
        try:
            payload = self._arrivals.take(packet)
            self.status.missed = self._arrivals.missed
            if payload is not None:
                deliver(payload)
        except Exception:
            logger.exception("a payload of another worker")

    def _look_around(self) -> None:
        # One stat for each payload, which takes a microsecond; nothing is missed by polling late.
        changed_at = self._directory.stat().st_mtime_ns
        if changed_at == self._seen_at:
            return
        self._seen_at = changed_at
        there = {path for path in self._directory.glob(f"*{SUFFIX}") if path != self._own}
        for path in self._peers.keys() - there:
            self._peers.pop(path).close(linger=0)
        for path in there - self._peers.keys():
            self._peers[path] = peer = self._socket(zmq.PUSH)
            # From here on the socket queues what is pushed, connected already or not.
            peer.connect(f"ipc://{path}")
        self.status.peers = len(self._peers)

    def _socket(self, kind: int) -> zmq.Socket[bytes]:
        assert self._context is not None
        socket = self._context.socket(kind)
        socket.setsockopt(zmq.SNDHWM, self._queued)
        socket.setsockopt(zmq.RCVHWM, self._queued)
        return socket
