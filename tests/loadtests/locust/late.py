"""Has one worker of two take a round's commands late, as a busy machine does: a locustfile."""

import gevent
from locust import events
from locust.env import Environment
from locust.runners import WorkerRunner

from loadtests.locust.worker_agent import WorkerAgent
from loadtests.run.commands import Command, Measure, Serve

_SECONDS = 1.0
_take = WorkerAgent.command


@events.init.add_listener
def _be_late(environment: Environment, **_: object) -> None:
    def command(agent: WorkerAgent, command: Command) -> None:
        if isinstance(command, Serve | Measure):
            gevent.sleep(_SECONDS)
        _take(agent, command)

    runner = environment.runner
    if isinstance(runner, WorkerRunner) and runner.worker_index == 1:
        WorkerAgent.command = command  # type: ignore[method-assign]
