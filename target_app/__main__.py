"""``python -m target_app``: the server under uvicorn, with uvloop and its leanest WebSockets.

Exit status: 0 after a drain, whether all clients left or the remaining ones were closed; 1 if a
task of the server failed; 130 if a second SIGINT forced the end; 2 for a wrong flag or setting, or
an address that cannot be listened on; 3 if the server, or a worker, could not start. (A stock
``uvicorn target_app.app:app`` drains the same way, but ends by raising the signal again, so its
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

from target_app import logs
from target_app.app import EXIT_USAGE, STARTUP_FAILURE, create_app
from target_app.connections.bounded import BoundedWebSocket, bounded_http
from target_app.lifecycle.supervisor import Supervisor
from target_app.logs import address_of
from target_app.settings import Settings, problems_in
from target_app.telemetry import as_set_up

if TYPE_CHECKING:
    from collections.abc import Sequence
    from types import FrameType

    from target_app.app import TargetApp

EXIT_OK: Final = 0
EXIT_FAILED: Final = 1
EXIT_INTERRUPTED: Final = 130


class AnnouncedServer(uvicorn.Server):
    """A uvicorn server that prints its address once it listens, at any log level."""

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start, then print the address on standard error."""
        await super().startup(sockets=sockets)
        if self.started:
            for listener in sockets or []:
                _announce(listener)


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until stopped; return the exit status."""
    parser = _parser()
    given = {k: v for k, v in vars(parser.parse_args(arguments)).items() if v is not None}
    try:
        settings = Settings(**given)
        app = create_app(settings, telemetry=as_set_up())
    except (OSError, ValueError) as error:
        parser.error(problems_in(error, given))
    try:
        listener = _bind(settings)
    except OSError as error:
        logs.say(
            f"cannot listen on {address_of((settings.host, settings.port))}: "
            f"{error.strerror or error}; choose another with --host and --port "
            "(--port 0 takes any free one)"
        )
        return EXIT_USAGE

    with listener:
        if settings.workers > 1:
            return _serve_with_workers(settings, listener)
        return _serve_alone(app, listener)


def _serve_alone(app: TargetApp, listener: socket.socket) -> int:
    server = AnnouncedServer(_config(app, app.services.settings))

    def on_signal(signum: int, _frame: FrameType | None) -> None:
        # Once stopped, uvicorn raises the signals it caught again, and the default handlers would
        # end the process by that signal. Before it has started, that is what they should do.
        if not server.started:
            sys.exit(128 + signum)

    for signum in (signal.SIGINT, signal.SIGTERM):
        signal.signal(signum, on_signal)
    server.run(sockets=[listener])
    if app.services.failed:
        return EXIT_FAILED
    return EXIT_INTERRUPTED if app.services.drain.forced else EXIT_OK


def _serve_with_workers(settings: Settings, listener: socket.socket) -> int:
    # Exactly what ``uvicorn target_app.app:app --workers N`` does: each worker imports the
    # application anew, and reads its settings from the environment.
    os.environ.update(settings.as_environment())
    config = _config("target_app.app:app", settings)
    logs.install()
    supervisor = Supervisor(config, [listener], lambda: _announce(listener))
    supervisor.run()
    if supervisor.failed:
        return STARTUP_FAILURE
    return EXIT_INTERRUPTED if supervisor.forced else EXIT_OK


def _config(app: TargetApp | str, settings: Settings) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        loop="uvloop",
        http=bounded_http(settings.handshake_seconds),
        ws=BoundedWebSocket,
        access_log=False,
        log_level=settings.log_level,
        root_path=settings.root_path,
        backlog=settings.backlog,
        workers=settings.workers,
        ws_max_size=settings.ws_max_size,
        ws_ping_interval=settings.ws_ping_interval or None,
        ws_ping_timeout=settings.ws_ping_timeout,
        ws_per_message_deflate=settings.deflate,
        # Only for slow HTTP clients: the drain has ended every WebSocket by then.
        timeout_graceful_shutdown=10,
        # The health check waits in a pipe if the worker's interpreter, or its machine, is busy:
        # after uvicorn's 5 s the worker would be killed with all its connections.
        timeout_worker_healthcheck=settings.worker_healthcheck_seconds,
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
        flag = f"--{name.replace('_', '-')}"
        described = f"{field.description} ({_default(field.default)})"
        if field.annotation is bool:
            parser.add_argument(flag, action=argparse.BooleanOptionalAction, help=described)
        else:
            # Settings validates the values; here they are only text.
            parser.add_argument(flag, metavar=_placeholder(name, field.annotation), help=described)
    return parser


def _default(value: object) -> str:
    # The description ends with the meaning of no value, or of 0.
    if isinstance(value, bool):
        return f"default: {'on' if value else 'off'}"
    return f"default: {value}" if value else "the default"


def _placeholder(name: str, kind: object) -> str:
    if kind is float and name.endswith(("seconds", "interval", "timeout")):
        return "SECONDS"
    return "N" if kind in (int, float) else name.rpartition("_")[2].upper()


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
            # With several workers, only listen once one is up: a client would have to wait.
            listener.listen(settings.backlog)
    except OSError:
        listener.close()
        raise
    return listener


def _announce(listener: socket.socket) -> None:
    address = address_of(listener.getsockname()[:2])
    logs.say(f"listening on http://{address}")


if __name__ == "__main__":
    sys.exit(main())
