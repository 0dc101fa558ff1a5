"""Scenarios that need to know who is there run in rounds, whatever is done to their users."""

from pathlib import Path

import pytest

from reports.summary import summarise
from tests.loadtests.locust.driver import Locust, has, headless_until, locust, records
from tests.servers.launch import launch

REFERENCE = ("target_app", "--port", "0", "--announce-limit", "0", "--heartbeat-seconds", "0.2")
IN_ROUNDS = {
    # What each counts, if it does what it is for, and its parameters.
    "BroadcastSwarm": ("delivery.messages", ""),
    "ChatSwarm": ("delivered.count", "--param publishers=2"),
    "ChurnSwarm": ("churn.arrived", ""),
    "HeartbeatSwarm": ("heartbeat.beats", "--param interval=300ms"),
    "SlowConsumerSwarm": ("slow-consumer.slow", ""),
    "StormSwarm": ("storm.back", "--param at=100ms --param backoff=fixed --param first=50ms"),
}
EDITS = (12, 25, 6)


def _rounds(folder: Path) -> int:
    """Count the rounds whose ledger is closed, of the record that was begun last."""
    phases = [it.detail["phase"] for it in records(folder)[-1].events if it.name == "phase"]
    return phases.count("collect")


def _are_there(running: Locust, users: int) -> bool:
    rows = running.rows()
    return rows["Open now"].startswith(f"{users}, of {users} requested")


@pytest.mark.long
@pytest.mark.parametrize("options", [(), ("--processes", "2")], ids=["local", "two workers"])
def test_users_of_every_scenario_are_edited_and_stopped_in_the_middle_of_rounds(
    tmp_path: Path, options: tuple[str, ...]
) -> None:
    with launch(*REFERENCE) as server, locust(tmp_path, *options) as running:
        for kind, (_, flags) in IN_ROUNDS.items():
            if options:
                running.wait(lambda: running.stats()["worker_count"] == 2, "two workers")
            for users in EDITS:
                before = _rounds(tmp_path) if users != EDITS[0] else 0
                running.start(server.url(), users, 100, kind, swarm_flags=f"--duration 1s {flags}")
                running.wait(
                    lambda users=users: _are_there(running, users), f"{kind}: {users} are open"
                )
                # One that began before may be closed by the edit; the next one is of these users.
                running.wait(
                    lambda before=before: _rounds(tmp_path) >= before + 2, f"{kind}: two rounds"
                )
            running.stop()
            running.wait(lambda: running.users() == 0, f"{kind}: nobody is left")
    found = records(tmp_path)
    assert len(found) == len(IN_ROUNDS)
    for (kind, (counted, _)), record in zip(IN_ROUNDS.items(), found, strict=True):
        summary = summarise(record)
        assert summary.header.command[-1] == kind
        assert summary.valid, (kind, summary.reasons)
        # How many beats come in a second is a matter of the machine.
        assert not summary.errors.keys() - {"heartbeat:too few beats"}, (kind, summary.errors)
        assert summary.figures[counted] > 0, kind
        assert summary.figures["connections.requested"] == max(EDITS)
        for fault in ("lost", "duplicated", "reordered", "corrupted"):
            assert summary.figures.get(f"integrity.{fault}", 0) == 0, (kind, fault)


@pytest.mark.long
def test_a_shape_edits_users_in_rounds_too(tmp_path: Path) -> None:
    with launch(*REFERENCE) as server:
        done = headless_until(
            has("connections.requested", 20),
            *(tmp_path, server.url(), "-u", "20", "-t", "60s", "BroadcastSwarm"),
            *("--swarm-flags", "--rate 20 --duration 1s"),
            locustfile="loadtests/locust/locustfile.py,loadtests/locust/shapes/steps.py",
        )
    assert done.status == 0, done.stdout + done.stderr
    figures = done.summary.figures
    assert figures["delivery.messages"] > 0
    assert figures["integrity.lost"] == 0
