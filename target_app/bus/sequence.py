"""Numbering what is published, so that a receiver knows what it missed: no socket, no clock."""

from __future__ import annotations

import os
import struct
from typing import Final

HEADER: Final = struct.Struct("!8sQ")


class Stamp:
    """Puts the publisher's id and a number, from 1 on, before each payload."""

    def __init__(self) -> None:
        self.publisher = os.urandom(8)
        self._number = 0

    def put(self, payload: bytes) -> bytes:
        """Return ``payload`` as a packet."""
        self._number += 1
        return HEADER.pack(self.publisher, self._number) + payload


class Arrivals:
    """Takes the stamps off, and counts what is missing between them.

    What was published before the first packet of a publisher arrived counts as before our time.
    """

    def __init__(self, own: bytes) -> None:
        self._own = own
        self._last: dict[bytes, int] = {}
        self.missed = 0

    def take(self, packet: bytes) -> bytes | None:
        """Return the payload of ``packet``, None if we published it ourselves or had it already.

        Packets of one publisher come in their order, and may come twice: a publisher who lost his
        connection does not know whether his last ones were taken. Raise :class:`ValueError` if it
        is no packet.
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
