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
    """A worker whose server is there before anybody asks whether it serves.

    uvicorn makes it when it is first asked for, by the thread that answers the supervisor and by
    the one that serves: each could have one of its own, and the worker would never be told of.
    """

    def target(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve, in the worker's process."""
        self._server = self.server
        super().target(sockets)


class Supervisor(Multiprocess):
    """A uvicorn supervisor that says when its workers serve, and hears signals while it waits.

    ``on_ready()`` is called once, when every worker serves. uvicorn's own waits for its workers
    without looking at signals: a start, a hung worker, a rolling restart or a drain would hold up
    who wants it to stop. Here a second SIGINT, or one SIGQUIT, is passed on to the workers as a
    SIGQUIT, which :class:`target_app.lifecycle.drain.GracefulShutdown` takes for force.
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
        """Whether somebody did not want to wait for the end of the drain."""
        return self._interrupts >= 2

    def run(self) -> None:
        """Have the workers serve until asked to stop; they stop as well if anything fails here."""
        try:
            super().run()
        except BaseException:
            # Python waits for them when it ends, and by then nobody looks at signals any more.
            self.terminate_all()
            self.join_all()
            raise

    def init_processes(self) -> None:
        """Start the workers; wait until all serve, one has ended or somebody says stop."""
        for _ in range(self.processes_num):
            self.processes.append(self._start_worker())
        if all(self._becomes_ready(process, START_SECONDS) for process in self.processes):
            self._say_ready()

    def keep_subprocess_alive(self) -> None:
        """Replace the workers that ended or hang; say that all serve, if it was not said yet."""
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
        """Go on with one worker more."""
        self.processes_num += 1
        self.processes.append(self._start_worker())

    def handle_ttou(self) -> None:
        """Go on with one worker less; leave off waiting for it when asked to stop."""
        if len(self.processes) > 1:
            self.processes_num -= 1
            self._retire(self.processes.pop())

    def _start_worker(self) -> Worker:
        worker = Worker(self.config, self.sockets)
        worker.start()
        return worker

    def _retire(self, old: Process) -> bool:
        # Return False if its drain, which takes its time, is not to be waited for here.
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
        # Return False if a worker cannot start, so that no other would either.
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
        # Whether the worker serves by now, None if it does not answer. This is uvicorn's own
        # question, but answered with None as soon as somebody says stop.
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
        # Only looked at: uvicorn's loop takes them out of the queue.
        return not set(STOPPING).isdisjoint(self.signal_queue)

    def _look_at_stopping_signals(self) -> None:
        # Not the others: nobody is started or replaced any more.
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
