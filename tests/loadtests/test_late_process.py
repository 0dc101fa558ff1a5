"""A process that gets its turn after others have begun to publish counts all the same."""

import asyncio
from collections.abc import Callable
from time import perf_counter_ns
from typing import Any

import pytest

from loadtests.measure.load_window import LoadWindow
from loadtests.measure.recorder import Recorder
from loadtests.plan.plan import ProcessPlan
from loadtests.scenarios.registry import make_scenario
from loadtests.scenarios.scenario import Scenario
from tests.loadtests.conftest import DEADLINE_SECONDS, broadcasting, in_this_process

EARLY = 3
"""Messages that have come before the late process begins."""


async def until(holds: Callable[[], bool]) -> None:
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not holds():  # noqa: ASYNC110 - no event
            await asyncio.sleep(0.01)


@pytest.mark.parametrize(
    ("name", "timed"),
    [
        ("broadcast", ()),
        ("chat", ("delivered",)),
        ("storm", ("delivered",)),
        ("slow-consumer", ("delivered_before", "delivered_beside_slow")),
    ],
)
async def test_what_comes_before_a_process_begins_is_entered_and_timed_once(
    name: str, timed: tuple[str, ...]
) -> None:
    heard: list[int] = []

    def make(share: ProcessPlan, recorder: Recorder) -> Scenario[Any]:
        scenario = make_scenario(share, recorder)
        receive = scenario.receive

        def counted(connection: Any, payload: bytes, now_ns: int) -> None:
            if share.process:
                heard.append(connection.number)
            receive(connection, payload, now_ns)

        scenario.receive = counted  # type: ignore[method-assign]
        return scenario

    async with broadcasting() as (port, _):
        plan = {"scenario": name, "connections": 8, "rate": 50.0, "processes": 2}
        first, late = (in_this_process(make, port=port, process=it, **plan) for it in (0, 1))
        for scenario, pool, _ in (first, late):
            await pool.open_planned(4)
            scenario.prepare(pool)
        load = LoadWindow(now_ns := perf_counter_ns(), now_ns + 10**9)
        publishing = asyncio.create_task(first[0].measure(first[1], load))
        scenario, pool, recorder = late
        await until(lambda: len(heard) >= EARLY * len(pool.connections))
        _, published = await asyncio.gather(scenario.measure(pool, load), publishing)
        await until(lambda: not scenario.outstanding(published))
        scenario.account(published)
        times = [recorder.durations(it) for it in timed] or recorder.deliveries.values()
        counted = sum(map(len, times))
        for _, each, _ in (first, late):
            each.abort_all()
    assert recorder.errors == {}
    assert recorder.integrity["expected"] > 0
    # Of a storm there are those that nobody was there to take.
    assert counted + recorder.integrity["missed"] == recorder.integrity["expected"]
    assert recorder.integrity["lost"] == recorder.integrity["duplicated"] == 0
