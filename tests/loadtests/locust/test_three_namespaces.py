"""Workers on machines of their own, as far as the network can tell: three network namespaces.

The clocks are those of one machine, so what is estimated of them must be nothing, within its own
uncertainty; and what is measured must be what one local run measures.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from reports.record import Record, read_record
from reports.summary import Summary, summarise
from tests.servers.launch import ROOT

SCRIPT = Path(__file__).with_name("namespaces.sh")
DELAY_SECONDS = 0.02
# What a busy machine may add to one and not to the other, besides the delay that the server
# injects. That no offset is estimated beyond its uncertainty is asserted of each by itself.
SLACK_SECONDS = 0.5
DEADLINE_SECONDS = 270.0


def has_namespaces() -> bool:
    if shutil.which("ip") is None or shutil.which("unshare") is None:
        return False
    tried = ["unshare", "--net", "--mount", "ip", "link", "add", "bridge0", "type", "bridge"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


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
    for what, figures in (
        ("echo", ("latency.p50_seconds", "latency.p90_seconds")),
        ("broadcast", ("delivery.first_seconds", "delivery.median_seconds")),
    ):
        local = summarise(records[f"local-{what}"]).figures
        far = summarise(records[f"far-{what}"]).figures
        assert "clock.uncertainty_seconds" not in local
        uncertainty = far["clock.uncertainty_seconds"]
        assert 0 < uncertainty < SLACK_SECONDS
        for figure in figures:
            assert local[figure] >= DELAY_SECONDS
            # One way, a clock that is wrong shows; there and back it does not.
            assert far[figure] >= DELAY_SECONDS - (uncertainty if what == "broadcast" else 0)
            assert far[figure] == pytest.approx(local[figure], abs=SLACK_SECONDS + uncertainty)


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
