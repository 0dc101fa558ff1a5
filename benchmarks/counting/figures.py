"""What each kind of process counts, and which figures result.

The catalogue (:mod:`reports.catalogue`) says what each figure means.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Counted:
    """What is counted in one process.

    Attributes:
        label: the name to display.
        unit: the unit of the figures, empty for a plain number.
        needs: the tool without which it cannot be counted, empty if there is none.
        meaning: what exactly is counted.
    """

    label: str
    unit: str
    needs: str
    meaning: str


KINDS: Final[Mapping[str, Counted]] = {
    "bytes": Counted(
        "Memory",
        "B",
        "",
        "that Python's allocators were asked for and that stays, without the socket, its transport "
        "and the growing of tables; the median of the connections",
    ),
    "allocations": Counted(
        "Allocations",
        "",
        "",
        "calls of malloc, calloc and realloc of Python's allocators for objects and memory",
    ),
    "instructions": Counted(
        "Instructions", "", "valgrind", "of the processor, outside the kernel, counted by callgrind"
    ),
    "system_calls": Counted(
        "System calls",
        "",
        "strace",
        "of all threads, those of the event loop with them, without reading and writing sockets",
    ),
    "writes": Counted(
        "Writes",
        "",
        "",
        "to transports, each of which is a system call where there is a network",
    ),
}

FIGURES: Final[Mapping[str, tuple[str, str]]] = {
    "counts.memory_per_connection_bytes": ("bytes", "connection"),
} | {
    f"counts.{kind}_per_{each}": (kind, each)
    for kind, of in {
        "allocations": ("connection", "echo", "broadcast"),
        "instructions": ("connection", "echo", "broadcast"),
        "system_calls": ("connection", "echo", "broadcast"),
        "writes": ("echo", "broadcast"),
    }.items()
    for each in of
}
"""Every figure, with its kind and what it is counted per. Less is better for all of them."""
