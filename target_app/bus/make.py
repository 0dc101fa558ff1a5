"""The choice of the bus that a setting asks for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from target_app.bus.local import LocalBus

if TYPE_CHECKING:
    from pathlib import Path

    from target_app.bus import Bus


def make_bus(url: str, *, directory: Path, name: str) -> Bus:
    """Return the bus that ``url`` asks for: ``local``, ``zmq`` or a Redis address.

    ``directory`` is where the workers of one server meet, ``name`` the name of this one there.
    Raise :class:`ValueError` if there is no such bus.
    """
    if url == "local":
        return LocalBus()
    if url == "zmq":
        from target_app.bus.zmq import ZmqBus  # noqa: PLC0415 - one worker alone starts sooner

        return ZmqBus(directory, name)
    if url.startswith(("redis://", "rediss://", "unix://")):
        from target_app.bus.redis import RedisBus  # noqa: PLC0415 - see redis_client

        return RedisBus(url)
    raise ValueError(f"no bus {url!r}: it is local, zmq or redis://host:port/db")
