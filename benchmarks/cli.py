"""The command line ``swarmgate``: each room contributes commands, ``serve`` is a process."""

import os
import sys

import typer

from benchmarks.commands import calibrate, capacity, claims, compare, count, gate, matrix, scaling
from loadtests import cli as loadtests_cli
from loadtests.own_module import own_environment, own_module
from reports import cli as reports_cli
from reports.exit_status import ExitStatus

app = typer.Typer(
    name="swarmgate",
    help="Load-test WebSocket servers with real connections; a verdict on every scaling claim.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(loadtests_cli.app)
app.add_typer(reports_cli.app)


@app.command(
    context_settings={"ignore_unknown_options": True, "allow_extra_args": True},
    add_help_option=False,
)
def serve(context: typer.Context) -> None:
    """Run the reference server; `swarmgate serve --help` lists its options."""
    # A process of its own: the server under test knows nothing of what measures it.
    command = [*own_module("target_app"), *context.args]
    os.execve(command[0], command, own_environment())  # noqa: S606


for contributed in (claims, calibrate, compare, count, gate, matrix, scaling, capacity):
    app.add_typer(contributed.app)


def main() -> None:
    """Run the command line; a wrong command is told in one line, status 2."""
    try:
        status = app(standalone_mode=False)
    except typer.TyperException as error:
        sys.stderr.write(f"swarmgate: {_one_line(error)}\n")
        status = ExitStatus.USAGE
    sys.exit(status)


def _one_line(error: typer.TyperException) -> str:
    message = error.format_message() if isinstance(error, typer.BadParameter) else str(error)
    return f"{' '.join(message.split()).rstrip('.')}; see swarmgate --help"
