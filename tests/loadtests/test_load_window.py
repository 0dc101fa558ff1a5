"""A load ends at its time or when it is cut, and whoever waits for it is woken."""

import asyncio
from time import perf_counter_ns

import numpy as np
import pytest
from scipy import stats

from loadtests.measure.load_window import LoadWindow
from loadtests.measure.pacer import Pacer
from loadtests.plan.schedule import ArrivalKind, FollowingArrivals, constant_arrivals

LONG_NS = 3_600 * 10**9


async def test_who_waits_for_the_end_is_woken_when_it_comes_early() -> None:
    start_ns = perf_counter_ns()
    window = LoadWindow(start_ns, start_ns + LONG_NS)
    waiting = asyncio.create_task(window.over())
    await asyncio.sleep(0)
    window.cut()
    async with asyncio.timeout(30):
        await waiting
    assert window.end_ns <= perf_counter_ns()


async def test_an_end_that_has_passed_stays_where_it_was() -> None:
    window = LoadWindow(0, 1)
    window.cut()
    async with asyncio.timeout(30):
        await window.over()
    assert window.end_ns == 1


async def test_a_pacer_fires_nothing_that_is_due_after_its_span_was_cut() -> None:
    start_ns = perf_counter_ns()
    window = LoadWindow(start_ns, start_ns + LONG_NS)
    fired: list[int] = []

    def fire(intended_ns: int) -> None:
        fired.append(intended_ns)
        if len(fired) == 5:
            window.cut()

    async with asyncio.timeout(30):
        await Pacer(asyncio.get_running_loop(), constant_arrivals(1000), window, fire).run()
    # Those too that were due before it was cut, and came late.
    assert len(fired) >= 5
    assert fired[-1] < window.end_ns


def due(times: FollowingArrivals, count: int) -> list[int]:
    """The next arrivals, the ends of steps left out."""
    found = []
    while len(found) < count:
        time = next(times)
        if times.is_due:
            found.append(time)
    return found


def test_arrivals_follow_a_rate_that_changes() -> None:
    rate = 10.0
    times = FollowingArrivals(ArrivalKind.CONSTANT, lambda: rate, seed=1)
    assert due(times, 3) == pytest.approx([0, 100_000_000, 200_000_000], abs=2)
    rate = 1000.0
    assert due(times, 3) == pytest.approx([201_000_000, 202_000_000, 203_000_000], abs=2)
    rate = 0.0
    assert not any((next(times), times.is_due)[1] for _ in range(100))
    # It was a quarter of a step ago that the last one was due, and nothing has come since.
    last = next(times)
    rate = 10.0
    assert last < due(times, 1)[0] <= last + 100_000_000


def test_poisson_arrivals_follow_it_as_well() -> None:
    times = FollowingArrivals(ArrivalKind.POISSON, lambda: 500.0, seed=3)
    gaps = np.diff(due(times, 5_000)) / 1e9 * 500
    assert stats.kstest(gaps, "expon").pvalue > 0.001
