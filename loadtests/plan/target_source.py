"""The source of the server under test: started by a command, or already running."""

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Annotated, Final

from pydantic import ConfigDict, Field
from pydantic.dataclasses import dataclass as pydantic_dataclass

from loadtests.plan.forms import SECONDS, TEXT, pairs
from loadtests.plan.option import Form, Group, Kind, Option, Scope

START_SECONDS: Final = 30.0


def split_command(template: str) -> tuple[str, ...]:
    """Split a target's command as a shell would; ``{port}`` in it marks where the port goes.

    Raises:
        ValueError: unbalanced quotes, no words, or no ``{port}``.
    """
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise ValueError(f"command {template!r}: {error}") from None
    if not any("{port}" in word for word in words):
        raise ValueError(
            f"command {template!r} has no {{port}}; "
            "write it where the server takes the port to listen on"
        )
    return tuple(words)


def _read_pids(texts: Sequence[str]) -> tuple[int, ...]:
    try:
        return tuple(int(text) for text in texts)
    except ValueError:
        raise ValueError(f"{', '.join(texts)!r} is not a process ID") from None


COMMAND: Final = Form(Kind.TEXT, split_command, shlex.join, shlex.join)
PIDS: Final = Form(
    Kind.LIST, _read_pids, lambda it: [*map(str, it)], lambda it: ", ".join(map(str, it))
)


@pydantic_dataclass(frozen=True, slots=True, config=ConfigDict(use_attribute_docstrings=True))
class TargetSource:
    """The source of the server under test."""

    command: Annotated[
        tuple[str, ...],
        Option(Group.TARGET, COMMAND, name="target_cmd", metavar="COMMAND", scope=Scope.RUN),
    ] = ()
    """Start the server with this command; {port} marks where its port goes."""

    pids: Annotated[
        tuple[int, ...],
        Option(
            Group.TARGET,
            PIDS,
            name="pid",
            default="the local process that listens on the port",
            metavar="PID",
            scope=Scope.RUN,
        ),
    ] = ()
    """Watch this process and those it starts."""

    environment: Annotated[
        Mapping[str, str],
        Option(
            Group.TARGET,
            pairs("NAME=VALUE"),
            name="target_env",
            metavar="NAME=VALUE",
            scope=Scope.RUN,
        ),
    ] = Field(default_factory=dict)
    """Environment variable for the server, added to ours or replacing one. May be repeated."""

    directory: Annotated[
        str | None,
        Option(
            Group.TARGET, TEXT, name="target_dir", metavar="DIR", default="here", scope=Scope.RUN
        ),
    ] = None
    """Directory to start the server in."""

    ready: Annotated[
        str | None,
        Option(Group.TARGET, TEXT, name="target_ready", metavar="/PATH", scope=Scope.RUN),
    ] = None
    """The server is ready once GET of this path has a 2xx status (RFC 9110 section 15.3)."""

    start_seconds: Annotated[
        float,
        Option(Group.TARGET, SECONDS, name="target_timeout", metavar="TIME", scope=Scope.RUN),
    ] = START_SECONDS
    """How long the server may take until it listens and is ready."""

    def with_words(self, *words: str) -> "TargetSource":
        """Return a copy with further words at the end of its command."""
        return replace(self, command=(*self.command, *words))
