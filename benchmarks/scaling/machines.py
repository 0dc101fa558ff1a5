"""How many machines some connections need, and which limit bites first: pure arithmetic.

Each limit says how many connections fit on one machine; a load is spread evenly over machines.
Projected needs are those of the chosen model, at the upper end of its interval.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Final

from benchmarks.scaling.fit import Fit
from benchmarks.scaling.laws import IDLE_CPU, KERNEL, LOAD_CPU, SERVER_MEMORY

PAGE_BYTES: Final = 4096
"""The least buffer memory that a socket is charged while something waits in it (tcp(7))."""
_MOST: Final = 10**12


@dataclass(frozen=True, slots=True)
class MachineSpec:
    """A machine as it is assumed to be.

    Attributes:
        files: open files that a process may have, after subtracting spare ones (RLIMIT_NOFILE,
            which fs.nr_open bounds).
        files_machine: open files of the whole machine (fs.file-max).
        tcp_memory_bytes: TCP buffers of the whole machine (net.ipv4.tcp_mem).
        ports: ephemeral ports from one source address of a proxy to one address of the server.
        proxy_sources: source addresses of a proxy in front; 0 if there is none.
    """

    cores: int
    memory_bytes: float
    files: int
    files_machine: int
    tcp_memory_bytes: float
    ports: int
    proxy_sources: int = 0


@dataclass(frozen=True, slots=True)
class Bound:
    """A limit of one machine.

    Attributes:
        fits: connections that it allows on one machine; infinite if it does not bound them.
        how: the arithmetic, in human-readable form.
    """

    key: str
    label: str
    fits: float
    how: str

    def machines(self, connections: float) -> float:
        """Return how many machines hold them; infinite if a machine cannot hold a single one."""
        return max(1, math.ceil(connections / self.fits)) if self.fits else math.inf


def bounds_of(machine: MachineSpec, fits: Mapping[str, Fit]) -> tuple[Bound, ...]:
    """Return every known limit of a machine, starting with the one that bites first.

    Args:
        machine: the machine.
        fits: the chosen fit of each law by its key; a missing law bounds nothing.
    """
    each = machine.cores * machine.files
    bounds = [
        Bound("files", "files per process", each, "a worker a core, each as many as it may open"),
        Bound("files_machine", "files, whole machine", machine.files_machine, "fs.file-max"),
        Bound(
            "tcp_memory",
            "TCP buffers",
            machine.tcp_memory_bytes // PAGE_BYTES,
            "tcp_mem, a page for each connection that a message is under way to",
        ),
    ]
    if machine.proxy_sources:
        bounds.append(
            Bound(
                "ports",
                "ports of the proxy",
                machine.ports * machine.proxy_sources,
                f"{machine.proxy_sources} source address(es), {machine.ports:,} ports each",
            )
        )
    memory = [fits[key] for key in (SERVER_MEMORY.key, KERNEL.key) if key in fits]
    if memory:
        parts = " and ".join(
            name
            for key, name in ((SERVER_MEMORY.key, "server"), (KERNEL.key, "kernel"))
            if key in fits
        )
        fitting = _largest(lambda n: sum(_upper(it, n) for it in memory), machine.memory_bytes)
        bounds.append(Bound("memory", "memory", fitting, f"{parts}, upper end of the projection"))
    for key, name in ((IDLE_CPU.key, "heartbeats and pings"), (LOAD_CPU.key, "this load")):
        if key in fits:
            fitting = _largest(partial(_upper, fits[key]), machine.cores)
            how = "all of them, upper end of the projection"
            bounds.append(Bound(key, f"cores, {name}", fitting, how))
    return tuple(sorted(bounds, key=lambda it: it.fits))


def workers_needed(fit: Fit, connections: float) -> int:
    """Return the number of workers that stay within a core each, at the upper end of the CPU."""
    return max(1, math.ceil(_upper(fit, connections)))


def _upper(fit: Fit, connections: float) -> float:
    return fit.prediction(connections).high


def _largest(need: Callable[[float], float], given: float) -> float:
    """Return the largest number of connections whose need does not exceed what is given."""
    low, high = 0, 1
    while high < _MOST and need(high) <= given:
        low, high = high, high * 2
    if high >= _MOST:
        return math.inf
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if need(middle) <= given else (low, middle)
    return low
