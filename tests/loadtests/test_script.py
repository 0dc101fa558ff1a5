"""A user's own scenario, in both styles, in every process; and what happens when it is wrong."""

import asyncio
import io
import re
from pathlib import Path
from time import perf_counter_ns
from typing import Any

import pytest
from rich.console import Console

from loadtests.clients.connection import Connection
from loadtests.errors import UsageError
from loadtests.measure.load_window import LoadWindow
from loadtests.measure.recorder import Recorder
from loadtests.plan.connect_options import Client, ConnectOptions
from loadtests.plan.feed import read_feed
from loadtests.plan.rate_profile import parse_profile
from loadtests.run import fleet
from loadtests.run.help import parameter_lines
from loadtests.scenarios.echo import Echo, EchoParameters
from loadtests.scenarios.parameters import Parameters
from loadtests.scenarios.registry import parse_parameters, scenario_kind
from loadtests.scenarios.script import match
from loadtests.scenarios.scripted import load_script
from reports.outcome import ExitStatus
from reports.record import read_record
from reports.run_outcome import outcome_of
from reports.terminal import live_view
from tests.loadtests.conftest import (
    DEADLINE_SECONDS,
    PLAIN,
    Run,
    TargetSource,
    broadcasting,
    in_this_process,
)

URL = "ws://127.0.0.1:{port}/echo"
HEAD = "from swarmgate import Connection, Parameters, Scenario, Script, Seconds\n"


@pytest.fixture
def write(tmp_path: Path) -> Any:
    """Write a scenario file; gives its name."""

    def make(text: str, name: str = "mine") -> str:
        path = tmp_path / f"{name}{abs(hash(text))}.py"
        path.write_text(HEAD + text)
        return str(path)

    return make


async def go(run: Run, scenario: str, **changes: Any) -> Any:
    return await run(URL, scenario, source=TargetSource(PLAIN), processes=2, **changes)


async def test_a_script_runs_on_every_connection_until_the_time_is_over(
    run: Run, write: Any
) -> None:
    scenario = write('''
class Talk(Parameters):
    words: str = "hello"
    """What is said."""
    pause: Seconds = 0.1

async def script(connection: Script, parameters: Talk) -> None:
    """Say something and wait for it."""
    with connection.measure("round"):
        await connection.send({"said": parameters.words, "by": connection.number})
        heard = await connection.expect({"said": parameters.words}, within=30)
        assert heard["by"] == connection.number
    connection.count("rounds")
    await connection.pause(parameters.pause)
''')
    summary = await go(run, scenario, parameters={"words": "hi", "pause": "50ms"})
    figures = summary.figures
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    assert figures["round.count"] == figures["script.rounds"] > 10
    assert 0 < figures["round.p50_seconds"] < figures["iteration.p50_seconds"]
    assert figures["iteration.p50_seconds"] >= 0.05
    assert figures["messages.sent"] >= figures["round.count"]


async def test_with_a_rate_iterations_begin_by_the_schedule(run: Run, write: Any) -> None:
    scenario = write("""
async def script(connection: Script) -> None:
    await connection.send("x")
    assert await connection.receive(within=30) == "x"
""")
    # Nothing begins in the last three seconds: whatever has begun is done by the end.
    profile = parse_profile("40/s for 1s, 0/s for 3s")
    rate = profile.arrivals / profile.seconds
    summary = await go(run, scenario, profile=profile, rate=rate, duration_seconds=profile.seconds)
    assert summary.errors == {}
    assert summary.figures["iteration.count"] == summary.figures["messages.sent"]
    # One more or less is the edge of the profile.
    assert summary.figures["iteration.count"] == pytest.approx(40, abs=1)


async def test_callbacks_are_a_scenario_like_the_built_in_ones(run: Run, write: Any) -> None:
    scenario = write('''
import asyncio
from picows import WSMsgType

class Counting(Scenario[Parameters]):
    """Send one message on each connection as it opens."""

    def opened(self, connection: Connection) -> None:
        connection.transport.send(WSMsgType.TEXT, b"one")
        self.recorder.sent += 1

    def receive(self, connection, payload, now_ns) -> None:
        self.recorder.counts["counting.heard"] += payload == b"one"

    async def measure(self, pool, load):
        await asyncio.sleep(self.plan.duration_seconds)
        return {}
''')
    summary = await go(run, scenario)
    assert summary.figures["counting.heard"] == 10


