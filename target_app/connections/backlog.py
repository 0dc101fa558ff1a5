"""What was read of a client and not parsed yet, in parts of so many frames.

One read of the socket brings up to 256 kB, which may be 40,000 frames. Parsing them in one go would
hold everybody else up, so the ends of the frames are found first, which takes a tenth of the time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

LONGEST_HEAD: Final = 14
"""Bytes of a frame before its payload (RFC 6455 §5.2)."""

SHORTEST_FRAME: Final = 6
"""Bytes that a client's frame has at least."""


class Backlog:
    """The bytes of a stream of frames, taken a few frames at a time.

    Given the stream from the middle of a frame on, nobody knows where frames end: only a few bytes
    are taken at a time then, until the parser that they go to is seen between two frames.
    """

    __slots__ = ("_data", "_head", "_is_lost", "_left")

    def __init__(self, *, is_between_frames: bool) -> None:
        self._is_lost = not is_between_frames
        self._data = memoryview(b"")
        self._head = b""  # of a frame, as far as it was taken
        self._left = 0  # bytes of a payload that are still to be taken

    def __len__(self) -> int:
        return len(self._data)

    @property
    def is_done(self) -> bool:
        """Return whether all was taken, and no frame only in part."""
        return not (self._data or self._head or self._left or self._is_lost)

    def look_at(self, parser: Generator[None]) -> None:
        """Find out from ``parser``, which has all that was taken, whether it is between frames."""
        if self._is_lost:
            self._is_lost = not is_between_frames(parser)

    def add(self, data: bytes) -> None:
        """Add what was read."""
        self._data = memoryview(bytes(self._data) + data if self._data else data)

    def take(self, frames: int) -> bytes:
        """Take as much as ends so many frames; all of it, if it ends fewer."""
        data, size = self._data, len(self._data)
        if self._is_lost:
            self._data = data[frames * SHORTEST_FRAME :]
            return bytes(data[: frames * SHORTEST_FRAME])
        end = 0
        while frames and end < size:
            if not self._left:
                end = self._take_head(end)
            step = min(self._left, size - end)
            self._left -= step
            end += step
            if not (self._left or self._head):
                frames -= 1
        self._data = data[end:]
        return bytes(data[:end])

    def _take_head(self, start: int) -> int:
        # Return where the head ends, or how far it has come.
        had = len(self._head)
        head = self._head + bytes(self._data[start : start + LONGEST_HEAD - had])
        size, payload = _sizes(head)
        if len(head) < size:
            self._head = head
            return len(self._data)
        self._head, self._left = b"", payload
        return start + size - had


def is_between_frames(parser: Generator[None]) -> bool:
    """Return whether a ``websockets`` parser waits for the beginning of a frame.

    It waits for the end of the stream then, and within a frame for so many bytes.
    """
    waits: object = parser
    while (inner := getattr(waits, "gi_yieldfrom", None)) is not None:
        waits = inner
    return getattr(waits, "__name__", "") == "at_eof"


def _sizes(head: bytes) -> tuple[int, int]:
    # Return the bytes of a head and those of the payload that it announces, which is 0 for a head
    # that is not whole.
    if len(head) < 2:
        return 2, 0
    masked, short = head[1] & 0x80, head[1] & 0x7F
    extended = {126: 2, 127: 8}.get(short, 0)
    size = 2 + extended + (4 if masked else 0)
    if len(head) < size or not extended:
        return size, short if len(head) >= size else 0
    return size, int.from_bytes(head[2 : 2 + extended])
