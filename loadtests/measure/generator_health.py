"""Generator health: how late the event loop is, and how long the garbage collector stops it."""

import asyncio
import gc
from time import perf_counter_ns
from typing import Any, Final

from loadtests.measure.recorder import Recorder
from loadtests.measure.timer import Timer

_LAG_PERIOD_NS: Final = 10_000_000


class GeneratorHealth:
    """Timings of what the swarm process itself adds to every figure.

    ``loop_lag`` is how late the event loop runs a check that is due a hundred times a second.
    Checks that fall into a pause are made when it is over: a pause counts for as long as it lasts,
    not once. ``gc_pause`` is the length of each garbage collection, during which nothing else runs.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, recorder: Recorder) -> None:
        """Start watching."""
        self._lag = recorder.durations("loop_lag").append
        self._pause = recorder.durations("gc_pause").append
        self._pause_begun_ns = 0
        self._due_ns = perf_counter_ns() + _LAG_PERIOD_NS
        self._timer = Timer(loop, self._on_timer)
        self._timer.arm(self._due_ns)
        gc.callbacks.append(self._on_collection)

    def close(self) -> None:
        """Stop watching."""
        self._timer.close()
        gc.callbacks.remove(self._on_collection)

    def _on_timer(self) -> None:
        now_ns = perf_counter_ns()
        while self._due_ns <= now_ns:
            self._lag(now_ns - self._due_ns)
            self._due_ns += _LAG_PERIOD_NS
        self._timer.arm(self._due_ns)

    def _on_collection(self, phase: str, _info: dict[str, Any]) -> None:
        now_ns = perf_counter_ns()
        if phase == "start":
            self._pause_begun_ns = now_ns
        else:
            self._pause(now_ns - self._pause_begun_ns)
