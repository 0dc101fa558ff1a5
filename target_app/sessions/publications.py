"""Which publication on a channel is which, when nothing in it says so: no I/O."""

from __future__ import annotations

import hashlib


class Publications:
    """Names what is published on a channel, each by a name that is the same at every worker.

    A Redis hands what is published to all its subscribers in one order, also of several channels.
    So a publication is known by the mark that was heard last before it and by how many came since.
    Whoever subscribes publishes a new mark, and counts like all others once he hears it himself;
    until then he calls what he hears by names that only he has.
    """

    def __init__(self) -> None:
        self._mark = ""
        self._count = 0

    def begin(self, mark: str) -> None:
        """Begin anew: we have subscribed, and are about to publish ``mark``."""
        self._mark, self._count = f"before {mark}", 0

    def marked(self, mark: bytes) -> None:
        """Note that a mark was heard, whoever published it."""
        self._mark, self._count = hashlib.sha256(mark).hexdigest()[:32], 0

    def next(self) -> str:
        """Return the name of the publication that was just heard."""
        self._count += 1
        return f"{self._mark}:{self._count}"
