"""The command line ``swarmgate``: each package contributes commands, ``serve`` is a process."""

import os
import sys
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from typing import Annotated, Any, Final

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from loadtests.run.child_process import own_environment, own_module
from reports.outcome import ExitStatus

MODULES: Final = {
    "run": "loadtests.cli",
    "scenarios": "loadtests.cli",
    "doctor": "loadtests.cli",
    "report": "reports.cli",
    "claims": "benchmarks.commands.claims",
    "compare": "benchmarks.commands.compare",
    "gate": "benchmarks.commands.gate",
    "capacity": "benchmarks.commands.capacity",
    "scaling": "benchmarks.commands.scaling",
    "matrix": "benchmarks.commands.matrix",
    "count": "benchmarks.commands.count",
    "calibrate": "benchmarks.commands.calibrate",
}
"""The module of each command, in the order in which help lists them."""

# Packages without which the server does not start; the load generator needs none of them.
_OF_THE_SERVER: Final = (
    *("uvicorn", "fastapi", "anyio", "httptools", "opentelemetry", "prometheus_client"),
    *("pydantic_settings", "zmq", "redis"),
)


class _Commands(TyperGroup):
    """A group that imports only what the called command needs: all take half a second together."""

    def __init__(self, **options: Any) -> None:  # noqa: ANN401 - as in Typer
        super().__init__(**options)
        self.commands = {name: TyperCommand(name) for name in MODULES} | dict(self.commands)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:  # noqa: ANN401 - of Typer's own click
        """Return the command with that name, or None if there is none."""
        if cmd_name in MODULES:
            self.commands.update(get_group(import_module(MODULES[cmd_name]).app).commands)
        return super().get_command(ctx, cmd_name)


app = typer.Typer(
    name="swarmgate",
    cls=_Commands,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _show_version(wanted: bool) -> None:
    if wanted:
        sys.stdout.write(f"swarmgate {version('swarmgate')}\n")
        raise typer.Exit


@app.callback()
def swarmgate(
    *,
    version: Annotated[
        bool,
        typer.Option(
            "--version", callback=_show_version, is_eager=True, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Load-test WebSocket servers with real connections; get a verdict on every scaling claim."""


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)
def serve(context: typer.Context) -> None:
    """Run the reference server; `swarmgate serve --help` lists its options."""
    if missing := next((it for it in _OF_THE_SERVER if find_spec(it) is None), None):
        sys.stderr.write(
            f"swarmgate: serve needs the package {missing}; pip install 'swarmgate[server]'\n"
        )
        raise typer.Exit(ExitStatus.USAGE)
    # A separate process: the server under test knows nothing about what measures it.
    command = [*own_module("target_app"), *context.args]
    os.execve(command[0], command, own_environment())  # noqa: S606


def main() -> None:
    """Run the command line; report a usage error in one line, with status 2."""
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as error:
        # Without a command, the help has already been shown.
        if str(error):
            sys.stderr.write(f"swarmgate: {_one_line(error)}\n")
        status = ExitStatus.USAGE
    sys.exit(status)


def _one_line(error: typer.TyperException) -> str:
    message = error.format_message() if isinstance(error, typer.BadParameter) else str(error)
    return f"{' '.join(message.split()).rstrip('.')}; see swarmgate --help"
