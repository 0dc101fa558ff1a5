"""A port that stays free of listeners, whoever else looks for one meanwhile."""

import socket
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def nobody_listens() -> Iterator[int]:
    """Yield a port of 127.0.0.1 that refuses connections for as long as the context lasts.

    It is bound, so that nobody else gets it, and not listened on.
    """
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        port: int = held.getsockname()[1]
        yield port
