"""Whoever listens to Locust's request event hears of swarm users, once of each row a second."""

import csv
import json
from collections import Counter
from pathlib import Path

from reports.histogram import Histogram
from tests.loadtests.locust.driver import LOCUSTFILE, has, headless, headless_until
from tests.servers.launch import known

THINK = ("--swarm-flags", "--think 'exp 50ms'")

# As the documentation of Locust has a listener, with all arguments by name; beside it one of
# Locust's own exporters.
LISTENING = """
import json
from locust import events
from locust.contrib.csv_request_logger import CsvRequestLogger

heard = open({heard!r}, "w")
exporter = CsvRequestLogger({exported!r})


@events.init.add_listener
def register(environment, **_):
    exporter.register(environment)


@events.request.add_listener
def hear(
    request_type, name, response_time, response_length, response, context, exception, start_time,
    url, **_,
):
    row = [request_type, name, response_time, str(exception or ""), context, url]
    heard.write(json.dumps(row) + chr(10))


@events.test_stop.add_listener
def close(**_):
    heard.close()
"""


def test_listeners_hear_of_all_that_locust_counts_and_locust_counts_it_once(
    tmp_path: Path,
) -> None:
    heard, exported, stats = (tmp_path / name for name in ("heard", "exported.csv", "stats"))
    listening = tmp_path / "listening.py"
    listening.write_text(LISTENING.format(heard=str(heard), exported=str(exported)))
    with known("--refuse-every", "4", "--refuse-status", "503") as server:
        done = headless_until(
            has("messages.received", 200),
            *(tmp_path, server.url("/echo"), "-u", "8", "-r", "50", "EchoSwarm", *THINK),
            *("--json-file", str(stats)),
            locustfile=f"{LOCUSTFILE},{listening}",
        )
    figures = done.summary.figures
    assert figures["latency.count"] >= 200
    events = [json.loads(line) for line in heard.read_text().splitlines()]
    counts: Counter[str] = Counter()
    failures: Counter[str] = Counter()
    times: Counter[str] = Counter()
    for kind, name, mean_ms, _, context, url in events:
        detail = context["swarmgate"]
        counts[name] += detail["count"]
        failures[name] += sum(detail["failures"].values())
        if "histogram" in detail:
            times[name] += Histogram.decode(detail["histogram"]).count
            assert 0 < detail["times_ms"]["min"] <= mean_ms <= detail["times_ms"]["max"]
        assert (kind, url) == ("WS", server.url("/echo"))
    rows = {row["name"]: row for row in json.loads(stats.with_suffix(".json").read_text())}
    assert counts == {name: row["num_requests"] for name, row in rows.items()}
    assert failures == {"EchoSwarm round trip": 0, "EchoSwarm connect": 2}
    assert times == {"EchoSwarm round trip": figures["latency.count"], "EchoSwarm connect": 6}
    assert {exception for _, _, _, exception, _, _ in events} == {"", "upgrade:http-503"}
    # An exporter of Locust's own has a line of each.
    with exported.open() as file:
        lines = list(csv.DictReader(file))
    assert [line["name"] for line in lines] == [name for _, name, *_ in events]


STOPPING = """
from locust import events
from locust.exception import StopTest, StopUser


@events.request.add_listener
def stop(name, context, **_):
    if name == "EchoSwarm connect":
        raise StopUser
    if name == "EchoSwarm round trip":
        raise StopTest(f"enough after {context['swarmgate']['count'] > 0}")
"""


def test_a_listener_may_end_the_test_and_ends_no_user(tmp_path: Path) -> None:
    stopping = tmp_path / "stopping.py"
    stopping.write_text(STOPPING)
    with known() as server:
        done = headless(
            *(tmp_path, server.url("/echo"), "-u", "4", "-r", "50", "-t", "200s", "EchoSwarm"),
            *THINK,
            locustfile=f"{LOCUSTFILE},{stopping}",
        )
    assert "enough after True" in done.stdout + done.stderr
    assert done.status == 0, done.stdout + done.stderr
    assert done.summary.figures["connections.opened"] == 4
    assert done.summary.figures["latency.count"] > 0
