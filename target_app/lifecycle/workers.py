"""The processes of one server: which are alive, which have drained, which one ends the master."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import hashlib
import logging
import multiprocessing
import os
import signal
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from uvicorn import Server
from uvicorn.supervisors.multiprocess import Process

if TYPE_CHECKING:
    from collections.abc import Callable

POLL_SECONDS: Final = 0.1
PREFIX: Final = "swarmgate-"
STAY_SECONDS: Final = 60.0
OTHERS_DRAIN_WITHIN_SECONDS: Final = 1.0
"""Time within which a signal that is intended for all workers has reached all."""

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Worker:
    """One process, distinguished from a later one with the same pid by when it started."""

    pid: int
    started: int
    """Clock ticks since the machine started (proc(5), field 22 of ``/proc/pid/stat``)."""

    @classmethod
    def of(cls, pid: int) -> Worker:
        """Return the worker that runs as ``pid``; raise :class:`OSError` if none does."""
        return cls(pid, int(_proc_stat(pid)[19]))

    @property
    def name(self) -> str:
        """A name for its files."""
        return f"{self.pid}-{self.started}"

    @classmethod
    def named(cls, name: str) -> Worker | None:
        """Return the worker whose files are called ``name``, or None if no worker's are."""
        pid, _, started = name.partition("-")
        return cls(int(pid), int(started)) if pid.isdigit() and started.isdigit() else None

    def lives(self) -> bool:
        """Return whether this very process is running; one only waiting to be reaped is not."""
        with contextlib.suppress(OSError):
            stat = _proc_stat(self.pid)
            return int(stat[19]) == self.started and stat[0] not in "ZX"
        return False


def _proc_stat(pid: int) -> list[str]:
    # The second field is the command in parentheses, and may itself contain spaces and parentheses.
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def supervisor() -> int | None:
    """Return the pid of the uvicorn supervisor that this process is a worker of, None if of none.

    Any other parent (a program, its tests, uvicorn's reloader) goes on when this process ends, and
    may have started other servers.
    """
    parent = multiprocessing.parent_process()
    return parent.pid if parent is not None and isinstance(_started_for(), Process) else None


def is_reloaded() -> bool:
    """Return whether uvicorn's reloader started this process, and restarts it after an edit."""
    return isinstance(_started_for(), Server)


def _started_for() -> object:
    # uvicorn gave this process a method to run, of its worker or of its server. No public API
    # exposes that: all parents look alike, and uvicorn leaves no other trace.
    given = getattr(multiprocessing.current_process(), "_kwargs", {})
    return getattr(given.get("target"), "__self__", None)


def run_dir(given: Path | None, master: int | None) -> Path:
    """Return the directory where the workers of one server find each other.

    Unless ``given``, it is named after the master, or this process if it has none, so that two
    servers never share one. The name is short, because the kernel allows 107 bytes for a socket's
    path. Raise :class:`ValueError` if ``given`` cannot be used.
    """
    if given is not None:
        _make_usable(given)
        return given
    owner = Worker.of(master or os.getpid())
    key = hashlib.sha256(f"{os.getuid()}:{owner.name}".encode()).hexdigest()[:8]
    return Path(tempfile.gettempdir()) / f"{_prefix()}{owner.pid}-{key}"


def _prefix() -> str:
    # Containers that share a directory know nothing of each other's processes (pid_namespaces(7)).
    return f"{PREFIX}{Path('/proc/self/ns/pid').stat().st_ino:x}-"


