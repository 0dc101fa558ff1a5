"""What was read from a client but not parsed yet, taken a given number of frames at a time.

One read of the socket brings up to 256 kB, which may be 40,000 frames. Parsing them in one go would
hold up everyone else, so the ends of the frames are found first, which takes a tenth of the time.

Parsing one large frame would do so too: it is copied, unmasked and copied again when its last byte
has arrived. It is split into fragments on the way (RFC 6455 §5.4), as any proxy may do.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Generator

LONGEST_HEAD: Final = 14
"""Maximum number of bytes of a frame before its payload (RFC 6455 §5.2)."""

SHORTEST_FRAME: Final = 6
"""Minimum number of bytes of a client's frame."""

FRAGMENT_BYTES: Final = 2**16
"""Size of a fragment of a large frame: a multiple of 4, so that the mask starts over in each."""

MASK_BYTES: Final = 4
FIN: Final = 0x80
OF_MESSAGES: Final = frozenset({0, 1, 2})
"""Opcodes of frames that may be fragments: continuation, text, binary (RFC 6455 §5.2)."""


class Backlog:
    """The bytes of a stream of frames, taken a few frames at a time, large ones as fragments.

    If the stream starts in the middle of a frame, the ends of frames are unknown: only a few bytes
    are then taken at a time, until the parser that they go to is found between two frames.
    """

    __slots__ = ("_behind", "_data", "_head", "_is_lost", "_largest", "_last", "_left", "_mask")

    def __init__(self, *, is_between_frames: bool, largest: int | None = None) -> None:
        """Start empty.

        Args:
            is_between_frames: whether what is added starts with a frame.
            largest: bytes of a frame above which the parser refuses it by its head alone.
        """
        self._is_lost = not is_between_frames
        self._largest = largest
        self._data = memoryview(b"")
        self._head = b""  # of a frame, as much as has arrived
        self._left = 0  # bytes of a payload, or of a fragment, that are still to be taken
        self._behind = 0  # bytes of a large frame after that fragment
        self._mask = b""  # of a large frame
        self._last = 0  # first byte of its last fragment

    def __len__(self) -> int:
        return len(self._data)

    @property
    def is_done(self) -> bool:
        """Return whether everything was taken, and no frame only in part."""
        return not (self._data or self._head or self._left or self._behind or self._is_lost)

    def look_at(self, parser: Generator[None]) -> None:
        """Check whether ``parser``, which has everything that was taken, is between frames."""
        if self._is_lost:
            self._is_lost = not is_between_frames(parser)

    def add(self, data: bytes) -> None:
        """Add what was read."""
        self._data = memoryview(bytes(self._data) + data if self._data else data)

    def take(self, frames: int) -> bytes:
        """Take what ends the next ``frames`` frames or fragments; everything, if it ends fewer."""
        data, size = self._data, len(self._data)
        if self._is_lost:
            self._data = data[frames * SHORTEST_FRAME :]
            return bytes(data[: frames * SHORTEST_FRAME])
        # What was read is taken in one piece, except where another head is put in.
        parts: list[bytes | memoryview] = []
        head: bytes | None
        begin = end = 0
        while frames and end < size:
            if not self._left:
                start = end
                if self._behind:
                    head = self._next_head()
                else:
                    end, head = self._take_head(start)
                if head is not None:
                    parts += (data[begin:start], head)
                    begin = end
            step = min(self._left, size - end)
            self._left -= step
            end += step
            if not (self._left or self._head):
                frames -= 1
        self._data = data[end:]
        return b"".join((*parts, data[begin:end])) if parts else bytes(data[:end])

    def _take_head(self, start: int) -> tuple[int, bytes | None]:
        # Return where the head ends, or how far it has arrived, and what to parse in place of those
        # bytes, None if they are parsed as they were read.
        had = len(self._head)
        head = self._head + bytes(self._data[start : start + LONGEST_HEAD - had])
        size, payload = _sizes(head)
        if len(head) < size:
            self._head = head
            return len(self._data), b""
        self._left = payload
        end = start + size - had
        if not had and payload <= FRAGMENT_BYTES:
            return end, None
        self._head, head = b"", head[:size]
        if self._is_to_be_split(head, payload):
            self._mask = head[-MASK_BYTES:]
            self._last = head[0] & FIN
            self._left, self._behind = FRAGMENT_BYTES, payload - FRAGMENT_BYTES
            return end, _head(head[0] & ~FIN, FRAGMENT_BYTES, self._mask)
        return end, head

    def _is_to_be_split(self, head: bytes, payload: int) -> bool:
        is_refused = self._largest is not None and payload > self._largest
        is_masked = bool(head[1] & 0x80)
        is_of_message = head[0] & 0x0F in OF_MESSAGES
        return payload > FRAGMENT_BYTES and is_masked and is_of_message and not is_refused

    def _next_head(self) -> bytes:
        # Start the next fragment of a large frame.
        self._left = min(self._behind, FRAGMENT_BYTES)
        self._behind -= self._left
        return _head(0 if self._behind else self._last, self._left, self._mask)


def _head(first: int, payload: int, mask: bytes) -> bytes:
    # Return the head of a masked frame.
    if payload < 126:
        return bytes((first, 0x80 | payload)) + mask
    if payload < 2**16:
        return bytes((first, 0x80 | 126)) + payload.to_bytes(2) + mask
    return bytes((first, 0x80 | 127)) + payload.to_bytes(8) + mask


def is_between_frames(parser: Generator[None]) -> bool:
    """Return whether a ``websockets`` parser waits for the beginning of a frame.

    It then waits for the end of the stream; within a frame, for a number of bytes.
    """
    waits: object = parser
    while (inner := getattr(waits, "gi_yieldfrom", None)) is not None:
        waits = inner
    return getattr(waits, "__name__", "") == "at_eof"


def _sizes(head: bytes) -> tuple[int, int]:
    # Return the size of a head and that of the payload it announces, which is 0 for an incomplete
    # head.
    if len(head) < 2:
        return 2, 0
    masked, short = head[1] & 0x80, head[1] & 0x7F
    extended = {126: 2, 127: 8}.get(short, 0)
    size = 2 + extended + (4 if masked else 0)
    if len(head) < size or not extended:
        return size, short if len(head) >= size else 0
    return size, int.from_bytes(head[2 : 2 + extended])
