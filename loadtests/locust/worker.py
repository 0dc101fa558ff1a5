"""The worker's side of Locust: a worker agent for each class of swarm users, under commands.

A local run is a worker and a master in one.
"""

import logging
import socket
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from time import perf_counter_ns
from typing import Any, Final

import gevent
from locust.env import Environment
from locust.runners import Runner

from loadtests.locust.user_slots import SwarmUser
from loadtests.locust.worker_agent import WorkerAgent
from loadtests.run.commands import command_of_data

# The two kinds of messages between a master and its workers.
COMMAND: Final = "swarmgate command"
REPORT: Final = "swarmgate report"
# Locust itself waits for a minute, while its users continue.
_MASTER_SECONDS: Final = 10.0
# Distinguishes machines even if their names are the same (random(4)).
_BOOT_ID: Final = Path("/proc/sys/kernel/random/boot_id")

logger = logging.getLogger("swarmgate")


def boot_id() -> str:
    """Return an identifier of this machine's boot: its processes share one monotonic clock."""
    return _BOOT_ID.read_text().strip()


class WorkerSide:
    """The agents of one worker."""

    def __init__(
        self, environment: Environment, runner: Runner, classes: Iterable[type[SwarmUser]]
    ) -> None:
        self._environment = environment
        self._runner = runner
        self._agents = {kind.__name__: self._agent(kind) for kind in classes}
        runner.register_message(COMMAND, self._on_command)
        # Later than the quitting event, at which the master of a local run still ends the test.
        environment.events.quit.add_listener(self._on_quit)
        environment.events.heartbeat_received.add_listener(self._on_heartbeat)
        self._last_heartbeat: float | None = None
        runner.greenlet.spawn(self._watch_master)

    def greet(self) -> None:
        """Report to the master that we are here and understand it."""
        self._report("", "hello", {"host": socket.gethostname(), "boot_id": boot_id()})

    def _agent(self, kind: type[SwarmUser]) -> WorkerAgent:
        def new_slot() -> SwarmUser:
            slot = kind(self._environment)
            slot.enter(self._runner.user_greenlets)
            return slot

        def report(what: str, detail: Mapping[str, Any]) -> None:
            self._report(kind.__name__, what, detail)

        kind.agent = WorkerAgent(kind.__name__, new_slot, report)
        return kind.agent

    def _on_command(self, msg: Any, **_: object) -> None:  # noqa: ANN401 - Locust's message
        kind, command = msg.data["class"], msg.data["command"]
        match command["do"]:
            case "greet":
                self.greet()
            case "ping":
                now = {"asked_ns": command["asked_ns"], "there_ns": perf_counter_ns()}
                self._report("", "pong", now)
            case "hold":
                self._agents[kind].hold()
            case "release":
                self._agents[kind].release()
            case _:
                self._agents[kind].command(command_of_data(command))

    def _on_quit(self, **_: object) -> None:
        for agent in self._agents.values():
            agent.end()

    def _on_heartbeat(self, **_: object) -> None:
        self._last_heartbeat = time.monotonic()

    def _watch_master(self) -> None:
        """End the load when the master is gone: nobody else would end it, or record it."""
        while True:
            gevent.sleep(1.0)
            silent = (
                0.0 if self._last_heartbeat is None else time.monotonic() - self._last_heartbeat
            )
            if silent > _MASTER_SECONDS and any(it.is_running for it in self._agents.values()):
                logger.error("no heartbeat from the master for %.0f s: the load ends", silent)
                for agent in self._agents.values():
                    agent.abandon(f"its worker received nothing from the master for {silent:.0f} s")

    def _report(self, kind: str, what: str, detail: Mapping[str, Any]) -> None:
        self._runner.send_message(REPORT, {"class": kind, "what": what, "detail": dict(detail)})
