"""Options that several commands share: values to parse, and files to write."""

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar

from loadtests.errors import UsageError

Read = TypeVar("Read")


def parsed(option: str, text: str, parse: Callable[[str], Read]) -> Read:
    """Parse an option's value. Raise :class:`UsageError`, naming the option, if it is invalid."""
    try:
        return parse(text)
    except ValueError as error:
        raise UsageError(f"{option}: {error}") from None


def check_outputs(files: Mapping[str, str | None], *, as_json: bool = False) -> None:
    """Refuse, before anything runs, files that could not be written at the end.

    Args:
        files: the name of each file, by its option; ``-`` is standard output.
        as_json: whether a JSON document goes to standard output.

    Raises:
        UsageError: two documents would be printed, or a file cannot be written.
    """
    for option, name in files.items():
        if name == "-":
            if as_json:
                raise UsageError(f"--json and {option} - both print; name a file for one of them")
        elif name is not None:
            path = Path(name)
            if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
                raise UsageError(
                    f"{option}: cannot write {name}; name a file in an existing folder"
                )
