"""Readings of processes and of the kernel: memory, CPU time, threads, files, sockets.

Linux only: PSS and USS come from ``/proc/PID/smaps_rollup``, socket memory from
``/proc/net/sockstat``, CPU time from each process's own clock.
"""

import os
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Final

import psutil

_PAGE_BYTES: Final = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_SECOND: Final = os.sysconf("SC_CLK_TCK")
# clock_getcpuclockid(3): the scheduler's clock of a process, encoded in a clock number.
_CPUCLOCK_SCHED: Final = 2
# TCP_LISTEN, as written in /proc/net/tcp.
_LISTENS: Final = "0A"


def cpu_seconds(pid: int) -> float:
    """Return the CPU time of a process, to the nanosecond, including its ended threads.

    ``/proc/PID/stat`` counts in ticks of 10 ms, a tenth of one percent of a core over ten seconds;
    the process's own clock has no such granularity.

    Raises:
        OSError: there is no such process.
    """
    return time.clock_gettime_ns((~pid) << 3 | _CPUCLOCK_SCHED) / 1e9


class ProcessTrees:
    """The process trees below some roots, read repeatedly.

    The CPU time of a process that has ended stays in the sum, as far as it was seen.
    """

    def __init__(self, roots: Iterable[int]) -> None:
        self._roots = tuple(roots)
        self._cpu_seconds: dict[psutil.Process, float] = {}
        self._ended_seconds = 0.0
        self._thread_ns: dict[tuple[int, str], int] = {}
        self._read_ns = 0

    def read(self, *, thorough: bool = True) -> dict[str, float]:
        """Read all of them, summed; empty if none of them is alive.

        PSS divides each shared page among its users, so the sum over workers of one server is what
        they take together; RSS would count shared pages once for each. ``unreadable`` counts the
        processes that may not be inspected, and ``busiest_thread_ratio`` is the share of a core
        that the busiest thread has used since the last reading.

        Args:
            thorough: also read PSS, USS and open files, for which the kernel walks every page and
                every file: milliseconds for a large process.
        """
        totals: Counter[str] = Counter()
        threads: dict[tuple[int, str], int] = {}
        now_ns = time.perf_counter_ns()
        processes = _trees(self._roots)
        for gone in self._cpu_seconds.keys() - set(processes):
            self._ended_seconds += self._cpu_seconds.pop(gone)
        for process in processes:
            try:
                self._cpu_seconds[process] = cpu_seconds(process.pid)
                threads |= _thread_ns(process.pid)
                totals.update(_read(process, thorough=thorough))
            except psutil.AccessDenied:
                totals["unreadable"] += 1
            except (psutil.NoSuchProcess, OSError):
                # It ended between being listed and being read.
                continue
        if not totals:
            return {}
        reading = {name: float(value) for name, value in totals.items()}
        reading["cpu_seconds"] = self._ended_seconds + sum(self._cpu_seconds.values())
        if self._read_ns and threads:
            used_ns = max(ns - self._thread_ns.get(thread, 0) for thread, ns in threads.items())
            reading["busiest_thread_ratio"] = used_ns / (now_ns - self._read_ns)
        self._read_ns, self._thread_ns = now_ns, threads
        return reading


def sample_processes(roots: Iterable[int], *, thorough: bool = True) -> dict[str, float]:
    """Read the process trees below ``roots`` once; see :meth:`ProcessTrees.read`."""
    return ProcessTrees(roots).read(thorough=thorough)


def _thread_ns(pid: int) -> dict[tuple[int, str], int]:
    """Read the CPU time of each thread (proc(5)); empty on a kernel that does not report it."""
    found = {}
    for thread in Path(f"/proc/{pid}/task").iterdir():
        # A thread that has ended meanwhile, or a kernel without CONFIG_SCHED_INFO.
        with suppress(OSError):
            found[pid, thread.name] = int((thread / "schedstat").read_text().split()[0])
    return found


def _read(process: psutil.Process, *, thorough: bool) -> dict[str, float]:
    with process.oneshot():
        reading: dict[str, float] = {"threads": process.num_threads(), "processes": 1}
        if thorough:
            memory = process.memory_full_info()
            return reading | {
                "files": process.num_fds(),
                "pss_bytes": memory.pss,
                "uss_bytes": memory.uss,
                "rss_bytes": memory.rss,
            }
        return reading | {"rss_bytes": process.memory_info().rss}


