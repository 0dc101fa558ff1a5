"""A script that measures a stream: its numbers, its times, what it waits for before the load."""

import json
from collections.abc import Awaitable, Callable
from pathlib import Path
from time import perf_counter_ns

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, broadcast, serve

from loadtests.errors import UsageError
from loadtests.measure.recorder import Recorder
from loadtests.scenarios.script_ledger import ScriptLedger
from loadtests.scenarios.scripted import load_script
from tests.loadtests.conftest import Run
from tests.servers.launch import ROOT

LISTENER = """
import json
from loadtests.scenarios.script import Script

async def script(connection: Script) -> None:
    tick = json.loads(await connection.receive(within=60))
    assert connection.ledger("ticks"{begin}).observe(tick["n"])
    connection.ledger("ticks").expect(20)
    connection.record("age", connection.arrived_ns - tick["at"])
    connection.count("ticks")
    assert tick["at"] <= connection.arrived_ns <= connection.now()
"""


def write(folder: Path, text: str) -> str:
    path = folder / "listening.py"
    path.write_text(text)
    return str(path)


def ticking(numbers: list[int]) -> Callable[[ServerConnection], Awaitable[None]]:
    async def tick(connection: ServerConnection) -> None:
        for number in numbers:
            await connection.send(json.dumps({"n": number, "at": perf_counter_ns()}))
        await connection.wait_closed()

    return tick


@pytest.mark.parametrize(
    ("numbers", "begin", "counts"),
    [
        # Expected, lost, duplicated, reordered.
        (list(range(20)), "", (20, 0, 0, 0)),
        ([*range(7), *range(8, 20)], "", (20, 1, 0, 0)),
        ([*range(5, 12), 13, 12, *range(14, 18)], "", (15, 2, 0, 1)),
        ([*range(5, 20)], ", begin=0", (20, 5, 0, 0)),
    ],
)
async def test_what_a_stream_lacks_is_counted_at_every_connection(
    run: Run, tmp_path: Path, numbers: list[int], begin: str, counts: tuple[int, ...]
) -> None:
    async with serve(ticking(numbers), "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        scenario = write(tmp_path, LISTENER.format(begin=begin))
        summary = await run(f"ws://127.0.0.1:{port}/", scenario, connections=6, processes=2)
    figures = summary.figures
    assert summary.errors == {}
    assert figures["script.ticks"] == figures["age.count"] == 6 * len(numbers)
    found = [figures[f"integrity.{name}"] for name in ("expected", "lost", "duplicated")]
    assert (*found, figures["integrity.reordered"]) == tuple(6 * count for count in counts)


async def test_the_script_in_the_documentation_measures_a_broadcast(
    run: Run, tmp_path: Path
) -> None:
    page = (ROOT / "docs" / "scripting.md").read_text().partition("### Measuring a broadcast")[2]
    scenario = write(tmp_path, page.partition("```python")[2].partition("```")[0])
    here: set[ServerConnection] = set()

    async def send_to_all_who_joined(connection: ServerConnection) -> None:
        assert json.loads(await connection.recv()) == {"type": "join", "room": "a"}
        await connection.send("joined")
        here.add(connection)
        async for message in connection:
            broadcast(here, message)

    async with serve(send_to_all_who_joined, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        url = f"ws://127.0.0.1:{port}/"
        summary = await run(url, scenario, connections=8, processes=2, duration_seconds=2.0)
    figures = summary.figures
    assert summary.errors == {}
    assert figures["ready.count"] == 8
    assert figures["heard.count"] == figures["integrity.expected"] > 7
    assert figures["integrity.lost"] == 0
    assert 0 < figures["heard.p50_seconds"] < 60


async def test_steps_of_a_scripts_own_come_before_it(run: Run, tmp_path: Path) -> None:
    scenario = write(
        tmp_path,
        """
from loadtests.scenarios.script import Script

ready = ['join {n} => regex:(?P<me>join \\\\d+)', '{saved.me} again => again']

async def script(connection: Script) -> None:
    await connection.send("x")
    assert await connection.receive(within=60) == "x"
""",
    )

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            heard.append(str(message))
            await connection.send(message)

    heard: list[str] = []
    async with serve(echo, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        summary = await run(f"ws://127.0.0.1:{port}/", scenario, connections=3)
    assert summary.errors == {}
    assert summary.figures["ready.count"] == 3
    joined = {text for text in heard if text != "x"}
    assert joined == {f"join {n}{more}" for n in range(3) for more in ("", " again")}
    assert summary.header.load["ready"] != []


@pytest.mark.parametrize("steps", ["'a => b'", "5"])
def test_steps_that_are_none_are_refused_in_one_line(tmp_path: Path, steps: str) -> None:
    text = f"ready = {steps}\nasync def script(connection): pass\n"
    with pytest.raises(UsageError, match=r"ready is .*; it must be a list of 'SEND => EXPECT'"):
        load_script(Path(write(tmp_path, text)))


@given(
    st.none() | st.integers(0, 20),
    st.lists(st.integers(0, 40), max_size=60),
    st.none() | st.integers(0, 60),
)
def test_the_counts_are_those_of_their_definitions(
    begin: int | None, numbers: list[int], until: int | None
) -> None:
    numbers = [number for number in numbers if begin is None or number >= begin]
    recorder = Recorder(0, 0, 1)
    ledger = ScriptLedger(recorder, begin)
    firsts = [number for number in numbers if ledger.observe(number)]
    if until is not None:
        ledger.expect(until)
    ledger.account()
    assert firsts == list(dict.fromkeys(numbers))
    counts = recorder.integrity
    assert counts["duplicated"] == len(numbers) - len(firsts)
    if begin is None and not numbers:
        assert not counts["expected"]
        return
    first = min(numbers) if begin is None else begin
    last = max([first, *(number + 1 for number in numbers), until or 0])
    assert counts["expected"] == last - first
    assert counts["lost"] == len(set(range(first, last)) - set(numbers))
