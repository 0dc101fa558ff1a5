"""Locust leads the swarm: users are connections, the record is that of ``swarmgate run``."""

import json
import re
from pathlib import Path

import pytest

from reports.summary import Summary, summarise
from tests.loadtests.locust.driver import LOCUSTFILE, ORDERS, Done, has, headless, headless_until
from tests.servers.launch import ROOT, known, launch

# On a machine of unknown speed: no schedule to be late against.
REFERENCE = ("target_app", "--port", "0", "--announce-limit", "0")
THINK = "--think 'exp 100ms'"
CLOSED = ("--swarm-flags", THINK)


def test_users_are_connections_and_the_record_is_the_swarms(tmp_path: Path) -> None:
    stats = tmp_path / "stats"
    with known() as server:
        host = server.url("/echo")
        done = headless_until(
            has("messages.received", 500),
            *(tmp_path, host, "-u", "50", "-r", "100", "EchoSwarm", *CLOSED),
            *("--json-file", str(stats)),
        )
        injected = server.stop()
    assert done.status == 0, done.stdout + done.stderr
    figures = done.summary.figures
    assert injected is not None
    assert figures["connections.opened"] == injected["handshakes"] == 50
    assert figures["messages.sent"] == figures["messages.received"] == injected["messages"]
    assert figures["integrity.expected"] == figures["messages.sent"] > 0
    assert figures["integrity.lost"] == figures["errors"] == 0
    assert figures["server.memory_bytes"] > 0
    assert done.summary.close_codes == {1000: 50}
    assert "Connected:" in done.stdout
    assert figures["connections.asked_per_second"] == 100
    assert re.search(r"Opened: +\S+ /s of 100 /s requested", done.stdout), done.stdout
    # Locust's own table is of the same messages, to three digits.
    rows = {row["name"]: row for row in json.loads(stats.with_suffix(".json").read_text())}
    trips = rows["EchoSwarm round trip"]
    assert trips["num_requests"] == figures["latency.count"]
    assert rows["EchoSwarm connect"]["num_requests"] == 50
    mean_ms = trips["total_response_time"] / trips["num_requests"]
    assert mean_ms == pytest.approx(figures["latency.mean_seconds"] * 1e3, rel=0.01)
    assert any(0 < float(key) < 1 for key in trips["response_times"]), "no rounding to whole ms"


def test_a_broadcast_from_one_worker_reaches_the_receivers_on_all(tmp_path: Path) -> None:
    with known() as server:
        done = headless_until(
            has("delivery.messages", 60),
            *(tmp_path, server.url("/ws"), "-u", "30", "-r", "30", "--processes", "2"),
            *("--swarm-flags", "--rate 20 --duration 1s", "BroadcastSwarm"),
        )
        injected = server.stop()
    assert injected is not None
    (record,) = done.records
    figures = summarise(record).figures
    phases = [event.detail["phase"] for event in record.events if event.name == "phase"]
    rounds = phases.count("collect")
    assert rounds >= 2, "the load is one of rounds"
    assert figures["delivery.messages"] == figures["messages.sent"] == injected["messages"]
    assert figures["integrity.expected"] == figures["messages.sent"] * 30
    assert figures["integrity.lost"] == figures["integrity.duplicated"] == 0
    # Both processes received; one published.
    received = {line.process: 0 for line in record.intervals}
    for line in record.intervals:
        received[line.process] += line.received
    assert sorted(received) == [0, 1]
    assert all(received.values())
    assert sum(received.values()) == figures["integrity.expected"]


def test_a_worker_that_is_late_for_a_round_loses_nothing_of_it(tmp_path: Path) -> None:
    with known() as server:
        done = headless_until(
            has("delivery.messages", 60),
            *(tmp_path, server.url("/ws"), "-u", "10", "-r", "30", "--processes", "2"),
            *("--swarm-flags", "--rate 20 --duration 2s", "BroadcastSwarm"),
            locustfile=f"{LOCUSTFILE},{ROOT}/tests/loadtests/locust/late.py",
        )
    figures = done.summary.figures
    assert figures["integrity.expected"] == figures["messages.sent"] * 10
    assert figures["integrity.lost"] == figures["integrity.duplicated"] == 0


