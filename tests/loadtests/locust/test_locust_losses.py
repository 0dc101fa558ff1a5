"""What is lost shows in Locust's table while the test runs, on its own row, and once."""

import contextlib
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

from reports.summary import Summary, summarise
from tests.loadtests.locust.driver import Locust, locust, records
from tests.servers.launch import known, launch

# How long what is under way at the end is waited for; there is no flag for it.
PATIENT = """
from dataclasses import replace

from loadtests.locust import arguments

_checked = arguments.checked
arguments.checked = lambda plan: _checked(replace(plan, collect_seconds={seconds}))
"""


@contextlib.contextmanager
def waiting_at_the_end(folder: Path, seconds: float) -> Iterator[Locust]:
    file = folder / "waiting.py"
    file.write_text(PATIENT.format(seconds=seconds))
    with locust(folder, more=(file,)) as running:
        yield running


def row(running: Locust, name: str) -> Mapping[str, int]:
    return {it["name"]: it for it in running.stats()["stats"]}[name]


def causes(running: Locust) -> dict[str, int]:
    """Return how many failed, by row and cause."""
    found = running.stats()["errors"]
    return {f"{it['name']}: {it['error']}": it["occurrences"] for it in found}


def end(running: Locust, folder: Path) -> Summary:
    running.stop()
    running.wait(lambda: running.users() == 0, "nobody is left")
    (record,) = records(folder)
    return summarise(record)


@pytest.mark.parametrize(
    ("load", "cause"),
    [
        ("--think 100ms", "reply:timeout"),
        ("--rate 20", "lost"),
    ],
)
def test_replies_that_never_come_are_seen_while_the_test_runs(
    tmp_path: Path, load: str, cause: str
) -> None:
    flags = f"--reply-timeout 1s {load}"
    with (
        launch("tests.servers.obedient", "0") as server,
        waiting_at_the_end(tmp_path, 1.0) as running,
    ):
        running.start(server.url("/silent"), 4, 100, "EchoSwarm", swarm_flags=flags)
        name = "EchoSwarm round trip"
        running.wait(lambda: row(running, name)["num_failures"] >= 8, "they are seen")
        assert causes(running)[f"{name}: {cause}"] >= 8
        lost = running.rows()["lost"]
        summary = end(running, tmp_path)
        # What was under way at the end is lost, too, and nothing is counted a second time.
        sent = summary.figures["messages.sent"]
        assert row(running, name)["num_requests"] == row(running, name)["num_failures"] == sent
        assert sum(causes(running).values()) == sent
        assert {it["name"] for it in running.stats()["stats"]} == {
            *("EchoSwarm connect", name, "Aggregated"),
        }
    assert summary.figures["integrity.lost"] == summary.figures["integrity.expected"] == sent
    assert lost != "0"


def test_a_reply_that_comes_after_all_is_not_lost(tmp_path: Path) -> None:
    flags = "--reply-timeout 500ms --rate 20"
    with (
        known("--delay-seconds", "1.5") as server,
        waiting_at_the_end(tmp_path, 60.0) as running,
    ):
        running.start(server.url("/echo"), 4, 100, "EchoSwarm", swarm_flags=flags)
        name = "EchoSwarm round trip"
        running.wait(lambda: row(running, name)["num_failures"] >= 8, "they are overdue")
        running.wait(
            lambda: row(running, name)["num_requests"] - row(running, name)["num_failures"] >= 8,
            "they come",
        )
        summary = end(running, tmp_path)
    figures = summary.figures
    assert figures["integrity.lost"] == figures["integrity.duplicated"] == 0
    assert figures["latency.count"] == figures["integrity.expected"] == figures["messages.sent"]


def test_deliveries_that_never_come_are_seen_when_their_round_ends(tmp_path: Path) -> None:
    flags = "--rate 20 --duration 1s"
    with known("--lose-every", "5") as server, waiting_at_the_end(tmp_path, 1.0) as running:
        running.start(server.url("/ws"), 4, 100, "BroadcastSwarm", swarm_flags=flags)
        name = "BroadcastSwarm delivery"
        running.wait(lambda: row(running, name)["num_failures"] >= 8, "they are seen")
        assert causes(running)[f"{name}: lost"] >= 8
        summary = end(running, tmp_path)
        figures = summary.figures
        assert row(running, name)["num_failures"] == figures["integrity.lost"]
        assert row(running, name)["num_requests"] == figures["integrity.expected"]
        assert {it["name"] for it in running.stats()["stats"]} == {
            *("BroadcastSwarm connect", name, "Aggregated"),
        }
