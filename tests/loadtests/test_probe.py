"""Readings are of the process tree asked for, and of nothing else."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from loadtests import probe
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
    with launch("benchmarks.picows_echo", "0") as server:
        assert probe.listener_roots(server.port) == (server.pid,)
        port = server.port
    assert probe.listener_roots(port) == ()


def test_of_workers_that_share_a_socket_the_master_is_found() -> None:
    with launch("target_app", "--port", "0", "--workers", "2") as server:
        assert probe.listener_roots(server.port) == (server.pid,)
