"""Locust as a library: an environment of the tester's own, and no command line."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from reports.record import read_record
from reports.summary import summarise
from tests.servers.launch import ROOT, known

DEADLINE_SECONDS = 120.0

# As Locust's documentation has it (docs.locust.io/en/stable/use-as-lib.html).
PROGRAM = """
import json, sys
import locust, locust.argument_parser, gevent
from locust.env import Environment
from loadtests.locust.locustfile import EchoSwarm
import tests.loadtests.locust.patience

environment = Environment(user_classes=[EchoSwarm], host=sys.argv[1], {events})
{options}
runner = environment.create_local_runner()
{init}
runner.start(4, spawn_rate=50)

def counted():
    return environment.stats.entries["EchoSwarm round trip", "WS"].num_requests

with gevent.Timeout(60, False):
    while counted() < 8 and runner.state != "stopped":
        gevent.sleep(0.05)
runner.quit()
print(json.dumps([counted(), environment.process_exit_code]))
"""
EVENTS = "events=locust.events"
INIT = "environment.events.init.fire(environment=environment, runner=runner, web_ui=None)"


def run(
    folder: Path, host: str, *, events: str = EVENTS, options: str = "", init: str = INIT
) -> tuple[int, int | None, str]:
    """Run the program; gives what was counted, the status that Locust would exit with, the log."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM.format(events=events, options=options, init=init), host],
        cwd=ROOT,
        env={**os.environ, "SWARMGATE_RECORD": str(folder / "records")},
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    counted, status = json.loads(done.stdout.splitlines()[-1])
    return counted, status, done.stderr


# None, those that were parsed before we were there, and those that we are asked something by.
OPTIONS = (
    "",
    "environment.parsed_options = __import__('argparse').Namespace(headless=False)",
    "environment.parsed_options = locust.argument_parser.get_parser().parse_args(['--users', '4'])",
)


@pytest.mark.parametrize("options", OPTIONS)
def test_an_environment_made_by_hand_runs_swarm_users(tmp_path: Path, options: str) -> None:
    with known() as server:
        counted, status, log = run(tmp_path, server.url("/echo"), options=options)
    assert "Traceback" not in log
    assert status == 0
    (path,) = (tmp_path / "records").iterdir()
    record = read_record(path)
    summary = summarise(record)
    assert record.footer is not None
    assert summary.valid
    assert counted == summary.figures["latency.count"] >= 8
    assert summary.close_codes == {1000: 4}


@pytest.mark.parametrize(("events", "init"), [("", INIT), (EVENTS, "")])
def test_an_environment_that_we_are_not_connected_to_is_refused_in_one_line(
    tmp_path: Path, events: str, init: str
) -> None:
    counted, _, log = run(tmp_path, "ws://127.0.0.1:1", events=events, init=init)
    assert counted == 0
    (line,) = log.splitlines()
    assert (
        "EchoSwarm needs Environment(events=locust.events, ...) and environment.events.init" in line
    )