async def test_a_script_that_raises_is_counted_and_reported_once_with_its_traceback(
    run: Run, write: Any, tmp_path: Path
) -> None:
    scenario = write("""
async def script(connection: Script) -> None:
    await connection.pause(0.02)
    if connection.number == 3:
        raise LookupError("no such thing")
""")
    summary = await go(run, scenario)
    assert summary.valid, summary.reasons
    assert list(summary.errors) == ["script:LookupError: no such thing"]
    assert summary.errors["script:LookupError: no such thing"] > 1
    assert summary.figures["iteration.count"] > 10, "the others went on"
    errors = [e for e in read_record(tmp_path / "run.run.jsonl").events if e.name == "script_error"]
    assert len(errors) == 1
    assert "line 6, in script" in errors[0].detail["traceback"]


async def test_a_measure_may_not_have_a_name_of_the_swarms_own(run: Run, write: Any) -> None:
    scenario = write("""
async def script(connection: Script) -> None:
    with connection.measure("ready"):
        await connection.pause(0)
""")
    summary = await go(run, scenario)
    (kind,) = summary.errors
    assert kind.startswith("script:ValueError: measure('ready')")


async def test_fail_fast_ends_the_run_at_the_first_error(run: Run, write: Any) -> None:
    scenario = write("async def script(connection: Script) -> None:\n    raise LookupError('no')\n")
    summary = await go(run, scenario, fail_fast=True, duration_seconds=60.0)
    assert summary.valid, summary.reasons
    assert (
        "a script failed, and --fail-fast was given: script:LookupError: no" in summary.failures[0]
    )
    assert outcome_of(summary).status is ExitStatus.FAILED


async def test_what_does_not_come_in_time_is_named(run: Run, write: Any) -> None:
    scenario = write("""
async def script(connection: Script) -> None:
    await connection.send("something else")
    await connection.expect("welcome", within=0.05)
""")
    summary = await go(run, scenario)
    assert list(summary.errors) == [
        "script:ExpectationError: no message with 'welcome' within 0.05 s"
    ]
    assert summary.figures["messages.unsolicited"] > 0


