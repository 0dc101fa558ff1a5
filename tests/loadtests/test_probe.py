"""Readings are of the process tree asked for, and of nothing else."""

import contextlib
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from loadtests.measure import process_clocks
from loadtests.run import probe
from tests.servers.launch import launch

HOLDER = """
import subprocess, sys, threading
held = bytearray(b"x" * 50_000_000)
child = subprocess.Popen(
    [sys.executable, "-c", "import sys; print(1, flush=True); sys.stdin.read()"],
    stdin=subprocess.PIPE,
    stdout=subprocess.PIPE,
)
child.stdout.readline()
threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
sys.stdin.read()
child.kill()
child.wait()
"""


@contextmanager
def holder() -> Iterator[int]:
    """Run a process that holds 50 MB, a thread and a child; gives its number."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdout is not None
    assert process.stdin is not None
    process.stdout.readline()
    try:
        yield process.pid
    finally:
        process.stdin.close()
        process.wait()
        process.stdout.close()


def test_a_tree_is_read_with_its_children() -> None:
    with holder() as pid:
        reading = probe.sample_processes([pid])
    assert reading["processes"] == 2
    assert reading["threads"] == 3
    assert reading["files"] >= 6
    assert 50e6 < reading["uss_bytes"] <= reading["pss_bytes"] <= reading["rss_bytes"]


def test_the_cpu_time_of_a_tree_never_falls_when_a_child_of_it_ends() -> None:
    lines = """
import subprocess, sys
work = "sum(range(3_000_000)); print(1, flush=True); input()"
child = subprocess.Popen([sys.executable, "-c", work],
                         stdin=subprocess.PIPE, stdout=subprocess.PIPE)
child.stdout.readline()
print("busy", flush=True)
input()
child.communicate(b"\\n")
print("gone", flush=True)
input()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", lines], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert process.stdin is not None
    assert process.stdout is not None
    trees = probe.ProcessTrees([process.pid])
    process.stdout.readline()
    before = trees.read(thorough=False)
    assert "busiest_thread_ratio" not in before
    process.stdin.write(b"\n")
    process.stdin.flush()
    process.stdout.readline()
    after = trees.read(thorough=False)
    process.communicate(b"\n")
    assert (before["processes"], after["processes"]) == (2, 1)
    assert after["cpu_seconds"] >= before["cpu_seconds"] > 0
    assert after["busiest_thread_ratio"] >= 0


def test_the_busiest_thread_is_reported_apart_from_the_sum() -> None:
    trees = probe.ProcessTrees([os.getpid()])
    trees.read(thorough=False)
    begun = time.thread_time()
    while time.thread_time() < begun + 0.2:
        pass
    reading = trees.read(thorough=False)
    assert 0 < reading["busiest_thread_ratio"] <= 1.1


def test_a_process_that_waits_for_a_core_knows_it() -> None:
    assert process_clocks.waited_ns() >= 0
    with contextlib.suppress(FileNotFoundError):
        schedstat_ns = int(Path("/proc/self/schedstat").read_text().split()[1])
        assert process_clocks.waited_ns() >= schedstat_ns > 0


def test_a_tree_that_is_named_twice_is_counted_once() -> None:
    with holder() as pid:
        assert probe.sample_processes([pid, pid])["processes"] == 2


def test_a_light_reading_leaves_out_what_takes_long() -> None:
    with holder() as pid:
        reading = probe.sample_processes([pid], thorough=False)
    assert "pss_bytes" not in reading
    assert reading["rss_bytes"] > 50e6


def test_a_process_that_is_gone_has_no_reading() -> None:
    with holder() as pid:
        assert probe.is_alive(pid)
    assert not probe.is_alive(pid)
    assert probe.sample_processes([pid]) == {}
    with pytest.raises(OSError, match="Invalid argument"):
        probe.cpu_seconds(pid)


def test_a_process_that_ended_and_was_not_reaped_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", ""])
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    assert not probe.is_alive(process.pid)
    process.wait()


def test_cpu_time_is_finer_than_a_tick() -> None:
    before = probe.cpu_seconds(os.getpid())
    sum(range(10_000))
    used = probe.cpu_seconds(os.getpid()) - before
    assert used > 0
    assert used * 100 != int(used * 100)


def test_the_kernel_is_read() -> None:
    reading = probe.sample_kernel()
    assert reading["slab_bytes"] > 0
    assert reading["cpu_idle_seconds"] + reading["cpu_busy_seconds"] > 0
    assert {"tcp_sockets", "tcp_memory_bytes", "listen_overflows"} <= set(reading)


def test_whoever_listens_on_a_port_is_found() -> None:
    with launch("benchmarks.cost.picows_echo", "0") as server:
        assert probe.listener_roots(server.port) == (server.pid,)
        port = server.port
    assert probe.listener_roots(port) == ()


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_it_is_found_among_connections_and_on_either_protocol(host: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.create_server((host, 0), family=family, backlog=50) as server:
        port = server.getsockname()[1]
        clients = [socket.create_connection((host, port)) for _ in range(20)]
        accepted = [server.accept()[0] for _ in clients]
        from_port = clients[0].getsockname()[1]
        assert probe.listener_roots(port) == (os.getpid(),)
        assert probe.listener_roots(from_port) == ()
        for connection in (*clients, *accepted):
            connection.close()
        # They go on in TIME_WAIT, and are no listeners.
        assert probe.listener_roots(port) == (os.getpid(),)


def test_of_workers_that_share_a_socket_the_master_is_found() -> None:
    with launch("target_app", "--port", "0", "--workers", "2") as server:
        assert probe.listener_roots(server.port) == (server.pid,)
