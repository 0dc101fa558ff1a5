"""The master's side by itself, with swarms that say what the test has them say."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import gevent
import pytest

from loadtests.locust import conductor as module
from loadtests.locust.conductor import Conductor, Worker
from loadtests.plan.plan import Plan
from loadtests.run.controller import Patience
from reports.record import Event, encode_line, read_record

PLAN = Plan(
    url="ws://127.0.0.1:1/ws", connections=2, scenario="broadcast", parameters={}, live=True,
    rounds=True,
)  # fmt: skip


class Swarms:
    """Two of them, the second of which never begins a round."""

    def __init__(self, path: Path) -> None:
        self.commands: list[tuple[str, str]] = []
        self.path = path
        self.conductor = Conductor(
            "BroadcastSwarm",
            PLAN,
            path,
            self.command,
            pids=(),
            observe=lambda _line: None,
            replay=(),
            is_running=lambda: True,
            users=lambda: 2,
            spawn_rate=lambda: 1.0,
            give_up=lambda: None,
        )
        self.conductor.start([Worker(name, "here", shares_clock=True) for name in "ab"])

    def command(self, name: str, command: Mapping[str, Any]) -> None:
        self.commands.append((name, command["do"]))
        match command["do"]:
            case "prepare":
                self.say(name, "ready")
                self.say(name, "population", open=1, pending=0, order=0)
            case "hold":
                gevent.spawn(lambda: self.conductor.receive(name, "held", {"ordered": 0}))
            case "serve" if name == "a":
                seed = command["share"]["plan"]["seed"]
                gevent.spawn(self.say, name, "serving", seed=seed)
            case "close":
                gevent.spawn(lambda: self.conductor.receive(name, "ended", {}))

    def say(self, name: str, what: str, **detail: Any) -> None:
        event = Event(t_ns=0, name=what, detail=detail)
        line = {"text": encode_line(event), "ordered": 0}
        self.conductor.receive(name, "line", line)

    def await_command(self, *what: str, times: int) -> None:
        with gevent.Timeout(60):
            while self.commands.count(what) < times:
                gevent.sleep(0.01)


def phases(path: Path) -> list[str]:
    return [it.detail["phase"] for it in read_record(path).events if it.name == "phase"]


def test_nobody_is_measured_while_one_does_not_await_the_round(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "_PATIENCE", Patience(lead_ns=0, end_seconds=0.2))
    swarms = Swarms(tmp_path / "a.run.jsonl")
    swarms.await_command("a", "serve", times=2)
    swarms.conductor.finish(interrupted=False)
    assert "measure" not in {what for _, what in swarms.commands}
    footer = read_record(swarms.path).footer
    assert footer is not None
    assert "swarm process 1 on here did not begin a round within 0 s" in footer.reasons


def test_a_test_that_ends_before_its_round_does_not_begin_it(tmp_path: Path) -> None:
    swarms = Swarms(tmp_path / "a.run.jsonl")
    swarms.await_command("a", "serve", times=1)
    swarms.conductor.finish(interrupted=False)
    assert "measure" not in {what for _, what in swarms.commands}
    assert phases(swarms.path) == ["open", "close"]


def test_a_round_of_which_one_is_lost_begins_anew_with_the_others(tmp_path: Path) -> None:
    swarms = Swarms(tmp_path / "a.run.jsonl")
    swarms.await_command("a", "serve", times=1)
    swarms.conductor.lose_worker("b", "expected in this test")
    swarms.await_command("a", "measure", times=1)
    assert swarms.commands.count(("a", "serve")) == 2
    assert ("b", "measure") not in swarms.commands
    swarms.conductor.finish(interrupted=True)
