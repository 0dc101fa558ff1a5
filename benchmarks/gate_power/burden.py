"""A server that is weighed down by a known amount, to see whether the gate finds that.

Runs as ``python -m benchmarks.gate_power.burden LOOPS BYTES CALLS MODULE ARGUMENTS…``: the module
runs as it would by itself, but each incoming message costs LOOPS iterations of an empty loop and
CALLS system calls more, and each connection BYTES bytes. :data:`application` is an application that
is weighed down in the same way, for ``swarmgate count``.
"""

import importlib
import os
import runpy
import sys
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

VARIABLE: Final = "SWARMGATE_BURDEN"
"""Holds loops, bytes, calls and an application or a factory, separated by commas."""


def weigh_down(loops: int, kept_bytes: int, calls: int) -> None:
    """Make uvicorn's own protocol, and anything derived from it, do more than it has to."""
    kept: list[bytes] = []
    connect, text, binary = (
        WebSocketsSansIOProtocol.handle_connect,
        WebSocketsSansIOProtocol.handle_text,
        WebSocketsSansIOProtocol.handle_bytes,
    )

    def handle_connect(self: WebSocketsSansIOProtocol, event: Any) -> None:  # noqa: ANN401
        if kept_bytes:
            # Written to, because the kernel allocates no page for untouched memory.
            kept.append(b"x" * kept_bytes)
        connect(self, event)

    def work() -> None:
        for _ in range(loops):
            pass
        for _ in range(calls):
            os.getppid()

    def handle_text(self: WebSocketsSansIOProtocol, event: Any) -> None:  # noqa: ANN401
        work()
        text(self, event)

    def handle_bytes(self: WebSocketsSansIOProtocol, event: Any) -> None:  # noqa: ANN401
        work()
        binary(self, event)

    for name, function in (
        ("handle_connect", handle_connect),
        ("handle_text", handle_text),
        ("handle_bytes", handle_bytes),
    ):
        setattr(WebSocketsSansIOProtocol, name, function)


def _application() -> Any:  # noqa: ANN401 - an ASGI application, or what makes one
    loops, kept_bytes, calls, name = os.environ[VARIABLE].split(",")
    weigh_down(int(loops), int(kept_bytes), int(calls))
    module, _, attribute = name.partition(":")
    return getattr(importlib.import_module(module), attribute)


def __getattr__(name: str) -> Any:  # noqa: ANN401 - PEP 562
    if name == "application":
        return _application()
    raise AttributeError(name)


def main() -> None:
    """Weigh uvicorn down as the arguments say, then run the module that they name."""
    loops, kept_bytes, calls, module, *arguments = sys.argv[1:]
    weigh_down(int(loops), int(kept_bytes), int(calls))
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
