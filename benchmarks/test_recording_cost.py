"""What recording costs: a value in a histogram, an interval on the record."""

from array import array

import numpy as np
from pytest_benchmark.fixture import BenchmarkFixture

from loadtests.meter import Meter
from reports.histogram import Histogram
from reports.record import encode_line

BATCH = 2_000
SECONDS_PER_VALUE_AT_MOST = 1e-6


def durations() -> "array[int]":
    """Give as many durations as a busy process folds at once, spread like latencies."""
    generator = np.random.default_rng(1)
    return array("q", generator.lognormal(12, 1, BATCH).astype(np.int64).tolist())


def test_recording_a_batch_of_durations(benchmark: BenchmarkFixture, is_quick: bool) -> None:
    """Recording a value costs well under a microsecond."""
    histogram, values = Histogram(), durations()
    benchmark(lambda: histogram.record(np.array(values, np.int64)))
    assert histogram.count % BATCH == 0
    assert benchmark.stats is not None
    assert is_quick or benchmark.stats["median"] / BATCH < SECONDS_PER_VALUE_AT_MOST / 2


def test_closing_an_interval(benchmark: BenchmarkFixture) -> None:
    """Closing a busy second and writing it down: what a process stops for, once a second."""
    meter = Meter(process=0, origin_ns=0, payload_bytes=64)
    values = durations()

    def close() -> bytes:
        for name in ("latency", "service_time", "lateness", "loop_lag"):
            meter.durations(name).extend(values)
        return encode_line(meter.take("measure"))

    assert b'"latency"' in benchmark(close)
