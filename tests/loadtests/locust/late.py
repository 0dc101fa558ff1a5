"""Has one worker of two take a round's commands late, as a busy machine does: a locustfile."""

from collections.abc import Mapping
from typing import Any

import gevent
from locust import events
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtests.locust_engine.bridge import Bridge

_SECONDS = 1.0
_take = Bridge.command


@events.init.add_listener
def _be_late(environment: Environment, **_: object) -> None:
    def command(bridge: Bridge, command: Mapping[str, Any]) -> None:
        if command["do"] in ("serve", "measure"):
            gevent.sleep(_SECONDS)
        _take(bridge, command)

    runner = environment.runner
    if isinstance(runner, WorkerRunner) and runner.worker_index == 1:
        Bridge.command = command  # type: ignore[method-assign]