def _make_usable(directory: Path) -> None:
    # Here and not when the workers start: uvicorn would report it with a traceback.
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if not os.access(directory, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise ValueError(
            f"run_dir {str(directory)!r} cannot be used: {error.strerror}; "
            "it has to be a directory that this user may write to, or one that can be made"
        ) from error


def remove_abandoned(parent: Path) -> None:
    """Remove the directories in ``parent`` that servers left there when they were killed.

    Those of another PID namespace are left alone, because it is not known here whether they run.
    """
    prefix = _prefix()
    for directory in parent.glob(f"{prefix}*-*"):
        pid = directory.name.removeprefix(prefix).partition("-")[0]
        # A directory whose pid is running may be in use, or an earlier process's: it is left alone.
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            with contextlib.suppress(OSError):
                _remove(directory)


def _remove(directory: Path) -> None:
    files = list(directory.iterdir())
    # Workers may outlive their master for as long as they drain.
    owners = [Worker.named(file.stem) for file in files]
    if all(owner is not None and not owner.lives() for owner in owners):
        for file in files:
            file.unlink(missing_ok=True)
        directory.rmdir()


class WorkerCoordinator:
    """One worker's part in starting and stopping together.

    Each worker has files in a common directory, named after the process: ``.alive`` from its
    start, ``.draining`` from the moment it is asked to stop, ``.done`` when its clients are gone.

    - Files of a process that no longer runs are stale: they are removed, and nobody waits for it.
    - A worker that is done waits while all others drain, because a supervisor would replace one
      that ended early, and the new one would accept clients again. A worker that then finds
      every worker done asks the master to stop.
    - A worker that drains alone (a rolling restart) ends alone.
    """

    def __init__(
        self,
        directory: Path,
        *,
        master: Worker | None,
        worker: Worker | None = None,
        kill: Callable[[int, int], None] = os.kill,
    ) -> None:
        self.directory = directory
        self.worker = worker or Worker.of(os.getpid())
        self._master = master
        self._kill = kill
        self._is_unheard = False

    def start(self) -> None:
        """Mark this worker as alive, and forget those that no longer are."""
        self.forget_dead()
        self._mark("alive")
        if self.directory.name.startswith(PREFIX):
            remove_abandoned(self.directory.parent)

    async def stay(self) -> None:
        """Mark this worker as alive from time to time, until cancelled.

        A cleaner of old temporary files then leaves these alone, and a file that was removed all
        the same is created again.
        """
        while True:
            await asyncio.sleep(STAY_SECONDS)
            self._try_to_mark("alive")

    def mark_draining(self) -> None:
        """Mark this worker as asked to stop, and once more as alive."""
        self._try_to_mark("alive")
        self._try_to_mark("draining")

    def mark_done(self) -> None:
        """Record that this worker's clients are gone."""
        self._try_to_mark("done")

    def others(self) -> dict[Worker, set[str]]:
        """Return the other workers that are running, and how far each has got."""
        found: dict[Worker, set[str]] = {}
        for file in self._files():
            worker = Worker.named(file.stem)
            if worker is not None and worker != self.worker:
                found.setdefault(worker, set()).add(file.suffix[1:])
        return {
            worker: marks for worker, marks in found.items() if "alive" in marks and worker.lives()
        }

    def forget_dead(self) -> None:
        """Remove the files of workers that no longer run."""
        for file in self._files():
            worker = Worker.named(file.stem)
            if worker is not None and worker != self.worker and not worker.lives():
                file.unlink(missing_ok=True)

    async def leave(self) -> None:
        """Wait until this worker may end, and end the master if this worker is the last.

        Call :meth:`mark_done` first.
        """
        if self._master is None:
            return
        loop = asyncio.get_running_loop()
        patience = loop.time() + OTHERS_DRAIN_WITHIN_SECONDS
        while rest := [marks for marks in self.others().values() if "done" not in marks]:
            if any("draining" not in marks for marks in rest) and loop.time() > patience:
                logger.warning("drained: the other workers go on")
                return
            await asyncio.sleep(POLL_SECONDS)
        # If the master was killed, an unrelated process may have its pid by now.
        if self._master.lives():
            logger.warning("drained: every worker is done, stopping the master")
            with contextlib.suppress(ProcessLookupError):
                self._kill(self._master.pid, signal.SIGTERM)

    def stop(self) -> None:
        """Remove this worker's files, and the directory after the last one's."""
        for mark in ("draining", "done", "alive"):
            self._path(mark).unlink(missing_ok=True)
        self.forget_dead()
        with contextlib.suppress(OSError):
            self.directory.rmdir()

    def _try_to_mark(self, mark: str) -> None:
        # A worker that cannot leave its mark still drains; at worst the others do not wait for it.
        try:
            self._mark(mark)
        except OSError as error:
            if not self._is_unheard:
                logger.warning("cannot say that this worker is %s: %s", mark, error)
            self._is_unheard = True
        else:
            self._is_unheard = False

    def _mark(self, mark: str) -> None:
        self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._path(mark).touch()

    def _path(self, mark: str) -> Path:
        return self.directory / f"{self.worker.name}.{mark}"

    def _files(self) -> list[Path]:
        with contextlib.suppress(FileNotFoundError):
            return sorted(self.directory.iterdir())
        return []
