"""The server's end of a connection that goes nowhere: it keeps what is written to it."""

from __future__ import annotations

import asyncio
from typing import Any


class NoNetwork(asyncio.Transport):
    """A transport whose peer is in the same process, and reads everything at once.

    Attributes:
        writes: how often the server wrote since :meth:`make_room`.
    """

    __slots__ = ("_closing", "_loop", "_paused", "_protocol", "_unread", "_written", "writes")

    def __init__(self, loop: asyncio.AbstractEventLoop, number: int) -> None:
        super().__init__({"peername": ("127.0.0.1", 1024 + number), "sockname": ("127.0.0.1", 80)})
        self._loop = loop
        self._protocol: Any = None
        self._closing = False
        self._paused = False
        self._unread: list[bytes] = []
        self.make_room(1)

    def connect(self, protocol: asyncio.Protocol) -> None:
        """Become the transport of ``protocol``."""
        self._protocol = protocol
        protocol.connection_made(self)

    def receive(self, data: bytes) -> None:
        """Let the server read ``data`` in a separate loop iteration, as soon as it reads."""
        self._unread.append(data)
        self._loop.call_soon(self._read)

    def _read(self) -> None:
        if self._unread and self.is_reading():
            self._protocol.data_received(self._unread.pop(0))

    def make_room(self, writes: int) -> None:
        """Forget what was written, and keep ``writes`` writes without allocating for them."""
        self._written: list[bytes] | None = [b""] * writes
        self.writes = 0

    def keep_nothing(self) -> None:
        """Forget what was written, and keep nothing until there is room again."""
        self._written = None

    def written(self) -> bytes:
        """Return everything the server wrote that was kept."""
        return b"".join(self._written or ())

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Keep ``data``: on a socket with room in its buffer this is one system call."""
        if self._written is None:
            return
        if self.writes < len(self._written):
            self._written[self.writes] = bytes(data)
        else:
            self._written.append(bytes(data))
        self.writes += 1

    def writelines(self, list_of_data: Any) -> None:  # noqa: ANN401 - asyncio's own
        """Keep all of it as one write."""
        self.write(b"".join(list_of_data))

    def pause_reading(self) -> None:
        """Let incoming data wait."""
        self._paused = True

    def resume_reading(self) -> None:
        """Read the waiting data."""
        self._paused = False
        if self._unread:
            self._loop.call_soon(self._read)

    def is_reading(self) -> bool:
        """Return whether incoming data is read."""
        return not (self._paused or self._closing)

    def close(self) -> None:
        """Notify the protocol, in a separate loop iteration, that the connection is gone."""
        if not self._closing:
            self._closing = True
            self._loop.call_soon(self._protocol.connection_lost, None)

    def abort(self) -> None:
        """Close: nothing waits to be written."""
        self.close()

    def is_closing(self) -> bool:
        """Return whether the connection is ending."""
        return self._closing

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Pass incoming data to ``protocol`` from now on."""
        self._protocol = protocol

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Return the protocol that receives incoming data."""
        protocol: asyncio.BaseProtocol = self._protocol
        return protocol

    def get_write_buffer_size(self) -> int:
        """Return 0: nothing waits."""
        return 0

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """Return asyncio's own limits."""
        return 16 * 1024, 64 * 1024

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """Do nothing: the limits are never reached."""

    def can_write_eof(self) -> bool:
        """Return True: the end can be written, as on TCP."""
        return True

    def write_eof(self) -> None:
        """Do nothing: the peer notices it at the end."""
