"""Ends the test as its run time would, once the file that ENOUGH names is there: a locustfile."""

import os
from pathlib import Path
from typing import Any

import gevent
from locust import events
from locust.runners import WorkerRunner


@events.init.add_listener
def _watch(runner: Any, **_: object) -> None:
    def wait() -> None:
        while not Path(os.environ["ENOUGH"]).exists():
            gevent.sleep(0.1)
        runner.quit()

    if not isinstance(runner, WorkerRunner):
        gevent.spawn(wait)
