"""What a second of the swarm adds to Locust's table: nothing lost, nothing twice.

In a process of its own, as Locust patches the process that imports it.
"""

import json
import subprocess
import sys

import pytest

from reports.histogram import Histogram
from tests.servers.launch import ROOT

SCRIPT = """
import json, random
from loadtests.locust.stats import enter, rows
from locust.stats import RequestStats
from reports.histogram import Histogram
from reports.record import Delivery, Interval

def held(values):
    histogram = Histogram()
    histogram.record(values)
    return histogram.encode()

draw = random.Random(7)
stats, lost, all_ns = RequestStats(), 0, []
for second in range(5):
    latency = [draw.randrange(20_000, 80_000_000) for _ in range(1000)]
    all_ns += latency
    lost += second
    interval = Interval(
        process=0, t_ns=second, duration_ns=10**9, phase="measure", open=3, failed=2,
        received_bytes=64_000,
        errors={"connect:refused": 2, "closed:1006": 1},
        integrity={"lost": second, "expected": 1000},
        histograms={
            "latency": held(latency), "service_time": held(latency), "open": held([5_000_000]),
            "lateness": held([1]), "loop_lag": held([1]), "tcp_connect": held([1]),
        },
        deliveries=(Delivery(0, 4, 1, 4, held([1, 2, 3, 4])),) if second == 4 else (),
    )
    for row in rows("Users", interval):
        enter(stats, row)

entries = {name: entry.serialize() for (name, _), entry in stats.entries.items()}
errors = {error.to_name(): error.occurrences for error in stats.errors.values()}
total = stats.total.serialize()
print(json.dumps({
    "entries": entries, "errors": errors, "total": total,
    "mean_of_all": stats.total.avg_response_time,
    "median_of_all": stats.total.get_response_time_percentile(0.5),
    "median_of_trips": stats.entries["Users round trip", "WS"].get_response_time_percentile(0.5),
    "exact_mean": sum(all_ns) / len(all_ns) / 1e6, "max": max(all_ns) / 1e6, "lost": lost,
}))
"""


def test_locust_is_fed_with_all_that_was_measured() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    output = json.loads(done.stdout)
    entries = output["entries"]
    # One row for what a user sees: not what a round trip is made of, nor the swarm's own health.
    assert set(entries) == {
        *("Users round trip", "Users connect", "Users connection", "Users delivery"),
    }
    trips = entries["Users round trip"]
    assert trips["num_requests"] == 5000 + output["lost"]
    assert trips["num_failures"] == output["lost"] == 10
    assert sum(trips["response_times"].values()) == 5000
    assert sum(trips["num_reqs_per_sec"].values()) == 5010
    assert abs(trips["total_response_time"] / 5000 / output["exact_mean"] - 1) < 0.001
    assert abs(trips["max_response_time"] / output["max"] - 1) < 0.001
    assert any(0 < float(key) < 1 for key in trips["response_times"])
    assert entries["Users connect"]["num_requests"] == 5 + 10
    assert sum(entries["Users delivery"]["response_times"].values()) == 4
    assert output["errors"] == {
        "WS Users round trip: lost": 10,
        "WS Users connect: connect:refused": 10,
        "WS Users connection: closed:1006": 5,
    }


def test_locusts_charts_do_not_mix_connecting_with_what_users_wait_for() -> None:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    output = json.loads(done.stdout)
    total = output["total"]
    # All are counted,
    assert total["num_requests"] == 5010 + 15 + 5 + 4
    assert total["num_failures"] == 10 + 10 + 5
    # and of connecting, and of what failed, there are no times among the others'.
    assert sum(total["response_times"].values()) == 5000 + 4
    assert total["num_requests"] - total["num_none_requests"] == 5000 + 4
    trips = output["entries"]["Users round trip"]
    assert abs(output["mean_of_all"] / (trips["total_response_time"] / 5004) - 1) < 0.001
    assert abs(output["median_of_all"] / output["median_of_trips"] - 1) < 0.02
    # Its own row has them.
    assert sum(output["entries"]["Users connect"]["response_times"].values()) == 5


EVENT = """
import json
from loadtests.locust.stats import rows
from loadtests.locust.request_events import event_of
from reports.histogram import Histogram
from reports.record import Interval

latency = Histogram()
latency.record([1_000_000] * 3 + [5_000_000])
interval = Interval(
    process=2, t_ns=1, duration_ns=2 * 10**9, phase="measure", open=3, received_bytes=400,
    errors={"reply:timeout": 2, "closed:1006": 1}, histograms={"latency": latency.encode()},
)
events = [event_of("Users", "ws://x/", interval, row, 1002.0) for row in rows("Users", interval)]
print(json.dumps([{**it, "exception": repr(it["exception"])} for it in events]))
"""


def test_an_event_stands_for_all_of_a_row() -> None:
    done = subprocess.run(
        [sys.executable, "-c", EVENT], cwd=ROOT, capture_output=True, text=True, check=True
    )
    trips, ended = json.loads(done.stdout)
    ours = trips.pop("context")["swarmgate"]
    assert trips == {
        "request_type": "WS",
        "name": "Users round trip",
        "response_time": pytest.approx(2.0, rel=0.001),
        "response_length": 100,
        "response": None,
        "exception": "WebSocketUserError('reply:timeout')",
        "start_time": 1000.0,
        "url": "ws://x/",
    }
    assert (ours["user"], ours["process"], ours["phase"]) == ("Users", 2, "measure")
    assert (ours["count"], ours["failures"], ours["seconds"]) == (6, {"reply:timeout": 2}, 2.0)
    assert ours["times_ms"]["p50"] == pytest.approx(1.0, rel=0.001)
    assert ours["times_ms"]["max"] == pytest.approx(5.0, rel=0.001)
    assert Histogram.decode(ours["histogram"]).count == 4
    assert ended["name"] == "Users connection"
    assert ended["response_time"] is None
    assert ended["context"]["swarmgate"]["count"] == 1
    assert "histogram" not in ended["context"]["swarmgate"]
