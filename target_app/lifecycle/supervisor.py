"""The parent of several workers: uvicorn's own, but one that can be asked twice to stop."""

from __future__ import annotations

import contextlib
import logging
import os
import pickle
import signal
import time
from typing import TYPE_CHECKING, Final

from uvicorn.config import STARTUP_FAILURE
from uvicorn.supervisors.multiprocess import Multiprocess, Process

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable

    from uvicorn import Config

START_SECONDS: Final = 60.0
POLL_SECONDS: Final = 0.1
STOPPING: Final = (signal.SIGINT, signal.SIGTERM, signal.SIGQUIT)

logger = logging.getLogger(__name__)


class Worker(Process):
    """A worker whose server exists before anybody asks whether it is serving.

    uvicorn creates the server on first use, in the thread that answers the supervisor and in the
    one that serves: each could get a separate one, and the worker would never be reported as ready.
    """

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve in the worker's process."""
        self._server = self.server
        super().target(sockets)


class Supervisor(Multiprocess):
    """A uvicorn supervisor that reports when its workers serve, and handles signals while it waits.

    ``on_ready()`` is called once, when every worker serves. uvicorn's own supervisor waits for its
    workers without checking for signals: a start, a hung worker, a rolling restart or a drain would
    delay a stop. Here a second SIGINT, or one SIGQUIT, is passed on to the workers as a SIGQUIT,
    which :class:`target_app.lifecycle.drain.GracefulShutdown` treats as forcing the end.
    """

    def __init__(
        self, config: Config, sockets: list[socket.socket], on_ready: Callable[[], None]
    ) -> None:
        super().__init__(config, sockets)
        self._on_ready = on_ready
        self._said_ready = False
        self.failed = False
        """Whether it stopped because a worker could not start."""
        self._interrupts = 0
        self._workers_forced = False

    @property
    def forced(self) -> bool:
        """Whether somebody chose not to wait for the end of the drain."""
        return self._interrupts >= 2

    def run(self) -> None:
        """Run the workers until asked to stop; stop them as well if anything fails here."""
        try:
            super().run()
        except BaseException:
            # Python waits for them when it exits, and by then nobody handles signals any more.
            self.terminate_all()
            self.join_all()
            raise

    def init_processes(self) -> None:
        """Start the workers; wait until all serve, one has ended or a stop is requested."""
        for _ in range(self.processes_num):
            self.processes.append(self._start_worker())
        if all(self._becomes_ready(process, START_SECONDS) for process in self.processes):
            self._say_ready()

    def keep_subprocess_alive(self) -> None:
        """Replace the workers that ended or hang; report that all serve, if not reported yet."""
        if self.should_exit.is_set():
            return
        serve = [
            self._started(process, self.config.timeout_worker_healthcheck)
            for process in self.processes
        ]
        if self._is_asked_to_stop():
            return
        for n, started in enumerate(serve):
            if started is None and not self._replace(n):
                return
        if all(serve) and not self._said_ready:
            self._say_ready()

    def handle_int(self) -> None:
        """Stop; by force the second time."""
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
        """Replace each worker, starting the new one first; give up when asked to stop."""
        for n, old in enumerate(tuple(self.processes)):
            new = self._start_worker()
            if not self._becomes_ready(new, self.config.timeout_worker_healthcheck):
                new.kill()
                new.join()
                if not self._is_asked_to_stop():
                    logger.error("a new worker was not ready in time: worker %s stays", old.pid)
                return
            self.processes[n] = new
            if not self._retire(old):
                return

    def handle_ttin(self) -> None:
        """Add one worker."""
        self.processes_num += 1
        self.processes.append(self._start_worker())

    def handle_ttou(self) -> None:
        """Remove one worker; give up waiting for it when asked to stop."""
        if len(self.processes) > 1:
            self.processes_num -= 1
            self._retire(self.processes.pop())

    def _start_worker(self) -> Worker:
        worker = Worker(self.config, self.sockets)
        worker.start()
        return worker

    def _retire(self, old: Process) -> bool:
        # Return False if its drain, which may take a while, is not to be waited for here.
        old.terminate()
        while not _ended(old):
            if self._is_asked_to_stop():
                self.processes.append(old)  # waited for with the others
                return False
        return True

    def _say_ready(self) -> None:
        self._said_ready = True
        self._on_ready()

    def _replace(self, n: int) -> bool:
        # Return False if a worker cannot start, in which case no other would either.
        process = self.processes[n]
        process.kill()
        process.join()
        if process.exitcode == STARTUP_FAILURE:
            logger.error("worker %s could not start: stopping", process.pid)
            self.failed = True
            self.should_exit.set()
            return False
        logger.warning("worker %s died, with all its connections: starting another", process.pid)
        self.processes[n] = self._start_worker()
        return True

    def _becomes_ready(self, process: Process, within_seconds: float) -> bool:
        deadline = time.monotonic() + within_seconds
        while (left := deadline - time.monotonic()) > 0:
            started = self._started(process, left)
            if started or process.exitcode is not None or self._is_asked_to_stop():
                return bool(started)
            time.sleep(POLL_SECONDS)
        return False

    def _started(self, process: Process, within_seconds: float) -> bool | None:
        # Return whether the worker serves by now, None if it does not answer. This is uvicorn's own
        # check, but returns None as soon as a stop is requested.
        deadline = time.monotonic() + within_seconds
        try:
            process.parent_conn.send(b"ping")
            while not process.parent_conn.poll(POLL_SECONDS):
                is_over = process.exitcode is not None or time.monotonic() >= deadline
                if is_over or self._is_asked_to_stop():
                    return None
            return bool(process.parent_conn.recv())
        except (OSError, EOFError, pickle.UnpicklingError):
            return None

    def _is_asked_to_stop(self) -> bool:
        # Only inspected: uvicorn's loop takes them out of the queue.
        return not set(STOPPING).isdisjoint(self.signal_queue)

    def _look_at_stopping_signals(self) -> None:
        # Not the others: no worker is started or replaced any more.
        for signum in tuple(self.signal_queue):
            if signum not in STOPPING:
                self.signal_queue.remove(signum)
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
