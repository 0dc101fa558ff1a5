"""What FastAPI costs a connection that its endpoint adopts, and one whose endpoint keeps running.

The same server three times: its chat as raw ASGI, which finds the room and checks limit, Origin
and token by hand (tests/servers/raw_asgi.py); as it is, a FastAPI endpoint that adopts; and an
ordinary endpoint that loops over what it receives (tests/servers/plain_fastapi.py). All run under
the same uvicorn, with the same settings, in turn; what is judged is ratios
(:mod:`benchmarks.cost.beside`). With ``SWARMGATE_QUICK`` set, nothing is judged.
"""

import sys

from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cost.beside import Beside, Bound
from benchmarks.cost.conftest import UVICORN, Measure, judge, make_rounds, note_each
from loadtests.plan.target_source import TargetSource

ROUNDS = 10

MEMORY = Bound(at_most=1.05)
BROADCAST_CPU = Bound(at_most=1.15)
HANDSHAKE_CPU = Bound(at_most=1.7)
NO_BOUND = Bound()


def served(application: str) -> TargetSource:
    """Return what starts one of the three applications, silent except for what clients send."""
    settings = ("HEARTBEAT_SECONDS=0", "WS_PING_INTERVAL=0", "ANNOUNCE_LIMIT=0")
    environment = ("env", *(f"TARGET_{setting}" for setting in settings))
    return TargetSource((*environment, sys.executable, "-m", "uvicorn", application, *UVICORN))


SERVERS = {
    "raw": (served("tests.servers.raw_asgi:app"), "/ws"),
    "adopted": (served("target_app.app:app"), "/ws"),
    "plain": (served("tests.servers.plain_fastapi:app"), "/plain"),
}


def test_an_adopted_connection_beside_raw_asgi_and_a_plain_endpoint(
    benchmark: BenchmarkFixture, measure: Measure, is_quick: bool
) -> None:
    """Memory within 5 % of raw ASGI, broadcasts within 15 %; handshakes at most 1.7 times."""
    load = {
        "scenario": "broadcast",
        "connections": 400 if is_quick else 6_000,
        "steps": 4,
        "rate": 4.0,
        "payload": 100,
        "duration": 1.0 if is_quick else 4.0,
    }

    def one(name: str) -> dict[str, float]:
        source, path = SERVERS[name]
        return dict(measure(source, path=path, **load))

    beside = Beside(list(SERVERS), one)
    make_rounds(benchmark, beside, 1 if is_quick else ROUNDS)
    memory = "server.memory_per_connection_bytes"
    opened = "connections.opened_per_second"
    handshake = "server.cpu_per_handshake_seconds"
    cpu = "server.cpu_per_message_seconds"
    for figure in (memory, opened, handshake, cpu):
        note_each(benchmark, figure, beside)
    if is_quick:
        return
    bounds = ((memory, MEMORY), (handshake, HANDSHAKE_CPU), (cpu, BROADCAST_CPU))
    judge(
        benchmark,
        *(beside.compare(figure, "adopted", "raw", bound) for figure, bound in bounds),
        *(beside.compare(figure, "plain", "raw", NO_BOUND) for figure, _ in bounds),
    )
