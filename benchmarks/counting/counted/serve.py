"""Serve an application without a network, put the load on it, and write what was counted."""

from __future__ import annotations

import asyncio
import contextlib
import importlib
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .load import Clients, Load, ServerError, put_on
from .loop import IdleTimeLoop
from .meters import METERS, Meter, UnavailableError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DATE = (b"date", b"Thu, 01 Jan 1970 00:00:00 GMT")


class LoadError(Exception):
    """The application cannot be loaded or started."""


def main() -> int:
    """Do what the one argument, in JSON, asks for; return the exit status."""
    asked = json.loads(sys.argv[1])
    try:
        document = _count(asked["app"], asked["counted"], Load(**asked["load"]))
    except (LoadError, ServerError, UnavailableError) as error:
        document = {"error": str(error), "cause": type(error).__name__}
    Path(asked["result"]).write_text(json.dumps(document), encoding="utf-8")
    return "error" in document


def _count(app: str, counted: str, load: Load) -> dict[str, Any]:
    config, version = _configured(app)
    try:
        meter = METERS[counted]()
    except OSError as error:
        raise UnavailableError(f"no memory may be executed here: {error.strerror}") from None
    loop = IdleTimeLoop()
    asyncio.set_event_loop(loop)
    writes = loop.run_until_complete(_serve(config, load, meter, loop))
    return {
        "python": ".".join(map(str, sys.version_info[:3])),
        "uvicorn": version,
        "counts": meter.counts,
        "writes": writes,
    }


def _configured(app: str) -> tuple[Any, str]:
    """Return uvicorn's configuration, with the application loaded, and uvicorn's version."""
    if sys.implementation.name != "cpython" or sys.version_info < (3, 10):
        raise LoadError(f"{sys.executable} is not CPython 3.10 or newer")
    try:
        uvicorn = importlib.import_module("uvicorn")
        importer = importlib.import_module("uvicorn.importer")
        importlib.import_module("uvicorn.protocols.websockets.websockets_sansio_impl")
    except ImportError as error:
        raise LoadError(
            f"{sys.executable} has no uvicorn with websockets-sansio ({error}); "
            "install uvicorn and websockets there, or name another interpreter with --python"
        ) from None
    try:
        # uvicorn finds out for itself whether it is a factory.
        loaded = importer.import_from_string(app)
        config = uvicorn.Config(
            loaded, ws="websockets-sansio", log_level="warning", access_log=False
        )
        config.load()
    except importer.ImportFromStringError as error:
        raise LoadError(str(error)) from None
    except (Exception, SystemExit) as error:  # noqa: BLE001 - foreign code, reported in one line
        raise LoadError(f"{app} cannot be loaded: {type(error).__name__}: {error}") from None
    return config, uvicorn.__version__


@contextlib.contextmanager
def _receiving_errors(receive: Callable[[str], None], logger: logging.Logger) -> Iterator[None]:
    handler = logging.Handler(logging.ERROR)
    handler.emit = lambda record: receive(record.getMessage())  # type: ignore[method-assign]
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.removeHandler(handler)


async def _serve(config: Any, load: Load, meter: Meter, loop: IdleTimeLoop) -> dict[str, int]:  # noqa: ANN401 - uvicorn is not known here
    lifespan = config.lifespan_class(config)
    logged: list[str] = []
    with _receiving_errors(logged.append, logging.getLogger("uvicorn.error")):
        await lifespan.startup()
    if lifespan.should_exit:
        # The application's message, or a traceback's last line; then uvicorn's, that it exits.
        lines = [line for text in logged[:-1] for line in text.splitlines() if line]
        raise LoadError(
            f"the application's startup failed: {lines[-1] if lines else 'no reason given'}"
        )
    state = importlib.import_module("uvicorn.server").ServerState()
    state.default_headers = [DATE, *config.encoded_headers]

    def protocol() -> asyncio.Protocol:
        made: asyncio.Protocol = config.http_protocol_class(
            config=config, server_state=state, app_state=lifespan.state, _loop=loop
        )
        return made

    try:
        return await put_on(load, meter, Clients(loop, protocol), loop)
    finally:
        for connection in list(state.connections):
            connection.shutdown()
        await loop.idle()
        await lifespan.shutdown()
