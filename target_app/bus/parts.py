"""Packets in parts of bounded size, so that a bound on their number is one on their bytes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterator

PART_BYTES: Final = 2**16
PUBLISHER_BYTES: Final = 8
MORE: Final = b"+"
LAST: Final = b"."


def split(publisher: bytes, packet: bytes, part_bytes: int = PART_BYTES) -> Iterator[bytes]:
    """Yield ``packet`` of ``publisher`` as parts of at most ``part_bytes`` plus a short header."""
    last = max(0, (len(packet) - 1) // part_bytes)
    for n in range(last + 1):
        kind = LAST if n == last else MORE
        yield kind + publisher + packet[n * part_bytes : (n + 1) * part_bytes]


class Assembly:
    """An assembler of packets from their parts; those of one publisher have to arrive in order."""

    def __init__(self) -> None:
        self._begun: dict[bytes, list[bytes]] = {}

    def take(self, part: bytes) -> bytes | None:
        """Return the packet that ``part`` completes, or None if more of it is to come."""
        head = 1 + PUBLISHER_BYTES
        publisher, data = part[1:head], part[head:]
        if part[:1] == MORE:
            self._begun.setdefault(publisher, []).append(data)
            return None
        begun = self._begun.pop(publisher, None)
        return data if begun is None else b"".join([*begun, data])

    def forget(self, publisher: bytes) -> None:
        """Discard what ``publisher`` has begun and will not finish."""
        self._begun.pop(publisher, None)
