"""Base and head, ready to run: two checkouts of a repository, two commands or two addresses."""

import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from benchmarks.gate.settings import Server
from benchmarks.runs.targets import Target, base_of, split_words, started_by
from loadtests.errors import UsageError
from loadtests.plan.target_source import TargetSource

BASE: Final = "base"
HEAD: Final = "head"
WORKING_TREE: Final = "working tree"
_MOST_PREPARING_SECONDS: Final = 1800.0
_ENVIRONMENT: Final = ".venv"


class SideError(Exception):
    """A side that cannot be made ready; the message says which, and why."""


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two sides that are compared.

    Attributes:
        name: base or head.
        label: what it is, in human-readable form: a commit, a command, an address.
        target: the server.
        python: the interpreter of its environment.
        directory: where its application is.
    """

    name: str
    label: str
    target: Target
    python: str = sys.executable
    directory: Path = Path()


def side_of_command(name: str, command: str, server: Server) -> Side:
    """Return a side that a command starts. Raises UsageError."""
    directory = None if server.directory == "." else server.directory
    return Side(name, command, server.target(name, started_by(command), directory))


def side_of_url(name: str, url: str) -> Side:
    """Return a side that is already running. Raises UsageError."""
    return Side(name, url, Target(name, TargetSource(), base_of(url)))


def commit_of(reference: str, repository: Path) -> str:
    """Return the commit that a reference points to.

    Raises:
        UsageError: there is no such commit.
    """
    try:
        return _git(repository, "rev-parse", "--verify", "--quiet", f"{reference}^{{commit}}")
    except subprocess.CalledProcessError:
        raise UsageError(
            f"{reference!r} is not a commit of {repository}; fetch it first, or name another"
        ) from None


def working_tree_commit(repository: Path) -> str:
    """Return a commit of the current content of the files that git tracks, changed or not.

    Untracked files are not in it; see :func:`unfollowed_files`.

    Raises:
        SideError: there can be none, for instance in the middle of a merge.
    """
    try:
        made = _git(repository, "stash", "create", "swarmgate gate")
    except subprocess.CalledProcessError as error:
        lines = (error.stderr or error.stdout).strip().splitlines()
        raise SideError(
            f"cannot make a commit of the working tree: {lines[-1] if lines else 'git failed'}; "
            "name a commit with --head"
        ) from None
    return made or commit_of("HEAD", repository)


def unfollowed_files(repository: Path) -> list[str]:
    """List the files of a working tree that git neither tracks nor ignores."""
    listed = _git(repository, "ls-files", "--others", "--exclude-standard", "-z")
    return [name for name in listed.split("\0") if name]


def repository_of(folder: Path) -> Path:
    """Return the top of the repository that a folder is in. Raises UsageError."""
    try:
        return Path(_git(folder, "rev-parse", "--show-toplevel"))
    except (subprocess.CalledProcessError, FileNotFoundError):
        raise UsageError(
            f"{folder} is not in a git repository; compare two commands: --base-cmd, --head-cmd"
        ) from None


@contextmanager
def checkout(repository: Path, commit: str, place: Path) -> Iterator[None]:
    """Keep a commit checked out at a place for the duration of the context.

    Raises:
        SideError: it cannot be checked out.
    """
    if place.exists():
        _remove(repository, place)
    try:
        _git(repository, "worktree", "add", "--detach", "--quiet", str(place.resolve()), commit)
    except subprocess.CalledProcessError as error:
        raise SideError(f"cannot check out {commit}: {error.stderr.strip()}") from None
    try:
        yield
    finally:
        _remove(repository, place)


def _remove(repository: Path, place: Path) -> None:
    subprocess.run(
        ["git", "-C", str(repository), "worktree", "remove", "--force", str(place.resolve())],  # noqa: S607 - whichever git the user has
        capture_output=True,
        check=False,
    )
    shutil.rmtree(place, ignore_errors=True)


def side_of_checkout(name: str, label: str, place: Path, server: Server, log: Path) -> Side:
    """Make a checkout ready, and return it as a side.

    Raises:
        SideError: it does not build.
        UsageError: the command has no ``{port}``, or a preparing command has unbalanced quotes.
    """
    directory = place / server.directory
    if not directory.is_dir():
        raise SideError(f"{name} ({label}) has no directory {server.directory!r}")
    commands = server.prepare if server.prepare is not None else tuple(_usual(directory))
    for command in commands:
        _prepare(name, label, command, directory, log)
    python = directory / _ENVIRONMENT / "bin" / "python"
    interpreter = str(python.absolute()) if python.exists() else sys.executable
    words = started_by(server.command, interpreter)
    target = server.target(name, words, str(directory.resolve()))
    return Side(name, label, target, interpreter, directory)


def _usual(directory: Path) -> Iterator[str]:
    """Yield the commands that make a conventional project ready, in its own environment."""
    wanted = [f"-r {name}" for name in ("requirements.txt",) if (directory / name).exists()]
    if not wanted and (directory / "pyproject.toml").exists():
        wanted = ["."]
    if wanted:
        python = f"{_ENVIRONMENT}/bin/python"
        yield f"{shlex.quote(sys.executable)} -m venv {_ENVIRONMENT}"
        yield f"{python} -m pip install --quiet --disable-pip-version-check {' '.join(wanted)}"


def _prepare(name: str, label: str, command: str, directory: Path, log: Path) -> None:
    words = [word.replace("{python}", sys.executable) for word in split_words("prepare", command)]
    with log.open("ab") as output:
        try:
            done = subprocess.run(
                words,
                cwd=directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                timeout=_MOST_PREPARING_SECONDS,
                check=False,
            )
            status: object = done.returncode
        except OSError as error:
            status = error.strerror
        except subprocess.TimeoutExpired:
            status = f"a timeout after {_MOST_PREPARING_SECONDS:g} s"
    if status != 0:
        lines = log.read_text(encoding="utf-8", errors="replace").split("\n")
        last = next((line.strip() for line in reversed(lines) if line.strip()), "(none)")
        raise SideError(
            f"{name} ({label}) does not build: {command!r} ended with {status}; its last words: "
            f"{last}; all of its output is in {log}"
        )


def _git(folder: Path, *arguments: str) -> str:
    finished = subprocess.run(
        ["git", "-C", str(folder), *arguments],  # noqa: S607 - whichever git the user has
        capture_output=True,
        check=True,
        text=True,
    )
    return finished.stdout.strip()
