"""What other clients notice of one hostile client: nothing lost, and a p99 that at most doubles.

Healthy clients echo and broadcast during each attack of :mod:`benchmarks.cost.attacks`, with a
ledger of every message, and the same load is run without the attack just before or just after, on
the same server. The attacker is a separate process with a bounded rate. It shares the cores of this
machine with the healthy clients and the server, but only what the attack makes the server do is to
be measured; so it only gets the CPU time that the others leave (``SCHED_IDLE``), and a round in
which it made less than half of its steps because of that says nothing and is left out, as is one
with a run that stayed invalid.

The p99 of a few seconds differs between two runs of the same load by as much as itself, so what is
judged is the pseudo-median of the rounds' ratios. Rounds are added until its interval lies on one
side of 2, up to a limit; if it does not by then, nothing was shown and the benchmark is skipped,
not passed. The interval is looked at five times, and is right at all of these looks together in 95
cases of 100 (:mod:`benchmarks.judging.sequential`); for this to hold, which of the two runs comes
first is random. With ``SWARMGATE_QUICK`` there is one short round and only the ledger is judged.
"""

import asyncio
import math
import random
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from pytest_benchmark.fixture import BenchmarkFixture

from benchmarks.cost.attacks import ATTACKS
from benchmarks.cost.conftest import note
from benchmarks.judging.sequential import (
    lower_limit_so_far,
    power_shares,
    pseudo_median,
    upper_limit_so_far,
)
from benchmarks.runs.making import ANY_MACHINE
from loadtests.plan.bounds import Bounds
from loadtests.plan.plan import Plan
from loadtests.plan.target_source import TargetSource
from loadtests.run.run import execute
from loadtests.run.target import RunningTarget, running
from reports.summary import Summary
from swarmgate import RunInvalidError
from swarmgate.runner import TRIES

LOOKS = (8, 12, 16, 20, 24)
"""The numbers of rounds after which it is checked whether they decide."""
WRONG_AT_MOST = 0.025
"""The chance of an error on each side, over all looks."""
SECONDS = 4.0
QUICK_SECONDS = 1.0
START_SECONDS = 15.0
"""The time an attacker gets beyond the load, to start and to end before it is killed."""
TIMES_THE_QUIET_P99_AT_MOST = 2.0

COMMAND = (
    *(sys.executable, "-m", "target_app", "--port", "{port}", "--announce-limit", "0"),
    *("--heartbeat-seconds", "0", "--log-level", "critical"),
)


@dataclass(frozen=True, slots=True)
class Round:
    """The p99 of the echoes of a quiet run, and of one during an attack just before or after."""

    quiet_seconds: float
    attacked_seconds: float

    @property
    def ratio(self) -> float:
        """The p99 during the attack divided by the quiet one."""
        return self.attacked_seconds / self.quiet_seconds


class Healthy:
    """Clients that do what is expected of them, on a server that is under attack or not."""

    def __init__(self, server: RunningTarget, directory: Path, seconds: float) -> None:
        self._server = server
        self._directory = directory
        self._seconds = seconds
        self._runs = 0

    async def p99(self, bounds: Bounds) -> float:
        """Run the load; return the p99 of the echoes in seconds, once nothing is missing.

        A run whose echoes were sent late says nothing about the server: it is printed and retried.
        """
        for _ in range(TRIES):
            async with asyncio.TaskGroup() as runs:
                echoing = runs.create_task(self._run("echo", "/echo", 400.0, bounds))
                # Only the ledger of the broadcasts is checked, not how long they took.
                broadcasting = runs.create_task(self._run("broadcast", "/ws", 20.0, ANY_MACHINE))
            echo, broadcast = echoing.result(), broadcasting.result()
            assert echo.errors == broadcast.errors == {}
            assert echo.figures["messages.received"] == echo.figures["messages.sent"]
            figures = broadcast.figures
            assert figures["integrity.lost"] == figures["integrity.duplicated"] == 0
            if echo.valid:
                return echo.figures["latency.p99_seconds"]
            print(f"\nmade again: {'; '.join(echo.reasons)}")
        raise RunInvalidError(f"{TRIES} runs were invalid, the last for: {echo.reasons}")

    async def _run(self, scenario: str, path: str, rate: float, bounds: Bounds) -> Summary:
        self._runs += 1
        load: dict[str, Any] = {"connections": 20, "rate": rate, "parameters": {}}
        plan = Plan(
            url=f"ws://127.0.0.1:{self._server.port}{path}",
            scenario=scenario,
            duration_seconds=self._seconds,
            bounds=bounds,
            **load,
        )
        record = self._directory / f"{self._runs}.run.jsonl"
        source = TargetSource(pids=(self._server.pid,))
        return await execute(plan, source, record, lambda _line: None)


