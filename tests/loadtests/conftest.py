"""What the tests of this room share: one run, made as the command line makes it."""

import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from websockets.asyncio.server import ServerConnection, broadcast, serve

from loadtests.clients.dial import Dialer
from loadtests.clients.pool import ConnectionPool
from loadtests.measure.recorder import Recorder
from loadtests.plan.bounds import Bounds
from loadtests.plan.plan import Endpoint, Plan, ProcessPlan
from loadtests.plan.target_source import TargetSource
from loadtests.run.run import execute
from loadtests.scenarios.scenario import Scenario
from reports.figures import catalogue_of
from reports.record import Line
from reports.summary import Summary

# Tests must pass on any machine, however loaded: what they check is not how fast it is.
PATIENT = Bounds(
    lateness_p99_seconds=60.0, loop_lag_p99_seconds=60.0, gc_pause_seconds=60.0, runnable_ratio=2.0
)

DEADLINE_SECONDS = 60.0
"""Long past what a slow machine needs; only a failing test ever waits for it."""

# Where nothing is lost, a run waits for what is under way only as long as that takes.
COLLECT_SECONDS = 60.0
# What is lost never comes, so a run that loses something waits all of this: many times longer than
# a busy machine delays what is not lost.
LOSSY_COLLECT_SECONDS = 5.0

# The test started the server itself.
RUNNING = TargetSource()

Run = Callable[..., Awaitable[Summary]]
S = TypeVar("S", bound=Scenario[Any])


@pytest.fixture
def run(tmp_path: Path) -> Run:
    """Make one run against a URL; gives its summary. The record is ``tmp_path/run.run.jsonl``."""

    async def make(
        url: str,
        scenario: str = "echo",
        *,
        source: TargetSource = RUNNING,
        observe: Callable[[Line], None] = lambda _line: None,
        name: str = "run",
        **changes: Any,
    ) -> Summary:
        values: dict[str, Any] = {
            "connections": 10,
            "parameters": {},
            "duration_seconds": 1.0,
            "settle_seconds": 0.0,
            "handshake_timeout_seconds": 60.0,
            "reply_timeout_seconds": 60.0,
            "collect_seconds": COLLECT_SECONDS,
            "bounds": PATIENT,
            "seed": 42,
        }
        plan = Plan(url=url, scenario=scenario, **(values | changes))
        path = tmp_path / f"{name}.run.jsonl"
        summary = await execute(plan, source, path, observe)
        if not scenario.endswith(".py"):
            known = catalogue_of(summary.header)
            assert [it for it in summary.figures if not known.has(it)] == [], "not declared"
        return summary

    return make


REFERENCE = (
    *(sys.executable, "-m", "target_app", "--port", "{port}"),
    *("--announce-limit", "0", "--heartbeat-seconds", "0"),
)
PLAIN = (sys.executable, "-m", "tests.servers.plain_websockets", "{port}")


@pytest.fixture(params=["reference", "plain websockets"])
def broadcaster(request: pytest.FixtureRequest) -> TargetSource:
    """A server whose /ws sends everything to everyone: ours, and one that is not."""
    return TargetSource(REFERENCE if request.param == "reference" else PLAIN)


@asynccontextmanager
async def broadcasting() -> AsyncIterator[tuple[int, set[ServerConnection]]]:
    """Send everything to everyone; yield the port, and the connections as the server has them."""
    clients: set[ServerConnection] = set()

    async def send_to_all(connection: ServerConnection) -> None:
        clients.add(connection)
        try:
            async for message in connection:
                broadcast(clients, message)
        finally:
            clients.remove(connection)

    async with serve(send_to_all, "127.0.0.1", 0) as listening:
        yield next(iter(listening.sockets)).getsockname()[1], clients


def in_this_process(
    make: Callable[[ProcessPlan, Recorder], S], *, port: int, process: int = 0, **plan: Any
) -> tuple[S, ConnectionPool, Recorder]:
    """Return a scenario, its pool and its recorder, for what no record of a run shows."""
    whole = Plan(f"ws://127.0.0.1:{port}/", parameters={}, **plan)
    share = ProcessPlan(whole, process, Endpoint("127.0.0.1", port), (), 0)
    recorder = Recorder(process, 0, 64)
    scenario, dialer = make(share, recorder), Dialer(share, recorder)
    pool = ConnectionPool(share, scenario, dialer, recorder, lambda *_, **__: None)
    return scenario, pool, recorder
