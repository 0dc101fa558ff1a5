"""The parent of several workers: uvicorn's own, but one that can be told twice to stop."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
from typing import TYPE_CHECKING, Final

from uvicorn.supervisors.multiprocess import Multiprocess, Process

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from uvicorn import Config

START_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1
STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)

logger = logging.getLogger(__name__)


class Supervisor(Multiprocess):
    """A uvicorn supervisor that says when its workers serve, and hears signals while they drain.

    ``on_ready()`` is called once every worker serves. uvicorn's own waits for its workers without
    looking at signals: a drain could not be forced through it, and a rolling restart not stopped.
    Here a second SIGINT, or one SIGQUIT, is passed on to the workers as a SIGQUIT, which
    :class:`target_app.lifecycle.drain.GracefulShutdown` takes for force.
    """

    def __init__(
        self, config: Config, sockets: list[socket.socket], on_ready: Callable[[], None]
    ) -> None:
        super().__init__(config, sockets)
        self._on_ready = on_ready
        self._interrupts = 0
        self._workers_forced = False

    @property
    def forced(self) -> bool:
        """Whether somebody did not want to wait for the end of the drain."""
        return self._interrupts >= 2

    def init_processes(self) -> None:
        """Start the workers, wait until they serve, then say so."""
        super().init_processes()
        for process in self.processes:
            process.wait_until_ready(START_SECONDS, self.should_exit)
        self._on_ready()

    def handle_int(self) -> None:
        """Stop; by force if it is the second time."""
        self._interrupts += 1
        super().handle_int()

    def handle_quit(self) -> None:
        """Stop by force."""
        self._interrupts += 2
        self.should_exit.set()

    def join_all(self) -> None:
        """Wait until every worker has ended, and force those that are left if asked to."""
        for process in self.processes:
            while not _ended(process):
                self._look_at_stopping_signals()
        logger.debug("every worker has ended")

    def restart_all(self) -> None:
        """Replace each worker, the new one first; leave off when asked to stop."""
        for n, old in enumerate(tuple(self.processes)):
            new = Process(self.config, self.sockets)
            new.start()
            if not new.wait_until_ready(self.config.timeout_worker_healthcheck, self.should_exit):
                new.kill()
                new.join()
                logger.error("a new worker was not ready in time: worker %s stays", old.pid)
                return
            old.terminate()
            self.processes[n] = new
            while not _ended(old):
                if not set(STOPPING).isdisjoint(self.signal_queue):
                    # It drains already, and is waited for with the others.
                    self.processes.append(old)
                    return

    def _look_at_stopping_signals(self) -> None:
        # Not the others: nobody is started or replaced any more.
        self.signal_queue = [s for s in self.signal_queue if s in STOPPING]
        self.handle_signals()
        if self.forced and not self._workers_forced:
            self._workers_forced = True
            for process in self.processes:
                if process.exitcode is None and process.pid is not None:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGQUIT)


def _ended(process: Process) -> bool:
    process.process.join(POLL_SECONDS)
    return process.exitcode is not None
