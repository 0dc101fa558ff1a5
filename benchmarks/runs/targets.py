"""Servers to be judged: started by a command, anew for each run, or already running."""

import difflib
import re
import shlex
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit, urlunsplit

from loadtests.errors import UsageError
from loadtests.plan.command_line import read_words
from loadtests.plan.plan import split_url
from loadtests.plan.run_options import OF_THE_TARGET, flag_of
from loadtests.plan.target_source import TargetSource, split_command
from loadtests.run.child_process import own_module

LOOPBACK: Final = "ws://127.0.0.1:{port}"
_PYTHON: Final = "{python}"
_REDIS: Final = "{redis}"
_PLACES: Final = ("port", "python", "redis")
_LIKE_A_PLACE: Final = re.compile(r"(?<!\$)\{(\w+)\}")


@dataclass(frozen=True, slots=True)
class Target:
    """A server that loads are put on.

    Attributes:
        name: its name in tables and in the names of records.
        source: what starts it; empty if it already runs.
        base: its address without a path, with ``{port}`` in it if it is started.
        paths: paths of loads that it serves under another name.
        flags: further flags of ``swarmgate run`` for each load on it, such as those for logging in.
        warmup: how long the same load runs first, as a flag.
    """

    name: str
    source: TargetSource
    base: str = LOOPBACK
    paths: Mapping[str, str] = field(default_factory=dict)
    flags: tuple[str, ...] = ()
    warmup: str = "0s"

    @property
    def is_fresh(self) -> bool:
        """Whether each run gets its own process of it."""
        return bool(self.source.command)

    @property
    def needs_redis(self) -> bool:
        """Whether its command has a placeholder for the address of a Redis."""
        return any(_REDIS in word for word in self.source.command)

    def address(self, path: str) -> str:
        """Return the address of a path on it."""
        return f"{self.base}{self.paths.get(path, path)}"

    def with_arguments(self, words: str) -> "Target":
        """Return a copy with further words, split as by a shell, at the end of its command.

        Raises:
            UsageError: unbalanced quotes.
        """
        return replace(self, source=self.source.with_words(*split_words("arguments", words)))

    def with_flags(self, words: Sequence[str]) -> "Target":
        """Return a copy with further flags for each load on it."""
        return replace(self, flags=(*self.flags, *words))

    def with_redis(self, url: str) -> "Target":
        """Return a copy with the address of a Redis in place of the command's placeholder."""
        command = tuple(word.replace(_REDIS, url) for word in self.source.command)
        return replace(self, source=replace(self.source, command=command))


def reference_target() -> Target:
    """Return the reference server, which claims that name no other server are about."""
    command = (*own_module("target_app"), "--port", "{port}", "--log-level", "warning")
    return Target("reference", TargetSource(command))


def started_by(command: str, python: str = sys.executable) -> tuple[str, ...]:
    """Split a command as a shell would, with ``python`` (ours by default) for its ``{python}``.

    Raises:
        UsageError: unbalanced quotes, no ``{port}``, or what looks like a misspelt placeholder.
    """
    for name in set(_LIKE_A_PLACE.findall(command)) - set(_PLACES):
        # Only a near match of one of ours: a server may use braces for something else.
        if near := difflib.get_close_matches(name, _PLACES, n=1, cutoff=0.75):
            raise UsageError(
                f"{{{name}}} is not a placeholder of a command; did you mean {{{near[0]}}}?"
            )
    try:
        words = split_command(command)
    except ValueError as error:
        raise UsageError(str(error)) from None
    return tuple(word.replace(_PYTHON, python) for word in words)


def split_words(what: str, text: str) -> tuple[str, ...]:
    """Split a text as a shell would. Raises UsageError, in which it is called ``what``."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise UsageError(f"{what} {text!r}: {error}") from None


def check_of_load(words: Sequence[str]) -> None:
    """Refuse flags of a server among those of the loads on it. Raises UsageError."""
    given = read_words(words)
    if of_target := sorted(given.keys() & OF_THE_TARGET):
        raise UsageError(
            f"{flag_of(of_target[0])} belongs to the server, not to a load on it; write it as a "
            "key of its table"
        )


def base_of(url: str) -> str:
    """Return an address without its path and query.

    Raises:
        UsageError: it is not a WebSocket address.
    """
    split_url(url.replace("{port}", "1"))
    return urlunsplit(urlsplit(url)._replace(path="", query=""))


def directory_of(given: str | None, beside: Path) -> str | None:
    """Return the absolute path of a directory that was written relative to a file."""
    return None if given is None else str((beside.parent / given).resolve())