# What each class counts if it does what it is for, with the parameters below.
COUNTED = {
    "HoldSwarm": "connections.opened",
    "EventsSwarm": "latency.count",
    "SessionSwarm": "acknowledgement.count",
    "ChatSwarm": "delivered.count",
    "StormSwarm": "storm.back",
    "ChurnSwarm": "churn.arrived",
    "HeartbeatSwarm": "heartbeat.pongs",
    "SlowConsumerSwarm": "slow-consumer.slow",
    "ScriptSwarm": "iteration.count",
}
PARAMETERS = ("rooms=2", "publishers=4", "backoff=fixed", "first=50ms", "at=200ms", "interval=1s")
FLAGS = (
    *(word for parameter in PARAMETERS for word in ("--param", parameter)),
    *("--duration", "3s", "--scenario", "examples/talkers.py"),
)


def does_what_it_is_for(summary: Summary) -> bool:
    (kind,) = {summary.header.command[-1]} & set(COUNTED)
    figures = summary.figures
    return figures.get(COUNTED[kind], 0) > 0 and figures["connections.opened"] >= 10


def test_every_scenario_can_be_picked_and_given_its_parameters(tmp_path: Path) -> None:
    """All at once, each class on connections of its own and with a record of its own."""
    # Five times as often as is asked for: a server that is held up leaves out some.
    with launch(*REFERENCE, "--heartbeat-seconds", "0.2") as server:
        done = headless_until(
            lambda found: len(found) == len(COUNTED) and all(map(does_what_it_is_for, found)),
            *(tmp_path, server.url(), "-u", "90", "-r", "90", *COUNTED),
            *("--swarm-flags", " ".join(FLAGS)),
        )
    assert len(done.records) == len(COUNTED), done.stdout + done.stderr
    for record in done.records:
        kind, summary = record.header.command[-1], summarise(record)
        assert does_what_it_is_for(summary), (kind, done.stdout, done.stderr)
        # How many beats come in a second is a matter of the machine.
        errors = summary.errors.keys() - {"heartbeat:too few beats"}
        assert not errors, (kind, summary.errors)
        assert summary.figures["connections.opened"] >= 10
    assert done.status == 0, done.stdout + done.stderr


READY = re.findall(r"^class (\w+)\(SwarmUser\)", Path(LOCUSTFILE).read_text(), re.MULTILINE)
DEFAULTS = {**COUNTED, "EchoSwarm": "latency.count", "BroadcastSwarm": "delivery.messages"}


@pytest.mark.parametrize("kind", READY)
def test_every_ready_class_runs_with_its_own_defaults(tmp_path: Path, kind: str) -> None:
    flags = ("--swarm-flags", "--scenario examples/talkers.py") if kind == "ScriptSwarm" else ()
    with launch(*REFERENCE) as server:
        done = headless_until(
            has(DEFAULTS[kind], 1),
            *(tmp_path, server.url(), "-u", "4", "-r", "50", kind, *flags),
        )
    assert done.status == 0, done.stdout + done.stderr
    assert done.summary.valid
    assert done.summary.errors == {}


STEPS = 5
"""Of loadtests/locust/shapes/steps.py."""
SECONDS = 12
"""Of a rate, until it is known well enough."""


def test_a_rate_of_all_is_shared_and_one_of_each_grows_with_the_users(tmp_path: Path) -> None:
    found = {}
    with known() as server:
        for whose, flags in (("all", ""), ("each connection", " --per-connection")):
            done = headless_until(
                has("latency.count", 20 * SECONDS if whose == "all" else 200 * SECONDS),
                *(tmp_path / whose, server.url("/echo"), "-u", "10", "-r", "100"),
                *("--processes", "2", "--swarm-flags", f"--rate 20{flags}", "EchoSwarm"),
            )
            (record,) = done.records
            settled = next(it.t_ns for it in record.events if it.name == "users")
            sent = [it for it in record.intervals if it.phase == "measure"]
            later = [it for it in sent if it.t_ns - it.duration_ns > settled + 0.5e9]
            seconds = sum(it.duration_ns for it in later) / 2e9
            found[whose] = sum(it.sent for it in later) / seconds
    assert found["all"] == pytest.approx(20, rel=0.25)
    assert found["each connection"] == pytest.approx(200, rel=0.25)


