"""Telling the publications on a channel apart when nothing in them does so: no I/O."""

from __future__ import annotations

import hashlib


class Publications:
    """Names for the publications on a channel, each the same at every worker.

    A Redis server delivers publications to all its subscribers in one order, even across several
    channels. So a publication is identified by the last mark heard before it and the number of
    publications since. A new subscriber publishes a new mark, and counts like all others once it
    hears that mark itself; until then it gives what it hears names that only it has.
    """

    def __init__(self) -> None:
        self._mark = ""
        self._count = 0

    def begin(self, mark: str) -> None:
        """Start over: we have subscribed, and are about to publish ``mark``."""
        self._mark, self._count = f"before {mark}", 0

    def marked(self, mark: bytes) -> None:
        """Record that a mark was heard, whichever worker published it."""
        self._mark, self._count = hashlib.sha256(mark).hexdigest()[:32], 0

    def next(self) -> str:
        """Return the name of the publication that was just heard."""
        self._count += 1
        return f"{self._mark}:{self._count}"
