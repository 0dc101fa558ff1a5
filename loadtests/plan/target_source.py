"""Where the server under test comes from: started by a command, or running already."""

import shlex
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Final

from loadtests.errors import UsageError

START_SECONDS: Final = 30.0


@dataclass(frozen=True, slots=True)
class TargetSource:
    """Where the server under test comes from.

    Attributes:
        command: what starts it, ``{port}`` in its words; empty when it runs already.
        pids: roots of its process trees; empty to look for what listens on the URL's port.
        environment: variables that it has besides our own, or instead.
        directory: where it is started; None for where we are.
        ready: a path that it answers with a 2xx status (RFC 9110 section 15.3) once it is ready;
            None if it is as soon as it listens.
        start_seconds: how long that may take.
    """

    command: tuple[str, ...] = ()
    pids: tuple[int, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str | None = None
    ready: str | None = None
    start_seconds: float = START_SECONDS

    def with_words(self, *words: str) -> "TargetSource":
        """Give the same with further words at the end of its command."""
        return replace(self, command=(*self.command, *words))


def split_command(template: str) -> tuple[str, ...]:
    """Split a target's command as a shell would; ``{port}`` in it is where the port goes.

    Raises:
        UsageError: unbalanced quotes, no words, or no ``{port}``.
    """
    try:
        words = shlex.split(template)
    except ValueError as error:
        raise UsageError(f"target command {template!r}: {error}") from None
    if not any("{port}" in word for word in words):
        raise UsageError(
            f"target command {template!r} has no {{port}}; "
            "write it where the server takes the port to listen on"
        )
    return tuple(words)