async def test_every_connection_has_its_row_of_the_feed(
    run: Run, write: Any, tmp_path: Path
) -> None:
    feed = tmp_path / "users.csv"
    feed.write_text("user,token\nann,1\nbob,2\n")
    scenario = write("""
async def script(connection: Script) -> None:
    user = ("ann", "bob")[connection.number % 2]
    assert connection.feed["user"] == user, connection.feed
    connection.count(user)
    await connection.pause(60)
""")
    summary = await go(run, scenario, feed=str(feed))
    assert summary.errors == {}
    assert summary.figures["script.ann"] == summary.figures["script.bob"] == 5


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1\n", "has no scenario; write `async def script"),
        ("def script(connection): ...\n", "has no scenario"),
        ("async def script(): ...\n", "script takes nothing; it must take the connection"),
        ("import nothing_of_this_name\n", "line 2: ModuleNotFoundError"),
        ("async def script(connection:\n", "line 2: SyntaxError"),
    ],
)
def test_a_file_without_a_scenario_is_refused_in_one_line(
    write: Any, text: str, complaint: str
) -> None:
    with pytest.raises(UsageError, match=re.escape(complaint)) as refusal:
        scenario_kind(write(text, "wrong"))
    assert "\n" not in str(refusal.value)


def test_a_file_that_is_not_there_is_refused() -> None:
    with pytest.raises(UsageError, match=r"there is no file nowhere\.py"):
        scenario_kind("nowhere.py")


def test_the_help_shows_a_scripts_parameters_with_types_and_defaults(write: Any) -> None:
    scenario = write('''
class Ask(Parameters):
    """Ours."""
    question: str = "why?"
    """What everybody asks."""

async def script(connection: Script, parameters: Ask) -> None:
    """Ask."""
''')
    lines = "\n".join(parameter_lines("ask.py", scenario_kind(scenario)))
    assert "ask.py: Ask." in lines
    assert "    question: str = why?\n          What everybody asks." in lines
    with pytest.raises(UsageError, match="has no parameter 'answer'; it takes: question"):
        parse_parameters(scenario, {"answer": "x"})


@pytest.mark.parametrize(
    ("matching", "text", "found"),
    [
        ("ell", "hello", "hello"),
        ("x", "hello", None),
        (re.compile("^h.l"), "hello", "hello"),
        ({"a": 1, "b": {"c": 2}}, '{"a": 1, "b": {"c": 2, "d": 3}}', True),
        ({"a": 1}, '{"a": 2}', None),
        ({"a": 1}, "[1]", None),
        ({"a": 1}, "no json", None),
        (str.islower, "hello", "hello"),
        (str.isupper, "hello", None),
    ],
)
def test_a_message_matches(matching: Any, text: str, found: Any) -> None:
    result = match(matching, text)
    assert result is not None if found is True else result == found


@pytest.mark.parametrize(
    ("name", "text", "complaint"),
    [
        ("a.csv", "user,token\nann\n", "a.csv, line 2: expected 2 fields"),
        ("a.csv", "", "has no rows"),
        ("a.jsonl", '{"a": 1}\nno\n', "a.jsonl, line 2: not JSON"),
        ("a.jsonl", "[1]\n", "line 1: expected an object, found '[1]'"),
    ],
)
def test_a_feed_that_is_none_is_refused(
    tmp_path: Path, name: str, text: str, complaint: str
) -> None:
    path = tmp_path / name
    path.write_text(text)
    with pytest.raises(UsageError, match=re.escape(complaint)):
        read_feed(path)


def test_a_feed_of_json_lines(tmp_path: Path) -> None:
    path = tmp_path / "users.jsonl"
    path.write_text('{"user": "ann", "age": 7}\n\n{"user": "bob"}\n')
    assert read_feed(path) == ({"user": "ann", "age": 7}, {"user": "bob"})
    with pytest.raises(UsageError, match="cannot read the feed"):
        read_feed(tmp_path / "none.jsonl")


async def begins_as_a_handshake_is_complete(make: Any, scenario: str) -> Recorder:
    """Let a load begin before anybody has gone on with a connection that has just been opened."""
    async with broadcasting() as (port, _):
        made, pool, recorder = in_this_process(
            make, port=port, connections=1, scenario=scenario, live=True
        )
        measuring: list[asyncio.Task[object]] = []

        def arrive(_connection: Connection) -> None:
            now_ns = perf_counter_ns()
            load = LoadWindow(now_ns, now_ns + 10**9)
            measuring.append(asyncio.create_task(made.measure(pool, load)))

        await pool.open(pool.fresh_number(), arrive)
        await asyncio.gather(*measuring)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while made.outstanding({}):  # noqa: ASYNC110 - no event
                await asyncio.sleep(0.01)
        made.account({})
        pool.abort_all()
    return recorder


async def test_a_script_begins_in_the_moment_in_which_a_handshake_is_complete(write: Any) -> None:
    kind = load_script(
        Path(
            write(
                "async def script(connection):\n"
                "    await connection.send('hello')\n"
                "    await connection.expect('hello')\n"
                "    connection.count('heard')\n"
            )
        )
    )
    recorder = await begins_as_a_handshake_is_complete(
        lambda share, recorder: kind(share, Parameters(), recorder), "say"
    )
    assert recorder.counts["script.heard"] > 0


async def test_an_echo_begins_once_in_the_moment_in_which_a_handshake_is_complete() -> None:
    recorder = await begins_as_a_handshake_is_complete(
        lambda share, recorder: Echo(share, EchoParameters(), recorder), "echo"
    )
    assert recorder.integrity["expected"] == recorder.sent > 0
    assert (
        recorder.integrity["duplicated"] == recorder.integrity["lost"] == recorder.unsolicited == 0
    )


async def test_what_a_script_prints_is_shown_and_recorded(
    run: Run, write: Any, tmp_path: Path
) -> None:
    """It neither breaks into what the process sends, nor eats what is sent to it."""
    scenario = write("""
import os

async def script(connection):
    print("hello \\x1b[31mred")
    os.write(1, b"bytes\\n")
    try:
        input()
    except EOFError:
        print("nothing to read")
    await connection.send("x")
    await connection.expect("x", within=60)
    await connection.pause(60)
""")
    watching = Console(file=io.StringIO(), force_terminal=False, width=200)
    with live_view(watching) as observe:
        summary = await go(run, scenario, connections=2, duration_seconds=0.5, observe=observe)
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    record = read_record(tmp_path / "run.run.jsonl")
    printed = [
        (it.detail["process"], it.detail["text"]) for it in record.events if it.name == "printed"
    ]
    texts = ["bytes", r"hello \x1b[31mred", "nothing to read"]
    assert sorted(printed) == [(process, text) for process in (0, 1) for text in texts]
    assert r"swarm process 1: hello \x1b[31mred" in watching.file.getvalue()


async def test_a_scenario_that_raises_is_named_by_its_error_and_line(run: Run, write: Any) -> None:
    scenario = write("""
class Wrong(Scenario):
    async def measure(self, pool, load):
        raise ValueError("no \\x1b[31mluck")
""")
    summary = await go(run, scenario)
    assert not summary.valid
    (lost, *_) = [reason for reason in summary.reasons if "ended in the middle" in reason]
    assert re.search(r"ValueError: no \\x1b\[31mluck \(mine.*\.py, line 5\)", lost), lost


@pytest.mark.parametrize("where", ["script", "start"])
async def test_a_process_that_hangs_is_ended_and_the_run_is_invalid(
    run: Run, write: Any, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    monkeypatch.setattr(fleet, "MOST_SILENT_SECONDS", 5)
    scenario = write(f"""
import sys
import time

if {where!r} == "start" and sys.argv[0].endswith("swarm.py"):
    time.sleep(10_000)

async def script(connection):
    time.sleep(10_000)
""")
    summary = await go(run, scenario)
    assert not summary.valid
    (lost, *_) = [reason for reason in summary.reasons if "ended in the middle" in reason]
    assert "it reported nothing for 5 s and was ended" in lost


@pytest.mark.parametrize("client", ["picows", "websockets"])
@pytest.mark.parametrize("callback", ["opened", "receive", "closed"])
async def test_what_a_callback_raises_is_the_scenarios_fault_and_ends_no_connection(
    run: Run, write: Any, tmp_path: Path, callback: str, client: str
) -> None:
    scenario = write(f"""
from loadtests.scenarios.echo import Echo

class Wrong(Echo):
    def {callback}(self, connection, *rest):
        super().{callback}(connection, *rest)
        if connection.number == 3:
            raise LookupError(f"no such {{object()}}")
""")
    watching = Console(file=io.StringIO(), force_terminal=False, width=200)
    with live_view(watching) as observe:
        summary = await go(
            run,
            scenario,
            rate=200.0,
            observe=observe,
            options=ConnectOptions(client=Client(client)),
        )
    assert summary.valid, summary.reasons
    assert set(summary.errors) <= {
        f"script:{kind}" for kind in ("others", *_errors_of(tmp_path / "run.run.jsonl"))
    }
    assert summary.figures["connections.open"] == 10
    assert summary.close_codes == {1000: 10}
    assert summary.figures["integrity.lost"] == 0
    # Their texts have an address in them, and so differ.
    assert len(summary.errors) <= 21
    shown = watching.file.getvalue()
    assert shown.count("Traceback") == 1
    assert re.search(r'mine.*\.py", line 9, in ', shown)


def _errors_of(record: Path) -> set[str]:
    events = read_record(record).events
    return {e.detail["kind"].removeprefix("script:") for e in events if e.name == "script_error"}


async def test_a_script_that_fails_at_once_is_begun_less_and_less_often(
    run: Run, write: Any
) -> None:
    scenario = write("async def script(connection):\n    raise LookupError('no')\n")
    summary = await go(run, scenario, connections=2, duration_seconds=2.0)
    # Without a wait it would be tens of thousands; waits double up to a second.
    assert 2 <= summary.errors["script:LookupError: no"] < 200
