"""What Locust itself writes at the end has all of the test in it, its last second too."""

import csv
import json
from pathlib import Path

from tests.loadtests.locust.driver import has, headless_until
from tests.servers.launch import known

THINK = ("--swarm-flags", "--think 'exp 20ms'")


def test_the_last_second_is_in_the_csv_files_the_table_and_the_report(tmp_path: Path) -> None:
    prefix, page = tmp_path / "csv" / "run", tmp_path / "report.html"
    with known("--refuse-every", "4", "--refuse-status", "503") as server:
        done = headless_until(
            has("messages.received", 200),
            *(tmp_path, server.url("/echo"), "-u", "8", "-r", "50", "EchoSwarm", *THINK),
            *("--csv", str(prefix), "--html", str(page)),
        )
    figures = done.summary.figures
    with prefix.with_name("run_stats.csv").open() as file:
        rows = {row["Name"]: row for row in csv.DictReader(file)}
    counted = {name: (row["Request Count"], row["Failure Count"]) for name, row in rows.items()}
    trips, opened = int(figures["latency.count"]), 6
    assert counted == {
        "EchoSwarm round trip": (f"{trips}", "0"),
        "EchoSwarm connect": (f"{opened + 2}", "2"),
        "Aggregated": (f"{trips + opened + 2}", "2"),
    }
    with prefix.with_name("run_failures.csv").open() as file:
        (failed,) = csv.DictReader(file)
    assert (failed["Name"], failed["Error"], failed["Occurrences"]) == (
        *("EchoSwarm connect", "upgrade:http-503", "2"),
    )
    with prefix.with_name("run_stats_history.csv").open() as file:
        *_, last = csv.DictReader(file)
    assert last["Total Request Count"] == f"{trips + opened + 2}"
    lines = [line.split() for line in (done.stdout + done.stderr).splitlines()]
    # The table, then that of percentiles, whose count is the last of its row.
    *_, counts, percentiles = (it for it in lines if it[1:4] == ["EchoSwarm", "round", "trip"])
    assert (counts[4], percentiles[-1]) == (f"{trips}", f"{trips}")
    assert f'"num_requests": {trips},' in page.read_text()


def test_json_stands_alone_on_standard_output_and_the_summary_beside_it(tmp_path: Path) -> None:
    with known() as server:
        done = headless_until(
            has("messages.received", 200),
            *(tmp_path, server.url("/echo"), "-u", "4", "-r", "50", "EchoSwarm", "--json"),
            *("--swarm-flags", "--think 20ms --threshold 'latency.p50_seconds<=1ns'"),
        )
    rows = {row["name"]: row["num_requests"] for row in json.loads(done.stdout)}
    assert rows["EchoSwarm round trip"] == done.summary.figures["latency.count"]
    assert "Connected:" in done.stderr
    assert "Threshold failed: latency.p50_seconds" in done.stderr
    assert done.status == 1
