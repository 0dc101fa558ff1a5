"""Connections come and go as ordered, and what was ordered away does not stay."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from time import perf_counter_ns

import pytest
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.http11 import Request, Response

from loadtests.clients.dial import Dialer
from loadtests.clients.pool import ConnectionPool
from loadtests.measure.load_window import LoadWindow
from loadtests.measure.recorder import Recorder
from loadtests.plan.plan import Endpoint, Plan, ProcessPlan
from loadtests.run.live_connections import LiveConnections
from loadtests.scenarios.registry import make_scenario
from tests.loadtests.conftest import DEADLINE_SECONDS
from tests.servers.ports import nobody_listens


class Kept:
    """Live connections, and what they are opened with."""

    def __init__(self, port: int, name: str = "hold", **parameters: object) -> None:
        plan = Plan(f"ws://127.0.0.1:{port}/", 1, name, parameters, rate=100.0, live=True)
        share = ProcessPlan(plan, 0, Endpoint("127.0.0.1", port), (), 0, number_step=2)
        self.recorder = Recorder(0, 0, 64)
        self.scenario = make_scenario(share, self.recorder)
        dialer = Dialer(share, self.recorder)
        report = lambda name, **detail: self.events.append((name, detail))  # noqa: E731
        self.events: list[tuple[str, dict[str, object]]] = []
        self.pool = ConnectionPool(share, self.scenario, dialer, self.recorder, report)
        self.live = LiveConnections(share, self.pool, self.scenario, self.recorder)

    @property
    def numbers(self) -> list[int]:
        return [connection.number for connection in self.pool.open_connections()]

    async def until(self, holds: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE_SECONDS):
            while not holds():  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)


@asynccontextmanager
async def keeping(port: int, name: str = "hold", **parameters: object) -> AsyncIterator[Kept]:
    kept = Kept(port, name, **parameters)
    running = asyncio.create_task(kept.live.run())
    yield kept
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    kept.pool.abort_all()


async def read_all(connection: ServerConnection) -> None:
    async for _ in connection:
        pass


def port_of(server: Server) -> int:
    port: int = next(iter(server.sockets)).getsockname()[1]
    return port


async def test_those_that_came_last_go_first_and_their_numbers_come_again() -> None:
    async with serve(read_all, "127.0.0.1", 0) as server, keeping(port_of(server)) as kept:
        kept.live.add(10, 0.0, order=1)
        await kept.until(lambda: kept.recorder.open == 10)
        assert kept.numbers == list(range(0, 20, 2))
        assert (kept.live.pending, kept.live.staying, kept.live.order) == (0, 10, 1)
        kept.live.remove(4, order=2)
        # They are not counted from now on, though a closing handshake takes a while.
        assert kept.live.staying == 6
        await kept.until(lambda: kept.recorder.open == 6)
        assert kept.numbers == [0, 2, 4, 6, 8, 10]
        kept.live.add(2, 0.0, order=3)
        await kept.until(lambda: kept.recorder.open == 8)
        assert kept.numbers == [0, 2, 4, 6, 8, 10, 12, 14]
        assert kept.recorder.close_codes == {1000: 4}
        assert not kept.recorder.errors


async def test_each_is_counted_once_at_every_moment_of_its_opening() -> None:
    async with serve(read_all, "127.0.0.1", 0) as server, keeping(port_of(server)) as kept:
        kept.live.add(10, 0.0, order=1)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while kept.recorder.open < 10:
                assert kept.live.pending + kept.live.staying == 10
                await asyncio.sleep(0)
        # Nobody has gone on with the last of them yet, and they are the ones to go.
        kept.live.remove(4, order=2)
        assert (kept.live.pending, kept.live.staying) == (0, 6)
        await kept.until(lambda: kept.recorder.open == 6)
        assert kept.numbers == [0, 2, 4, 6, 8, 10]


FIXED = {"backoff": "fixed", "first": "10ms", "jitter": "none"}


@pytest.mark.parametrize(
    ("name", "parameters", "events"),
    [
        ("storm", {"drop": "abort", **FIXED}, ["storm", "all back"]),
        ("storm", {"drop": "close", **FIXED}, ["storm", "all back"]),
        ("churn", {"leave": "abort"}, []),
        ("churn", {"leave": "close"}, []),
    ],
)
async def test_each_is_counted_once_at_every_moment_of_its_being_replaced(
    name: str, parameters: dict[str, object], events: list[str]
) -> None:
    """Whoever orders more or fewer goes by their number: one counted twice is one too few left."""
    async with (
        serve(read_all, "127.0.0.1", 0) as server,
        keeping(port_of(server), name, **parameters) as kept,
    ):
        kept.live.add(10, 0.0, order=1)
        await kept.until(lambda: kept.recorder.open == 10)
        now_ns = perf_counter_ns()
        load = LoadWindow(now_ns, now_ns + 500_000_000)
        measuring = asyncio.create_task(kept.scenario.measure(kept.pool, load))
        while not measuring.done():
            assert kept.live.staying + kept.live.pending + kept.scenario.away == 10
            await asyncio.sleep(0)
        await measuring
    assert kept.recorder.closed >= 9
    assert not kept.recorder.errors
    assert [name for name, _ in kept.events] == events
    # Whoever was dropped waits that long before trying.
    assert all(kept.events[-1][1]["after_seconds"] >= 0.01 for _ in events)


async def test_what_is_not_opened_yet_is_not_opened_any_more() -> None:
    async with serve(read_all, "127.0.0.1", 0) as server, keeping(port_of(server)) as kept:
        kept.live.add(100, 3600.0, order=1)
        await kept.until(lambda: kept.recorder.open == 1)
        assert kept.live.pending == 99
        kept.live.remove(99, order=2)
        assert (kept.live.pending, kept.live.staying) == (0, 1)


@pytest.mark.parametrize("removed", [3, 10])
async def test_those_in_the_middle_of_their_handshake_are_closed_when_it_is_done(
    removed: int,
) -> None:
    asked, answer = 0, asyncio.Event()

    async def hesitate(_connection: ServerConnection, _request: Request) -> Response | None:
        nonlocal asked
        asked += 1
        await answer.wait()
        return None

    async with (
        serve(read_all, "127.0.0.1", 0, process_request=hesitate) as server,
        keeping(port_of(server)) as kept,
    ):
        kept.live.add(10, 0.0, order=1)
        await kept.until(lambda: asked == 10)
        kept.live.remove(removed, order=2)
        assert kept.live.pending == 10 - removed
        answer.set()
        await kept.until(lambda: kept.recorder.opened == 10)
        await kept.until(lambda: kept.recorder.open == 10 - removed)
        assert (kept.live.pending, kept.live.staying) == (0, 10 - removed)


async def test_those_that_fail_are_pending_no_longer() -> None:
    with nobody_listens() as port:
        async with keeping(port) as kept:
            kept.live.add(5, 0.0, order=1)
            await kept.until(lambda: kept.recorder.failed == 5)
            assert (kept.live.pending, kept.live.staying) == (0, 0)
            assert kept.recorder.errors == {"connect:refused": 5}


async def test_who_was_overdue_when_let_go_is_counted_apart() -> None:
    """On a server that lets nobody in, the others wait for their turn; all are late."""
    over = asyncio.Event()

    async def admit(_connection: ServerConnection, _request: Request) -> None:
        await over.wait()

    async with serve(read_all, "127.0.0.1", 0, process_request=admit, open_timeout=None) as server:
        async with keeping(port_of(server)) as kept:
            long_ago_ns = perf_counter_ns() - 2_000_000_000
            kept.live.add_at([long_ago_ns] * 3 + [perf_counter_ns() + 600_000_000_000] * 2)
            await kept.until(lambda: kept.live.overdue == 3)
            # The two that are not due yet go first, then one that is.
            kept.live.remove(3, 1)
            assert kept.live.overdue == 3
            kept.live.stop()
            over.set()
            await kept.until(lambda: not kept.live.pending)
        assert kept.live.overdue == 1
