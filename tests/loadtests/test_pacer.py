"""The pacer fires every arrival once, in order, and never early."""

import asyncio
from itertools import islice
from time import perf_counter_ns

from loadtests.measure.load_window import LoadWindow
from loadtests.measure.pacer import Pacer
from loadtests.measure.timer import Timer
from loadtests.plan.schedule import constant_arrivals, poisson_arrivals


async def fired(arrivals: object, start_ns: int, length_ns: int) -> list[tuple[int, int]]:
    """Run a pacer; gives (intended, actual) of each firing."""
    times: list[tuple[int, int]] = []
    await Pacer(
        asyncio.get_running_loop(),
        arrivals,  # type: ignore[arg-type]
        LoadWindow(start_ns, start_ns + length_ns),
        lambda intended_ns: times.append((intended_ns, perf_counter_ns())),
    ).run()
    return times


async def test_every_arrival_before_the_end_is_fired_and_none_early() -> None:
    start_ns = perf_counter_ns() + 1_000_000
    times = await fired(poisson_arrivals(2000, seed=3), start_ns, 200_000_000)
    expected = [start_ns + time for time in islice(poisson_arrivals(2000, seed=3), 2000)]
    assert [intended for intended, _ in times] == [
        time for time in expected if time < start_ns + 200_000_000
    ]
    assert all(actual >= intended for intended, actual in times)


async def test_it_returns_after_its_end_even_when_the_last_arrival_is_long_past() -> None:
    start_ns = perf_counter_ns()
    times = await fired(constant_arrivals(1.0), start_ns, 100_000_000)
    assert len(times) == 1
    assert perf_counter_ns() >= start_ns + 100_000_000


async def test_a_schedule_that_is_already_past_is_caught_up_in_full() -> None:
    start_ns = perf_counter_ns() - 1_000_000_000
    assert len(await fired(constant_arrivals(1000), start_ns, 1_000_000_000)) == 1000


async def test_a_timer_that_is_armed_again_fires_once() -> None:
    loop = asyncio.get_running_loop()
    fired_at: list[int] = []
    done = asyncio.Event()

    def on_timer() -> None:
        fired_at.append(perf_counter_ns())
        done.set()

    timer = Timer(loop, on_timer)
    due_ns = perf_counter_ns() + 20_000_000
    timer.arm(due_ns + 10**12)
    timer.arm(due_ns)
    async with asyncio.timeout(30):
        await done.wait()
    timer.close()
    assert len(fired_at) == 1
    assert fired_at[0] >= due_ns
