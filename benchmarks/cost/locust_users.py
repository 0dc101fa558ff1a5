"""What a Locust user costs: CPU time of an echo round trip, memory of an idle connection.

Runs as ``python -m benchmarks.cost.locust_users SUBJECT URL USERS SECONDS`` in a fresh process,
because Locust patches the standard library of the process that imports it, and prints one JSON
object of figures. The subjects: ``asking`` is a ``WebSocketUser`` whose task asks a hundred times,
``tasks`` one whose task asks once; ``client`` is what a tester writes around ``websocket-client``
with Locust's request event, ``bare`` a user that does nothing. ``idle`` and ``bare`` measure
memory, the others CPU time.
"""

import locust  # noqa: F401, I001 - it changes what is imported after it
import gc
import json
import os
import resource
import sys
from time import perf_counter_ns, process_time, time
from typing import Any, Final

import gevent
import psutil
from locust import User, constant, task
from locust.env import Environment
from websocket import WebSocket, create_connection

from loadtests.locust.websocket_user import WebSocketUser

_MESSAGE: Final = "x" * 32
_EXCHANGES: Final = 100
_WAIT_SECONDS: Final = 10.0
_FOR_EVER: Final = 1e6
_SPAWN_RATE: Final = 1_000.0
_POLL_SECONDS: Final = 0.02


class Asking(WebSocketUser):
    """A user that asks a hundred times a task, so Locust's own work between tasks counts little."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Connect."""
        self.connect()

    @task
    def ask_often(self) -> None:
        """Make the round trips."""
        for _ in range(_EXCHANGES):
            self.ask(_MESSAGE, _MESSAGE, _WAIT_SECONDS, name="echo")


class Tasks(WebSocketUser):
    """A user that asks once per task."""

    wait_time = constant(0)

    def on_start(self) -> None:
        """Connect."""
        self.connect()

    @task
    def ask_once(self) -> None:
        """Make one round trip."""
        self.ask(_MESSAGE, _MESSAGE, _WAIT_SECONDS, name="echo")


class Client(User):
    """A user on ``websocket-client``, as testers write it: the event fires once per message."""

    wait_time = constant(0)
    socket: WebSocket

    def on_start(self) -> None:
        """Connect."""
        begun_ns = perf_counter_ns()
        self.socket = create_connection(str(self.host), timeout=_WAIT_SECONDS)
        self.fire("connect", begun_ns, 0)

    @task
    def ask_often(self) -> None:
        """Make the round trips."""
        for _ in range(_EXCHANGES):
            begun_ns = perf_counter_ns()
            self.socket.send(_MESSAGE)
            answer = self.socket.recv()
            assert answer == _MESSAGE
            self.fire("echo", begun_ns, len(answer))

    def fire(self, name: str, begun_ns: int, length: int) -> None:
        """Report one request to Locust, as a WebSocketUser does."""
        elapsed_ns = perf_counter_ns() - begun_ns
        self.environment.events.request.fire(
            request_type="WS",
            name=name,
            response_time=elapsed_ns / 1e6,
            response_length=length,
            exception=None,
            context=self.context(),
            start_time=time() - elapsed_ns / 1e9,
        )


class Idle(WebSocketUser):
    """A user that makes one round trip and thinks for ever."""

    wait_time = constant(_FOR_EVER)

    @task
    def ask_once(self) -> None:
        """Connect and ask: a stack keeps the size that it grew to."""
        self.connect()
        self.ask(_MESSAGE, _MESSAGE, _WAIT_SECONDS, name="echo")


class Bare(User):
    """A user that does nothing."""

    wait_time = constant(_FOR_EVER)

    @task
    def nothing(self) -> None:
        """Report a connection, to be counted."""
        self.environment.events.request.fire(
            request_type="WS", name="connect", response_time=0.0, response_length=0, exception=None
        )


class Crowd:
    """The users of one class in this process."""

    def __init__(self, user_class: type[User], host: str) -> None:
        user_class.host = host
        self.environment = Environment(user_classes=[user_class], host=host)
        self._runner: Any = self.environment.create_local_runner()

    def grow(self, users: int) -> None:
        """Start users up to ``users``, and wait until each is connected."""
        self._runner.start(users, spawn_rate=_SPAWN_RATE)
        self._runner.spawning_greenlet.join()
        while self.count("connect") < users:
            gevent.sleep(_POLL_SECONDS)

    def count(self, name: str) -> int:
        """Count the requests of one name."""
        return int(self.environment.stats.get(name, "WS").num_requests)

    def failures(self) -> int:
        """Count the failed requests."""
        return int(self.environment.stats.total.num_failures)


def cpu(crowd: Crowd, users: int, seconds: float) -> dict[str, float]:
    """Measure round trips as fast as they go.

    Returns:
        ``cpu_per_round_trip_seconds``: user and system time of all threads of the process;
        ``round_trips_per_second``; ``failures``.
    """
    crowd.grow(users)
    counted, cpu_seconds, begun_ns = crowd.count("echo"), process_time(), perf_counter_ns()
    gevent.sleep(seconds)
    cpu_seconds = process_time() - cpu_seconds
    done = crowd.count("echo") - counted
    return {
        "cpu_per_round_trip_seconds": cpu_seconds / done,
        "round_trips_per_second": done / ((perf_counter_ns() - begun_ns) / 1e9),
        "failures": crowd.failures(),
    }


def memory(crowd: Crowd, users: int) -> dict[str, float]:
    """Measure how much each user adds to the private memory (USS) of the process.

    Returns:
        ``memory_per_connection_bytes``, ``failures``.
    """
    # The first ones make Locust and the libraries create what all share.
    first = users // 4
    crowd.grow(first)
    before = _private_bytes()
    crowd.grow(users)
    return {
        "memory_per_connection_bytes": (_private_bytes() - before) / (users - first),
        "failures": crowd.failures(),
    }


def _private_bytes() -> float:
    gc.collect()
    return float(psutil.Process().memory_full_info().uss)


def main() -> None:
    """Measure what the arguments name and print the figures."""
    subject, url, users, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    classes = {"asking": Asking, "tasks": Tasks, "client": Client, "idle": Idle, "bare": Bare}
    crowd = Crowd(classes[subject], url)
    figures = memory(crowd, users) if subject in {"idle", "bare"} else cpu(crowd, users, seconds)
    print(json.dumps(figures), flush=True)
    # Thousands of closing handshakes are not what is measured.
    os._exit(0)


if __name__ == "__main__":
    main()
