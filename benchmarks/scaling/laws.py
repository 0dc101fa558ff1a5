"""The laws to look for: which figure, against what, and the models it may follow."""

from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from benchmarks.scaling.models import (
    AMDAHL,
    LINE,
    LINEARITHMIC,
    POWER,
    QUADRATIC,
    UNIVERSAL,
    Model,
)


class Axis(StrEnum):
    """What changes from run to run of a series."""

    CONNECTIONS = "connections"
    RATE = "rate"
    WORKERS = "workers"


KERNEL_MEMORY: Final = "kernel.memory_growth_bytes"
"""TCP buffers and slabs of the whole host, measured from before the first connection."""


@dataclass(frozen=True, slots=True)
class Law:
    """One law.

    Attributes:
        key: its machine-readable name; ``label`` is the human-readable one.
        figure: the figure of each run, with its unit in its name.
        axis: what it is plotted against.
        models: the models that it may follow, the expected one first.
    """

    key: str
    label: str
    figure: str
    axis: Axis
    models: tuple[Model, ...]


SERVER_MEMORY: Final = Law(
    "server_memory",
    "server memory",
    "server.memory_bytes",
    Axis.CONNECTIONS,
    (LINE, QUADRATIC),
)
KERNEL: Final = Law(
    "kernel_memory",
    "kernel memory, both ends",
    KERNEL_MEMORY,
    Axis.CONNECTIONS,
    (LINE, QUADRATIC),
)
IDLE_CPU: Final = Law(
    "idle_cpu",
    "server CPU, heartbeats and pings",
    "server.cpu_ratio",
    Axis.CONNECTIONS,
    (LINE, QUADRATIC),
)
LOAD_CPU: Final = Law(
    "load_cpu",
    "server CPU, this load",
    "server.cpu_ratio",
    Axis.CONNECTIONS,
    (LINE, QUADRATIC),
)
BROADCAST: Final = Law(
    "broadcast",
    "broadcast, last receiver",
    "delivery.last_seconds",
    Axis.CONNECTIONS,
    (LINE, LINEARITHMIC, POWER),
)
RATE_CPU: Final = Law(
    "rate_cpu",
    "server CPU against rate",
    "server.cpu_ratio",
    Axis.RATE,
    (LINE, QUADRATIC),
)
THROUGHPUT: Final = Law(
    "throughput",
    "throughput against workers",
    "messages.received_per_second",
    Axis.WORKERS,
    (AMDAHL, UNIVERSAL),
)


def laws_of(axis: Axis, *, sends: bool) -> tuple[Law, ...]:
    """Return the laws to look for in a series.

    Args:
        axis: what changes in it.
        sends: whether its load sends messages; if not, CPU is spent on heartbeats and pings.
    """
    match axis:
        case Axis.CONNECTIONS:
            cpu = LOAD_CPU if sends else IDLE_CPU
            return (SERVER_MEMORY, KERNEL, cpu, *((BROADCAST,) if sends else ()))
        case Axis.RATE:
            return (RATE_CPU,)
        case Axis.WORKERS:
            return (THROUGHPUT,)
