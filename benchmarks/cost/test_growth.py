"""What records and reads a run for hours does not grow: at most 1 MiB in ten thousand intervals.

Each is measured in its own process, whose garbage collector runs as rarely as the swarm's, so that
what only a collection would free counts as growth. The first intervals are left out, because they
fill buffers, caches and the allocator's arenas.
"""

import math
import subprocess
import sys

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cost.beside import Beside, Bound
from benchmarks.cost.conftest import judge, make_rounds, note_each

INTERVALS = 10_000
SETTLED = 2_000
ROUNDS = 5
GROWTH = Bound(at_least=-math.inf, at_most=2**20)

COMMON = """
import gc, random, sys
import psutil
from loadtests.measure.recorder import Recorder
from reports.record import decode_line, encode_line

intervals, settled = int(sys.argv[1]), int(sys.argv[2])
gc.set_threshold(50_000, 20, 100)
draw = random.Random(1)
recorder = Recorder(0, 0, 64)
latency = recorder.durations("latency")

def line():
    latency.extend(draw.randrange(100_000, 100_000_000) for _ in range(20))
    recorder.sent += 20
    return encode_line(recorder.take("measure"))

def rss():
    return psutil.Process().memory_info().rss
"""
SUBJECTS = {
    "a swarm process": """
def step(number):
    line()
""",
    "the fleet": """
from reports.summary import Totals
totals = Totals()
def step(number):
    totals.add(decode_line(line()))
    if number % 100 == 0:
        totals.figures()
""",
    "the reader": """
def step(number):
    decode_line(line())
""",
}
LOOP = """
for number in range(intervals):
    if number == settled:
        before = rss()
    step(number)
print(rss() - before)
"""


@pytest.mark.parametrize("subject", SUBJECTS)
def test_nothing_grows_with_the_length_of_a_run(
    benchmark: BenchmarkFixture, is_quick: bool, subject: str
) -> None:
    """Its memory after ten thousand intervals is what it was after two thousand."""
    intervals, settled = (INTERVALS // 10, SETTLED // 10) if is_quick else (INTERVALS, SETTLED)
    words = [sys.executable, "-c", COMMON + SUBJECTS[subject] + LOOP, str(intervals), str(settled)]

    def grow(_: str) -> dict[str, float]:
        done = subprocess.run(words, capture_output=True, check=True, text=True)
        return {"growth.memory_bytes": float(done.stdout)}

    beside = Beside([subject], grow)
    make_rounds(benchmark, beside, ROUNDS)
    note_each(benchmark, "growth.memory_bytes", beside, f"over {intervals - settled:,} intervals")
    judge(benchmark, beside.by_itself("growth.memory_bytes", subject, GROWTH))
