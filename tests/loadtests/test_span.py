"""A load ends at its time or when it is cut, and whoever waits for it is told."""

import asyncio
from time import perf_counter_ns

from loadtests.pacer import Pacer
from loadtests.schedule import ArrivalKind, constant_arrivals, following_arrivals
from loadtests.span import Span

LONG_NS = 3_600 * 10**9


async def test_who_waits_for_the_end_is_told_when_it_comes_early() -> None:
    start_ns = perf_counter_ns()
    span = Span(start_ns, start_ns + LONG_NS)
    waiting = asyncio.create_task(span.over())
    await asyncio.sleep(0)
    span.cut()
    async with asyncio.timeout(30):
        await waiting
    assert span.end_ns <= perf_counter_ns()


async def test_an_end_that_has_passed_stays_where_it_was() -> None:
    span = Span(0, 1)
    span.cut()
    async with asyncio.timeout(30):
        await span.over()
    assert span.end_ns == 1


async def test_a_pacer_fires_nothing_after_its_span_was_cut() -> None:
    start_ns = perf_counter_ns()
    span = Span(start_ns, start_ns + LONG_NS)
    fired: list[int] = []

    def fire(intended_ns: int) -> None:
        fired.append(intended_ns)
        if len(fired) == 5:
            span.cut()

    async with asyncio.timeout(30):
        await Pacer(asyncio.get_running_loop(), constant_arrivals(1000), span, fire).run()
    assert len(fired) == 5


def test_arrivals_follow_a_rate_that_changes() -> None:
    rate = 10.0
    times = following_arrivals(ArrivalKind.CONSTANT, lambda: rate, seed=1)
    slow = [next(times) for _ in range(3)]
    rate = 1000.0
    fast = [next(times) for _ in range(3)]
    assert slow == [0, 100_000_000, 200_000_000]
    assert fast == [201_000_000, 202_000_000, 203_000_000]
