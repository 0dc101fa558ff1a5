"""Workers on machines of their own, as far as the network can tell: three network namespaces.

The clocks are those of one machine, so what is estimated of them must be nothing, within its own
uncertainty; and what is measured must be what one local run measures.
"""

import shutil
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from reports.record import Record, read_record
from reports.summary import Summary, summarise, totals_of
from tests.servers.launch import ROOT

SCRIPT = Path(__file__).with_name("namespaces.sh")
DELAY_SECONDS = 0.02
# What a busy machine may add to the quickest of all in one run and not in the other. That no offset
# is estimated beyond its uncertainty is asserted of each by itself.
SLACK_SECONDS = 0.5
DEADLINE_SECONDS = 840.0


def has_namespaces() -> bool:
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return False
    tried = ["unshare", "--net", "--mount", "ip", "link", "add", "bridge0", "type", "bridge"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


@pytest.mark.timeout(DEADLINE_SECONDS + 30.0)
@pytest.mark.skipif(not has_namespaces(), reason="needs ip, unshare and the right to use them")
def test_three_namespaces_measure_what_one_local_run_does(tmp_path: Path) -> None:
    words = ["unshare", "--net", "--mount", "bash", str(SCRIPT), sys.executable, str(tmp_path)]
    done = subprocess.run(
        words, cwd=ROOT, capture_output=True, text=True, check=False, timeout=DEADLINE_SECONDS
    )
    assert done.returncode == 0, done.stderr
    records = {name: one(tmp_path / name) for name in ("local-echo", "far-echo")}
    records |= {name: one(tmp_path / name) for name in ("local-broadcast", "far-broadcast")}
    for name, record in records.items():
        _check_counts(name, summarise(record))
        offsets = [event.detail for event in record.events if event.name == "worker"]
        processes = {offset["process"] for offset in offsets}
        assert len(processes) == (3 if name.startswith("far") else 1)
        for offset in offsets:
            assert offset["shares_clock"] == (not name.startswith("far"))
            assert abs(offset["clock_offset_ns"]) <= offset["clock_uncertainty_ns"]
    uncertainty = {
        what: summarise(records[f"far-{what}"]).figures["clock.uncertainty_seconds"]
        for what in ("echo", "broadcast")
    }
    for what, seconds in uncertainty.items():
        assert "clock.uncertainty_seconds" not in summarise(records[f"local-{what}"]).figures
        assert 0 < seconds < SLACK_SECONDS
    # The quickest, because whatever else a busy machine does, it is not held up each time.
    local = quickest_echo(records["local-echo"])
    far = quickest_echo(records["far-echo"])
    assert local >= DELAY_SECONDS
    assert DELAY_SECONDS <= far <= local + SLACK_SECONDS
    (local,) = quickest_deliveries(records["local-broadcast"])
    assert local >= DELAY_SECONDS
    # One way, a clock that is wrong shows; there and back it does not.
    off = uncertainty["broadcast"]
    far_ones = quickest_deliveries(records["far-broadcast"])
    assert len(far_ones) == 3
    for far in far_ones:
        assert DELAY_SECONDS - off <= far <= local + SLACK_SECONDS + off


def quickest_deliveries(record: Record) -> list[float]:
    """Return the shortest time to a receiver, in seconds, at each of the swarm's processes."""
    found: defaultdict[int, list[int]] = defaultdict(list)
    for interval in record.intervals:
        found[interval.process] += [each.first_ns for each in interval.deliveries]
    return [min(times) / 1e9 for times in found.values() if times]


def quickest_echo(record: Record) -> float:
    """Return the shortest latency, in seconds."""
    return totals_of(record).histograms["latency"].min_ns / 1e9


def one(folder: Path) -> Record:
    (path,) = folder.glob("*.run.jsonl")
    return read_record(path)


def _check_counts(name: str, summary: Summary) -> None:
    figures = summary.figures
    assert figures["connections.opened"] == 60, (name, summary.errors)
    assert figures["errors"] == 0, (name, summary.errors)
    assert figures["integrity.expected"] > 0
    assert figures["integrity.lost"] == figures["integrity.duplicated"] == 0
    assert figures["integrity.corrupted"] == 0
