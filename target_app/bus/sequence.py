"""Numbering what is published, so that a receiver knows what it missed: no socket, no clock."""

from __future__ import annotations

import os
import struct
from typing import Final

HEADER: Final = struct.Struct("!8sQ")


class Stamp:
    """The stamp of a publisher: puts its id and a number, from 1 up, in front of each payload."""

    def __init__(self) -> None:
        self.publisher = os.urandom(8)
        self._number = 0

    def put(self, payload: bytes) -> bytes:
        """Return ``payload`` as a packet."""
        self._number += 1
        return HEADER.pack(self.publisher, self._number) + payload


class Arrivals:
    """The receiver of stamped packets: removes the stamps and counts what is missing between them.

    What was published before the first packet of a publisher arrived counts as before our time.
    """

    def __init__(self, own: bytes) -> None:
        self._own = own
        self._last: dict[bytes, int] = {}
        self.missed = 0

    def take(self, packet: bytes) -> bytes | None:
        """Return the payload of ``packet``, or None if we published it or already received it.

        Packets of one publisher arrive in order, and may arrive twice: a publisher that lost its
        connection does not know whether its last ones were received. Raise :class:`ValueError` if
        it is not a packet.
        """
        if len(packet) < HEADER.size:
            raise ValueError(f"a packet of {len(packet)} bytes has no header")
        publisher, number = HEADER.unpack_from(packet)
        if publisher == self._own:
            return None
        last = self._last.get(publisher, number - 1)
        if number <= last:
            return None
        self.missed += number - last - 1
        self._last[publisher] = number
        return packet[HEADER.size :]
