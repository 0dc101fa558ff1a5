"""What recording costs: a value in a histogram, an interval in the record."""

from array import array
from collections.abc import Callable, Mapping
from time import process_time

import numpy as np
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cost.beside import Beside, Bound
from benchmarks.cost.conftest import judge, make_rounds, note_each
from loadtests.measure.recorder import Recorder
from reports.histogram import Histogram
from reports.record import encode_line

ROUNDS = 20
BATCH = 2_000
BATCHES = 50
LONGEST_NS = 3_600_000_000_000
DIGITS = 3

VALUE_BESIDE_HDRHISTOGRAM = Bound(at_most=0.25)


def durations() -> "array[int]":
    """Return as many durations as a busy process folds at once, distributed like latencies."""
    generator = np.random.default_rng(1)
    return array("q", generator.lognormal(12, 1, BATCH).astype(np.int64).tolist())


def test_recording_a_batch_of_durations(benchmark: BenchmarkFixture, is_quick: bool) -> None:
    """A value takes at most a quarter of what HdrHistogram's own library for Python takes."""
    ours, theirs, values = Histogram(), HdrHistogram(1, LONGEST_NS, DIGITS), durations()

    def record_each() -> None:
        for value in values:
            theirs.record_value(value)

    subjects: Mapping[str, Callable[[], None]] = {
        "a batch": lambda: ours.record(np.array(values, np.int64)),
        "hdrhistogram": record_each,
    }

    def cost(name: str) -> Mapping[str, float]:
        begun = process_time()
        for _ in range(BATCHES):
            subjects[name]()
        return {"record.cpu_per_value_seconds": (process_time() - begun) / BATCHES / BATCH}

    beside = Beside(list(subjects), cost)
    rounds = 1 if is_quick else ROUNDS
    make_rounds(benchmark, beside, rounds)
    assert ours.count == theirs.get_total_count() == rounds * BATCHES * BATCH
    note_each(benchmark, "record.cpu_per_value_seconds", beside)
    if not is_quick:
        judge(
            benchmark,
            beside.compare(
                "record.cpu_per_value_seconds",
                "a batch",
                "hdrhistogram",
                VALUE_BESIDE_HDRHISTOGRAM,
            ),
        )


def test_closing_an_interval(benchmark: BenchmarkFixture) -> None:
    """Closing a busy second and writing it down: what a process stops for, once a second."""
    recorder = Recorder(process=0, origin_ns=0, payload_bytes=64)
    values = durations()

    def close() -> bytes:
        for name in ("latency", "service_time", "lateness", "loop_lag"):
            recorder.durations(name).extend(values)
        return encode_line(recorder.take("measure"))

    assert b'"latency"' in benchmark(close)