def _trees(roots: Iterable[int]) -> list[psutil.Process]:
    found: dict[int, psutil.Process] = {}
    for pid in roots:
        try:
            root = psutil.Process(pid)
            for process in (root, *root.children(recursive=True)):
                found[process.pid] = process
        except psutil.NoSuchProcess:
            continue
    return list(found.values())


def is_alive(pid: int) -> bool:
    """Return whether a process runs; one that ended and is not yet reaped does not."""
    try:
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def sample_kernel() -> dict[str, float]:
    """Read what the kernel keeps for all processes of this machine together.

    ``tcp_memory_bytes`` is socket buffers in use, ``slab_bytes`` contains the sockets themselves;
    neither is in any process's memory. Both include both ends of a loopback connection.
    """
    sockstat = _words(Path("/proc/net/sockstat"), "TCP:")
    netstat = _netstat(Path("/proc/net/netstat"))
    return {
        "tcp_sockets": float(sockstat["inuse"]),
        "tcp_memory_bytes": float(sockstat["mem"] * _PAGE_BYTES),
        "slab_bytes": _meminfo_bytes("Slab"),
        "listen_overflows": float(netstat.get("ListenOverflows", 0)),
        **_machine_cpu(),
    }


def _machine_cpu() -> dict[str, float]:
    """Read the machine's CPU time; steal is what a hypervisor gave to others (proc(5))."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, idle, iowait, irq, softirq, steal = (int(field) for field in fields[:8])
    return {
        "cpu_busy_seconds": (user + nice + system + irq + softirq) / _TICKS_PER_SECOND,
        "cpu_idle_seconds": (idle + iowait) / _TICKS_PER_SECOND,
        "cpu_steal_seconds": steal / _TICKS_PER_SECOND,
    }


def _words(path: Path, prefix: str) -> dict[str, int]:
    """Read the ``name value name value`` pairs of the line that begins with ``prefix``."""
    line = next(line for line in path.read_text().splitlines() if line.startswith(prefix))
    words = line.split()[1:]
    return {name: int(value) for name, value in zip(words[::2], words[1::2], strict=True)}


def _netstat(path: Path) -> Mapping[str, int]:
    """Read the TcpExt counters, whose names and values are on two lines."""
    names, values = (
        line.split()[1:] for line in path.read_text().splitlines() if line.startswith("TcpExt:")
    )
    return {name: int(value) for name, value in zip(names, values, strict=True)}


def _meminfo_bytes(key: str) -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        name, value = line.split(":")
        if name == key:
            return float(value.split()[0]) * 1024
    raise KeyError(key)


def listener_roots(port: int) -> tuple[int, ...]:
    """Find the processes of this machine that listen on a TCP port, with parents for workers.

    Empty if nothing listens, or if another user's processes do and may not be inspected.
    """
    links = {f"socket:[{inode}]" for inode in _listening_inodes(port)}
    holders = {pid for pid in psutil.pids() if _holds(pid, links)} if links else set()
    return tuple(sorted({_root(pid, holders) for pid in holders}))


def _listening_inodes(port: int) -> set[str]:
    """Read which sockets listen on a TCP port (``/proc/net/tcp``: proc(5)).

    The kernel lists listening sockets first (``tcp_get_idx`` in its ``tcp_ipv4.c``), and no more is
    read: every connection follows them, of which previous runs may have left 50,000.
    """
    inodes = set()
    for table in ("tcp", "tcp6"):
        with suppress(FileNotFoundError), Path("/proc/net", table).open() as lines:
            next(lines, None)
            for line in lines:
                _, local, _, state, *_, inode = line.split()[:10]
                if state != _LISTENS:
                    break
                if int(local.rpartition(":")[2], 16) == port:
                    inodes.add(inode)
    return inodes


def _holds(pid: int, links: set[str]) -> bool:
    """Return whether a process has one of these sockets open; False if it may not be inspected."""
    with suppress(OSError):
        for file in Path(f"/proc/{pid}/fd").iterdir():
            # A file that is closed meanwhile is not the one that listens.
            with suppress(FileNotFoundError):
                if str(file.readlink()) in links:
                    return True
    return False


def _root(pid: int, holders: set[int]) -> int:
    """Climb from a worker to the process that it inherited its listening socket from."""
    with suppress(psutil.Error):
        while (parent := psutil.Process(pid).ppid()) in holders:
            pid = parent
    return pid
