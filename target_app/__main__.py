"""``python -m target_app``: the server under uvicorn, with uvloop and its leanest WebSockets.

Exit status: 0 after a drain, be it that everyone left or that the rest was closed; 130 if a second
SIGINT forced the end; 2 for a wrong flag or setting, or an address that cannot be listened on. (A
stock ``uvicorn target_app.app:app`` drains alike, but ends by raising the signal once more, so its
parent sees it die of SIGTERM.)
"""

from __future__ import annotations

import argparse
import os
import signal
import socket
import sys
from typing import TYPE_CHECKING, Final

import uvicorn
from pydantic import ValidationError
from uvicorn.supervisors import Multiprocess

from target_app.app import create_app
from target_app.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from types import FrameType

    from pydantic_core import ErrorDetails

    from target_app.app import TargetApp

START_SECONDS: Final = 60.0
EXIT_OK: Final = 0
EXIT_USAGE: Final = 2
EXIT_INTERRUPTED: Final = 130

DESCRIBED_APART: Final = ("deflate",)
"""Settings whose flag takes no value."""


class AnnouncedServer(uvicorn.Server):
    """A uvicorn server that says where it listens, at any log level, once it does."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print the address on standard error."""
        await super().startup(sockets=sockets)
        if self.started:
            for listener in sockets or []:
                _announce(listener)


class AnnouncedMultiprocess(Multiprocess):
    """A uvicorn supervisor that says where it listens once every worker does."""

    def init_processes(self) -> None:
        """Start the workers, wait until they serve, then print the address."""
        super().init_processes()
        for process in self.processes:
            process.wait_until_ready(START_SECONDS, self.should_exit)
        for listener in self.sockets:
            _announce(listener)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; return the exit status."""
    parser = _parser()
    given = {k: v for k, v in vars(parser.parse_args(arguments)).items() if v is not None}
    try:
        settings = Settings(**given)
        app = create_app(settings)
    except ValidationError as error:
        parser.error("; ".join(_told(problem, given) for problem in error.errors()))
    except (OSError, ValueError) as error:
        parser.error(str(error))
    try:
        listener = _bind(settings)
    except OSError as error:
        print(
            f"cannot listen on {_address(settings.host, settings.port)}: "
            f"{error.strerror or error}; choose another with --host and --port "
            "(--port 0 takes any free one)",
            file=sys.stderr,
        )
        return EXIT_USAGE

    with listener:
        if settings.workers > 1:
            return _serve_with_workers(settings, listener)
        return _serve_alone(app, listener)


def _serve_alone(app: TargetApp, listener: socket.socket) -> int:
    server = AnnouncedServer(_config(app, app.settings))

    def on_signal(signum: int, _frame: FrameType | None) -> None:
        # uvicorn raises what it caught once more when it has stopped, and the default handlers
        # would end the process by that signal. Before it has started, they are right.
        if not server.started:
            sys.exit(128 + signum)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, on_signal)
    server.run(sockets=[listener])
    return EXIT_INTERRUPTED if app.drain.forced else EXIT_OK


def _serve_with_workers(settings: Settings, listener: socket.socket) -> int:
    # Exactly what ``uvicorn target_app.app:app --workers N`` does: each worker imports the
    # application anew, and has its settings from the environment.
    os.environ.update(settings.as_environment())
    supervisor = AnnouncedMultiprocess(_config("target_app.app:app", settings), [listener])
    supervisor.run()
    # The first signal ended the run; what came after it is still in the queue.
    return EXIT_INTERRUPTED if signal.SIGINT in supervisor.signal_queue else EXIT_OK


def _config(app: TargetApp | str, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        ws="websockets-sansio",
        access_log=False,
        log_level=settings.log_level,
        backlog=settings.backlog,
        workers=settings.workers,
        ws_max_size=settings.ws_max_size,
        ws_ping_interval=settings.ws_ping_interval or None,
        ws_ping_timeout=settings.ws_ping_timeout,
        ws_per_message_deflate=settings.deflate,
        # For a slow HTTP client alone: the drain has ended every WebSocket by then.
        timeout_graceful_shutdown=10,
        # After uvicorn's own 5 s the master kills a worker that is merely busy, connections and
        # all, and takes one that is slow to start for one that never will.
        timeout_worker_healthcheck=60,
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m target_app",
        usage="%(prog)s [--port N] [--workers N] [other options]; see --help",
        description="The reference WebSocket server.",
        epilog="Each flag can also be given in the environment, as TARGET_PORT for --port.",
        allow_abbrev=False,
    )
    for name, field in Settings.model_fields.items():
        if name in DESCRIBED_APART:
            continue
        # Settings knows what is valid; here a value is only text.
        parser.add_argument(
            f"--{name.replace('_', '-')}",
            metavar=_placeholder(name, field.annotation),
            help=f"{field.description} ({_default(field.default)})",
        )
    parser.add_argument(
        "--deflate",
        action=argparse.BooleanOptionalAction,
        help=f"{Settings.model_fields['deflate'].description} (default: off)",
    )
    return parser


def _default(value: object) -> str:
    # What nothing, or 0, means stands at the end of the description.
    return f"default: {value}" if value else "the default"


def _placeholder(name: str, kind: object) -> str:
    if kind is float and name.endswith(("seconds", "interval", "timeout")):
        return "SECONDS"
    return "N" if kind in (int, float) else name.rpartition("_")[2].upper()


def _told(problem: ErrorDetails, given: Mapping[str, str]) -> str:
    name = str(problem["loc"][0])
    source = f"--{name.replace('_', '-')}" if name in given else f"TARGET_{name.upper()}"
    return f"{source} {problem['input']!r}: {problem['msg']}"


def _bind(settings: Settings) -> socket.socket:
    family, kind, protocol, _, address = socket.getaddrinfo(
        settings.host, settings.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
    )[0]
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        if settings.workers == 1:
            # Not left to uvicorn: between the two calls another process could take the address.
            # Several workers are not listened for before one is there: a client would wait.
            listener.listen(settings.backlog)
    except OSError:
        listener.close()
        raise
    return listener


def _announce(listener: socket.socket) -> None:
    address = _address(*listener.getsockname()[:2])
    print(f"listening on http://{address}", file=sys.stderr, flush=True)


def _address(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


if __name__ == "__main__":
    sys.exit(main())
