"""What is counted in one process: one thing only, so that no counting disturbs another."""

from __future__ import annotations

import array
import gc
import itertools
import os
import statistics
import tracemalloc
from typing import TYPE_CHECKING

from . import machine_code

if TYPE_CHECKING:
    from collections.abc import Callable


MOST_READINGS = 2_000


class UnavailableError(Exception):
    """It cannot be counted on this machine or interpreter."""


class Meter:
    """A meter: it counts nothing itself, but signals to a counter where a stretch begins and ends.

    Attributes:
        look: to be called after each connection within a stretch.
        counts: what was counted, by stretch.
    """

    def __init__(
        self,
        begin: Callable[[str], None] = lambda _: None,
        end: Callable[[str], int | None] = lambda _: None,
        look: Callable[[], None] = lambda: None,
    ) -> None:
        self.begin = begin
        self._end = end
        self.look = look
        self.counts: dict[str, int] = {}

    def end(self, stretch: str) -> None:
        """End the stretch."""
        if (count := self._end(stretch)) is not None:
            self.counts[stretch] = count


def memory() -> Meter:
    """Return a meter of the bytes by which a connection increases what Python has allocated.

    It is the median over the connections: where the tables that hold all of them grow depends on
    addresses, which differ from process to process.
    """
    tracemalloc.start()
    # An array that exists already: the readings are not memory of the application.
    readings = array.array("q", bytes(8 * MOST_READINGS))
    taken = 0

    def look() -> None:
        nonlocal taken
        # What merely waits for the garbage collector does not stay.
        gc.collect()
        readings[taken] = tracemalloc.get_traced_memory()[0]
        taken += 1

    def begin(_: str) -> None:
        nonlocal taken
        taken = 0
        look()

    def end(_: str) -> int | None:
        grown = [after - before for before, after in itertools.pairwise(readings[:taken])]
        return statistics.median_low(grown) if grown else None

    return Meter(begin, end, look)


def allocations() -> Meter:
    """Return a meter of the calls of Python's allocator."""
    _need_machine_code()
    counter = machine_code.Allocations()
    before = 0

    def begin(_: str) -> None:
        nonlocal before
        before = counter.so_far()

    return Meter(begin, lambda _: counter.so_far() - before)


def system_calls() -> Meter:
    """Return a meter that marks stretches by a system call that this process's tracer knows."""

    def mark(name: str) -> None:
        os.access(f"/swarmgate/{name}", os.F_OK)

    return Meter(lambda name: mark(f"begin/{name}"), lambda name: mark(f"end/{name}"))


def instructions() -> Meter:
    """Return a meter that switches callgrind on and off."""
    _need_machine_code()
    callgrind = machine_code.Callgrind()
    return Meter(lambda _: callgrind.start(), callgrind.stop)


def _need_machine_code() -> None:
    if not machine_code.IS_AVAILABLE:
        raise UnavailableError("only counted on x86-64")


METERS: dict[str, Callable[[], Meter]] = {
    "memory": memory,
    "allocations": allocations,
    "system_calls": system_calls,
    "instructions": instructions,
}
