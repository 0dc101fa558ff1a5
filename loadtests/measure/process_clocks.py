"""The clocks of this process, read at one moment: the time, CPU time, and waits for a core."""

from pathlib import Path
from time import perf_counter_ns, process_time_ns
from typing import Final, NamedTuple

# Reading its clocks takes a process some 20 µs.
_ONE_MOMENT_NS: Final = 1_000_000
_READINGS: Final = 5


class Clocks(NamedTuple):
    """Readings of the clocks of the process at one moment."""

    time_ns: int
    cpu_ns: int
    waited_ns: int


def read_clocks() -> Clocks:
    """Read all clocks, again if the process had to wait for a core in between."""
    for _ in range(_READINGS):
        clocks = Clocks(perf_counter_ns(), process_time_ns(), waited_ns())
        if perf_counter_ns() - clocks.time_ns < _ONE_MOMENT_NS:
            break
    return clocks


def waited_ns() -> int:
    """Return how long this process's main thread has waited for a core while able to run.

    0 on a kernel that does not report it (proc(5), ``/proc/PID/schedstat``).
    """
    try:
        return int(Path("/proc/self/schedstat").read_text().split()[1])
    except OSError:
        return 0