@asynccontextmanager
async def attacked(name: str, port: int, seconds: float) -> AsyncIterator[None]:
    """Run an attacker from before the context begins until it ends.

    Raises:
        RunInvalidError: it got too little of a core to attack as it should.
    """
    attacker = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "benchmarks.cost.attacks", name, str(port), str(seconds)),
        stdout=asyncio.subprocess.PIPE,
    )
    assert attacker.stdout is not None
    try:
        try:
            async with asyncio.timeout(START_SECONDS):
                begun = await attacker.stdout.readline()
        except TimeoutError:
            raise RunInvalidError("the attacker was given too little of a core to begin") from None
        assert begun == b"attacking\n", "the attack did not begin"
        yield
        assert attacker.returncode is None, "the attack ended before the load did"
    finally:
        if attacker.returncode is None:
            attacker.kill()
        output, _ = await attacker.communicate()
    *_, last = "0 1", *output.decode().rpartition("\n")[0].splitlines()
    made, elapsed = map(float, last.split())
    rate = made / elapsed
    asked = ATTACKS[name].per_second
    if rate < asked / 2:
        raise RunInvalidError(f"the attacker made {rate:.3g} steps a second, asked {asked:g}")


def interval(ratios: Sequence[float]) -> tuple[float, float]:
    """Return the interval of the true ratio after all looks so far; at first 0 or infinite."""
    logs = [math.log(ratio) for ratio in ratios]
    shares = power_shares(LOOKS, 1.0)
    low = lower_limit_so_far(logs, LOOKS, shares, WRONG_AT_MOST)
    return math.exp(low), math.exp(upper_limit_so_far(logs, LOOKS, shares, WRONG_AT_MOST))


def is_decided(ratios: Sequence[float]) -> bool:
    """Return whether these ratios are enough to judge."""
    low, high = interval(ratios)
    return not low <= TIMES_THE_QUIET_P99_AT_MOST < high


async def one_round(
    name: str, healthy: Healthy, port: int, *, attacked_first: bool, is_quick: bool
) -> Round:
    """Measure with the attack and without. Raise RunInvalidError if one of them says nothing."""
    seconds = QUICK_SECONDS if is_quick else SECONDS
    bounds = ANY_MACHINE if is_quick else Bounds()
    found: dict[bool, float] = {}
    for is_attacked in (attacked_first, not attacked_first):
        if is_attacked:
            async with attacked(name, port, TRIES * (seconds + START_SECONDS)):
                found[is_attacked] = await healthy.p99(bounds)
        else:
            found[is_attacked] = await healthy.p99(bounds)
    return Round(quiet_seconds=found[False], attacked_seconds=found[True])


async def whole_rounds(name: str, folder: Path, *, is_quick: bool) -> list[Round]:
    """Make rounds until they decide, or reach the limit; leave out those that say nothing."""
    made: list[Round] = []
    async with running(TargetSource(COMMAND), folder / "server.log") as server:
        healthy = Healthy(server, folder, QUICK_SECONDS if is_quick else SECONDS)
        for number in range(1 if is_quick else LOOKS[-1]):
            try:
                # The same in every version of Python, as is documented for this method.
                first = random.Random(f"{name}:{number}").random() < 1 / 2
                made.append(
                    await one_round(
                        name, healthy, server.port, attacked_first=first, is_quick=is_quick
                    )
                )
            except RunInvalidError as error:
                print(f"\na round is left out: {error}")
            if is_decided([one.ratio for one in made]):
                break
    return made


@pytest.mark.parametrize("name", ATTACKS)
def test_others_notice_little_of_an_attack(
    benchmark: BenchmarkFixture, tmp_path: Path, is_quick: bool, name: str
) -> None:
    """Other clients lose nothing, and their p99 at most doubles."""
    rounds: list[Round] = benchmark.pedantic(  # type: ignore[no-untyped-call]
        lambda: asyncio.run(whole_rounds(name, tmp_path, is_quick=is_quick)), rounds=1
    )
    quiet = [one.quiet_seconds for one in rounds]
    noisy = [one.attacked_seconds for one in rounds]
    ratios = [one.ratio for one in rounds]
    note(benchmark, f"{name}.quiet.p99_seconds", quiet, "without the attack")
    note(benchmark, f"{name}.attacked.p99_seconds", noisy, "at most twice that")
    note(benchmark, f"{name}.p99_ratio", ratios, "at most 2")
    if len(rounds) < (1 if is_quick else LOOKS[0]):
        pytest.skip(f"inconclusive: only {len(rounds)} rounds were usable")
    if is_quick:
        return
    low, high = interval(ratios)
    middle = math.exp(pseudo_median([math.log(ratio) for ratio in ratios]))
    result = f"{middle:.2f} times, from {low:.2f} to {high:.2f}"
    if not is_decided(ratios):
        pytest.skip(f"inconclusive after {len(rounds)} rounds: {result}")
    assert high <= TIMES_THE_QUIET_P99_AT_MOST, result
