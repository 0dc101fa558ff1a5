"""A network that drops packets: nothing is lost to the ledger, and what TCP does about it is seen.

In a network namespace of its own, whose loopback is a queue too short for a burst (tc-tbf(8)).
"""

import json
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

QUEUE = "tbf rate 30mbit burst 4kb limit 12kb"
LOOPBACK = f"ip link set lo mtu 1500 up && tc qdisc add dev lo root {QUEUE}"


def has_namespaces() -> bool:
    if shutil.which("tc") is None or shutil.which("unshare") is None:
        return False
    tried = ["unshare", "-n", "sh", "-c", LOOPBACK]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not has_namespaces(), reason="needs tc, unshare and the right to use them")
def test_dropped_packets_are_late_and_not_lost(tmp_path: Path) -> None:
    target = f"{sys.executable} -m tests.servers.plain_websockets {{port}} --no-compression"
    run = [
        *(sys.executable, "-m", "benchmarks", "run", "ws://127.0.0.1:{port}/echo", "20"),
        *("--scenario", "echo", "--rate", "40", "-d", "3s", "--payload", "20KiB"),
        *("--target-cmd", target, "--json", "-q", "-o", str(tmp_path / "a.run.jsonl")),
    ]
    script = f"{LOOPBACK} && {shlex.join(run)}; tc -s -j qdisc show dev lo"
    done = subprocess.run(
        ["unshare", "-n", "sh", "-c", script], capture_output=True, text=True, check=False
    )
    # One document after the other.
    summary, end = json.JSONDecoder().raw_decode(done.stdout)
    (queue,) = json.loads(done.stdout[end:])
    figures = summary["figures"]
    assert queue["drops"] > 0, "the network was meant to drop packets"
    assert figures["integrity.expected"] == figures["messages.sent"] == 120
    for fault in ("lost", "duplicated", "reordered", "corrupted"):
        assert figures[f"integrity.{fault}"] == 0
    # What is sent again is late by a round trip through the queue at least, mostly by 200 ms
    # (RFC 6298, Linux's TCP_RTO_MIN); undisturbed it would be a fraction of a millisecond.
    assert figures["latency.max_seconds"] > 0.01
