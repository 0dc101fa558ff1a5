"""What is read from an HTTP client, and whether it reads its responses."""

from __future__ import annotations

import contextlib
import fcntl
import struct
import termios
from typing import TYPE_CHECKING

from uvicorn.protocols.http.flow_control import FlowControl

if TYPE_CHECKING:
    import asyncio


class HeldFlow(FlowControl):
    """uvicorn's flow control, for a protocol that must not read at times, whatever uvicorn wants.

    uvicorn resumes reading at each response, and whenever an application asks for a body.
    """

    is_held = False

    def hold(self) -> None:
        """Stop reading until it is released."""
        if not self.is_held:
            self.is_held = True
            if not self.read_paused:
                self._transport.pause_reading()

    def release(self) -> None:
        """Resume reading if uvicorn wants that."""
        if self.is_held:
            self.is_held = False
            if not self.read_paused:
                self._transport.resume_reading()

    def pause_reading(self) -> None:
        """Note that uvicorn wants to stop reading."""
        if self.is_held:
            self.read_paused = True
        else:
            super().pause_reading()

    def resume_reading(self) -> None:
        """Note that uvicorn wants to resume reading."""
        if self.is_held:
            self.read_paused = False
        else:
            super().resume_reading()


class Unread:
    """A watch that cuts a client if it reads nothing of what waits for ``seconds``; 0 = never.

    It runs only while nothing is written: what waits then shrinks if the client reads at all,
    however slowly.
    """

    __slots__ = ("_seconds", "_size", "_timer", "_transport")

    def __init__(self, transport: asyncio.Transport, seconds: float) -> None:
        self._transport = transport
        self._seconds = seconds
        self._size = 0
        self._timer: asyncio.TimerHandle | None = None

    def watch(self, loop: asyncio.AbstractEventLoop) -> None:
        """Start watching, unless it already does."""
        if self._timer is None and self._seconds and self._transport.get_write_buffer_size():
            self._size = unread_bytes(self._transport)
            self._timer = loop.call_later(self._seconds, self._look, loop)

    def forget(self) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _look(self, loop: asyncio.AbstractEventLoop) -> None:
        self._timer = None
        if unread_bytes(self._transport) < self._size:
            self.watch(loop)
        else:
            self._transport.abort()


def unread_bytes(transport: asyncio.Transport) -> int:
    """Return how many bytes wait for the client here and, if the kernel reports it, in its buffer.

    The kernel takes more only once a third of its buffer is free, so what waits here alone does not
    change for a long time with a client that reads slowly.
    """
    here = transport.get_write_buffer_size()
    with contextlib.suppress(OSError, ValueError):
        fileno = transport.get_extra_info("socket").fileno()
        (sent,) = struct.unpack("i", fcntl.ioctl(fileno, termios.TIOCOUTQ, bytes(4)))
        return here + int(sent)
    return here
