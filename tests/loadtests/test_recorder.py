"""Intervals follow each other without a gap: whatever the process did is in one of them."""

import itertools
from time import perf_counter_ns, process_time_ns

from loadtests.measure.recorder import Recorder


def test_no_time_lies_between_two_intervals() -> None:
    origin_ns, cpu_ns = perf_counter_ns(), process_time_ns()
    recorder = Recorder(process=0, origin_ns=origin_ns, payload_bytes=1)
    intervals = []
    for _ in range(20):
        # Much to encode, so that taking an interval takes a while itself.
        for name in ("latency", "lateness", "open"):
            recorder.durations(name).extend(range(1, 10_000_000, 997))
        intervals.append(recorder.take("measure"))
    for before, after in itertools.pairwise(intervals):
        assert after.t_ns - after.duration_ns == before.t_ns
    assert sum(it.duration_ns for it in intervals) <= perf_counter_ns() - origin_ns
    # All but what the last has cost after its clocks were read, and the first before.
    cost_ns = process_time_ns() - cpu_ns
    assert 0.9 * cost_ns < sum(it.cpu_ns for it in intervals) <= cost_ns
