"""Workers on machines of their own, as far as the network can tell: three network namespaces.

The clocks are those of one machine, so what is estimated of them must be nothing, within its own
uncertainty; and what is measured must be what one local run measures: all that the server did, and
its delay.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

import pytest

from reports.histogram import Histogram
from reports.record import Record, RecordError, read_record
from reports.summary import summarise
from tests.servers.launch import ROOT

SCRIPT = Path(__file__).with_name("namespaces.sh")
DELAY_SECONDS = 0.02
# Histograms keep three digits.
DELAY_NS = DELAY_SECONDS * 1e9 * 0.999
# Nothing delays the luckiest of hundreds of messages by so much, however busy the machine is.
LUCKIEST_NS = 1e9
USERS = 60
MESSAGES = {"echo": 300, "broadcast": 20}
# Seven Locust processes start on a machine that may have a lot else to do.
DEADLINE_SECONDS = 840.0


def has_namespaces() -> bool:
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return False
    tried = ["unshare", "--net", "--mount", "ip", "link", "add", "bridge0", "type", "bridge"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


@pytest.mark.long
@pytest.mark.timeout(900)
@pytest.mark.skipif(not has_namespaces(), reason="needs ip, unshare and the right to use them")
def test_three_namespaces_measure_what_one_local_run_does(tmp_path: Path) -> None:
    run_both(tmp_path)
    sent = received = 0.0
    for where in ("local", "far"):
        found = records(tmp_path / where)
        assert set(found) == set(MESSAGES)
        for record in found.values():
            figures = _checked(record, where)
            sent += figures["messages.sent"]
            received += figures["messages.received"]
    injected = json.loads((tmp_path / "server.json").read_text())
    assert injected["handshakes"] == 2 * len(MESSAGES) * USERS
    assert injected["messages"] == sent
    assert injected["deliveries"] == received


def run_both(folder: Path) -> None:
    """Run the script to its end, each of its runs until it has measured enough."""
    words = ["unshare", "--net", "--mount", "bash", str(SCRIPT), sys.executable, str(folder)]
    process = subprocess.Popen(words, cwd=ROOT, start_new_session=True)
    try:
        end = time.monotonic() + DEADLINE_SECONDS
        while process.poll() is None and time.monotonic() < end:
            where = "far" if (folder / "far").exists() else "local"
            # A record may have no header yet.
            with suppress(RecordError):
                if has_enough(records(folder / where)):
                    (folder / f"{where}.enough").touch()
            time.sleep(1.0)
        logs = "".join(f"--- {log.name}:\n{log.read_text()}" for log in folder.glob("*.log"))
        assert process.returncode == 0, logs
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def records(folder: Path) -> dict[str, Record]:
    """Return the records so far, one of each user class, by its scenario."""
    found = map(read_record, folder.glob("*.run.jsonl"))
    return {record.header.scenario: record for record in found}


def has_enough(found: dict[str, Record]) -> bool:
    sent = {
        what: summarise(record).figures.get("messages.sent", 0) for what, record in found.items()
    }
    return all(sent.get(what, 0) >= least for what, least in MESSAGES.items())


def _checked(record: Record, where: str) -> Mapping[str, float]:
    """Check one record by itself; return its figures."""
    what, summary = record.header.scenario, summarise(record)
    figures = summary.figures
    assert figures["connections.opened"] == USERS, (where, what, summary.errors)
    assert figures["errors"] == 0, (where, what, summary.errors)
    assert figures["integrity.expected"] >= MESSAGES[what]
    assert figures["integrity.lost"] == figures["integrity.duplicated"] == 0
    assert figures["integrity.corrupted"] == 0
    uncertainty_ns = figures.get("clock.uncertainty_seconds", 0.0) * 1e9
    assert (uncertainty_ns > 0) == (where == "far")
    offsets = [event.detail for event in record.events if event.name == "worker"]
    assert len({offset["process"] for offset in offsets}) == (3 if where == "far" else 1)
    for offset in offsets:
        assert offset["shares_clock"] == (where == "local")
        assert abs(offset["clock_offset_ns"]) <= offset["clock_uncertainty_ns"]
    # One way, a clock that is wrong shows; there and back it does not.
    error_ns = uncertainty_ns if what == "broadcast" else 0.0
    assert DELAY_NS - error_ns <= _least_ns(record) <= DELAY_NS + LUCKIEST_NS + error_ns
    return figures


def _least_ns(record: Record) -> int:
    """Return how long the luckiest message took."""
    texts = [
        line.histograms["latency"] for line in record.intervals if "latency" in line.histograms
    ]
    texts += [it.histogram for line in record.intervals for it in line.deliveries if it.histogram]
    return min(Histogram.decode(text).min_ns for text in texts)