def test_a_worker_takes_an_order_for_users_at_once(tmp_path: Path) -> None:
    """Locust's own way is a parser for each option, while which its heartbeat is silent."""
    with known() as server:
        done = headless_until(
            has("latency.count", 20),
            *(tmp_path, server.url("/echo"), "-u", "6", "-r", "2", "--processes", "1"),
            *("EchoSwarm", *CLOSED),
            locustfile=f"{LOCUSTFILE},{ORDERS}",
        )
    (built,) = re.findall(r"(\d+) parsers were built", done.stderr)
    # All but one are of its start.
    assert int(built) <= 5


def test_thresholds_decide_the_exit_status(tmp_path: Path) -> None:
    statuses = {}
    with known() as server:
        for text in (
            "--threshold 'latency.p99_seconds<=30s' --threshold 'errors<=0'",
            "--threshold 'latency.p50_seconds<=1ns'",
            "--threshold 'EchoSwarm round trip.p50_seconds<=1ns'",
            "--threshold 'EchoSwarm no such row.p50_seconds<=1s'",
        ):
            done = headless_until(
                has("latency.count", 20),
                *(tmp_path / f"{len(statuses)}", server.url("/echo"), "-u", "5", "-r", "50"),
                *("EchoSwarm", "--swarm-flags", f"{THINK} {text}"),
            )
            statuses[text] = done.status, done.stdout
    assert [status for status, _ in statuses.values()] == [0, 1, 1, 1]
    lines = [stdout.splitlines()[-1] for _, stdout in statuses.values()]
    assert lines[0] == "HELD: nothing went wrong"
    assert re.fullmatch(r"FAILED: latency.p50_seconds <= 1.00 ns, found \S+ \S+", lines[1])
    assert lines[2].startswith("FAILED: EchoSwarm round trip.p50_seconds <= 1.00 ns, found ")
    last = statuses["--threshold 'EchoSwarm no such row.p50_seconds<=1s'"][1]
    assert (
        "Threshold failed: EchoSwarm no such row.p50_seconds <= 1.00 s, found not measured" in last
    )


def test_a_shape_of_steps_gives_the_memory_of_a_connection(tmp_path: Path) -> None:
    # On a busy machine the swarm may take longer to start than a step lasts; then they last longer.
    for seconds in (25, 120):
        done, reached = steps_over(seconds, tmp_path / str(seconds))
        if len(reached) == STEPS:
            break
    assert done.status == 0, done.stdout + done.stderr
    assert reached == [100, 200, 300, 400, 500]
    assert 1_000 < done.summary.figures["server.memory_per_connection_bytes"] < 200_000
    (record,) = done.records
    asked = [it.detail["count"] for it in record.events if it.name == "users"]
    assert asked[-1] == 500


def steps_over(seconds: int, folder: Path) -> tuple[Done, list[float]]:
    """Have 500 users in five steps; return at how many connections memory was read."""
    folder.mkdir()
    with launch(*REFERENCE) as server:
        done = headless(
            *(folder, server.url(), "-u", "500", "-r", "500", "-t", f"{seconds}s", "HoldSwarm"),
            locustfile="loadtests/locust/locustfile.py,loadtests/locust/shapes/steps.py",
        )
    (record,) = done.records
    steps = [it for it in record.samples if it.mark == "step" and it.source == "server"]
    return done, [it.values["connections"] for it in steps]


def test_refusals_are_failures_by_their_cause(tmp_path: Path) -> None:
    with known("--refuse-every", "2", "--refuse-status", "503") as server:
        done = headless_until(
            lambda found: any(
                summary.figures["connections.opened"] + summary.figures["connections.failed"] == 20
                for summary in found
            ),
            *(tmp_path, server.url("/echo"), "-u", "20", "-r", "50", "EchoSwarm", *CLOSED),
        )
    assert done.status == 1
    assert done.summary.errors == {"upgrade:http-503": 10}
    assert done.summary.figures["connections.opened"] == 10
    assert "WS EchoSwarm connect: upgrade:http-503" in " ".join(
        done.stdout.split() + done.stderr.split()
    )
    assert any(it.name == "first_failure" for it in done.records[0].events)
