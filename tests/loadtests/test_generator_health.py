"""The generator sees its own stops for as long as they last."""

import asyncio
import gc
import time

from loadtests.measure.generator_health import GeneratorHealth
from loadtests.measure.recorder import Recorder
from reports.histogram import Histogram


def test_a_stop_counts_for_as_long_as_it_lasts() -> None:
    """Looked at a hundred times a second: 40 looks fall into 400 ms, the first one 400 ms late."""

    async def stop() -> Histogram:
        recorder = Recorder(0, 0, 0)
        watch = GeneratorHealth(asyncio.get_running_loop(), recorder)
        time.sleep(0.4)  # noqa: ASYNC251 - this is the stop
        while not recorder.durations("loop_lag"):  # noqa: ASYNC110 - it comes at once
            await asyncio.sleep(0)
        watch.close()
        return Histogram.decode(recorder.take("measure").histograms["loop_lag"])

    lag = asyncio.run(stop())
    # A busy machine makes it longer, never shorter.
    assert lag.count >= 40
    assert lag.max_ns >= 385e6
    assert lag.percentile_ns(50) >= 190e6


def test_a_collection_is_timed() -> None:
    async def collect() -> Histogram:
        recorder = Recorder(0, 0, 0)
        watch = GeneratorHealth(asyncio.get_running_loop(), recorder)
        gc.collect()
        watch.close()
        return Histogram.decode(recorder.take("measure").histograms["gc_pause"])

    assert asyncio.run(collect()).count >= 1
