"""Users of several kinds in one run: each does what it is for; figures for each and for all."""

import asyncio
import json
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.errors import UsageError
from loadtests.plan.bounds import changed
from loadtests.plan.command_line import read_words
from loadtests.plan.plan import Endpoint, Plan, processes_of
from loadtests.plan.replay import replay_command
from loadtests.plan.scenario_file import ScenarioFile
from loadtests.plan.target_source import TargetSource
from loadtests.plan.user_kinds import UserKind, parse_user, parts_of, plan_of_run
from loadtests.run.run import checked, execute
from reports.html.page import html_report
from reports.outcome import ExitStatus
from reports.record import Interval, Line, read_record
from reports.run_outcome import outcome_of
from reports.summary import summarise
from tests.loadtests.conftest import PATIENT, broadcasting
from tests.servers.launch import launch

JSON_CHAT = [sys.executable, "-m", "tests.servers.json_chat", "0"]
# Tests must pass on any machine, however loaded.
FLAGS = (
    *(word for text in changed(PATIENT) for word in ("--bound", text)),
    *("--timeout", "60s", "--late", "60s"),
)
WATCHER = "watcher=50% --scenario hold"
TALKER = (
    "talker=25% /ws?token=t-{n} --scenario echo --rate 40 --param 'wrap="
    '{"type": "echo", "text": "{}"}\''
)
SPEAKER = '25% --scenario broadcast --rate 5 --param \'publish={"type": "chat", "text": "{}"}\''


def plan_of(*words: str, count: str = "40", url: str = "ws://127.0.0.1:9/ws") -> Plan:
    return plan_of_run(read_words([url, count, *words]), ScenarioFile())


def users(*texts: str) -> list[str]:
    return [word for text in texts for word in ("--user", text)]


def swarmgate(*words: str) -> "subprocess.CompletedProcess[str]":
    command = [sys.executable, "-m", "benchmarks", *words]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def test_each_kind_is_counted_as_a_strangers_server_counts_it(tmp_path: Path) -> None:
    record = tmp_path / "mix.run.jsonl"
    with launch(JSON_CHAT) as server:
        done = swarmgate(
            *("run", server.url("/ws?token=t-0"), "40", "--duration", "2s", "-q", "--json"),
            *("-o", str(record), *FLAGS, *users(WATCHER, TALKER, SPEAKER)),
        )
        counted = server.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    output = json.loads(done.stdout)
    figures = {name: user["figures"] for name, user in output["users"].items()}
    assert [figures[name]["connections.opened"] for name in figures] == [20, 10, 10]
    assert output["figures"]["connections.opened"] == counted["accepted"] == 40
    assert figures["talker"]["messages.sent"] == counted["echoed"] == 80
    assert figures["talker"]["latency.count"] == 80
    assert figures["broadcast"]["messages.sent"] == counted["chats"] == 10
    assert figures["broadcast"]["integrity.expected"] == 100
    assert figures["broadcast"]["delivered.count"] == 100
    # Everybody hears what is sent, and only the speakers' kind waits for it.
    assert counted["deliveries"] == 400
    assert figures["watcher"]["messages.unsolicited"] >= 200
    for name in ("sent", "received"):
        each = (of_user[f"messages.{name}"] for of_user in figures.values())
        assert output["figures"][f"messages.{name}"] == sum(each)
    assert output["figures"]["integrity.lost"] == 0
    report = swarmgate("report", str(record))
    assert "talker: 0.25 of the connections, echo on ws://" in report.stdout
    page = html_report(read_record(record))
    assert "Kinds of users" in page
    assert "Durations of talker" in page


def test_two_kinds_that_broadcast_are_counted_apart(tmp_path: Path) -> None:
    record = tmp_path / "two.run.jsonl"
    speaker = SPEAKER.removeprefix("25% ")
    with launch(JSON_CHAT) as server:
        done = swarmgate(
            *("run", server.url("/ws?token=t-0"), "20", "--duration", "2s", "-q"),
            *("-o", str(record), *FLAGS, *users(f"a=50% {speaker}", f"b=0.5 {speaker}")),
        )
    assert done.returncode == 0, done.stdout + done.stderr
    summary = summarise(read_record(record))
    assert summary.figures["delivery.messages"] == 20
    for own in summary.users.values():
        assert own.figures["delivery.messages"] == 10
        assert own.figures["integrity.expected"] == own.figures["delivered.count"] == 100


def test_a_lost_message_is_its_own_kinds_and_a_threshold_may_be_of_one(tmp_path: Path) -> None:
    record = tmp_path / "lossy.run.jsonl"
    with launch([*JSON_CHAT, "--lose", "7"]) as server:
        done = swarmgate(
            *("run", server.url("/ws?token=t-0"), "40", "--duration", "2s", "-q"),
            *("-o", str(record), *FLAGS, *users(WATCHER, TALKER, SPEAKER)),
            *("--threshold", "talker.integrity.lost<=0", "--threshold", "broadcast.errors<=0"),
            *("--threshold", "broadcast.integrity.lost<=0"),
        )
    assert done.returncode == ExitStatus.FAILED
    last = done.stdout.splitlines()[-1]
    assert "broadcast.integrity.lost <= 0, found" in last
    assert "talker" not in last
    summary = summarise(read_record(record))
    assert summary.users["talker"].figures["integrity.lost"] == 0
    lost = summary.users["broadcast"].figures["integrity.lost"]
    assert 0 < lost == summary.figures["integrity.lost"]


async def test_who_was_to_stay_is_missed_beside_others_who_come_and_go(tmp_path: Path) -> None:
    ending: list[asyncio.Task[None]] = []
    async with broadcasting() as (port, clients):

        def end_all(line: Line) -> None:
            if isinstance(line, Interval) and line.phase == "measure" and line.opened:
                ending.extend(asyncio.create_task(client.close(4000)) for client in clients)

        plan = plan_of(
            *("--duration", "600s", *FLAGS),
            *users("50% --scenario hold", "50% --scenario churn --rate 20"),
            count="4",
            url=f"ws://127.0.0.1:{port}/",
        )
        summary = await execute(plan, TargetSource(), tmp_path / "mix.run.jsonl", end_all)
        await asyncio.gather(*ending)
    assert "ended every connection that should have stayed open" in summary.failures[0]
    assert summary.users["churn"].figures["churn.arrived"] > 0
    assert outcome_of(summary).status is ExitStatus.FAILED


def test_a_file_has_a_table_for_each_kind(tmp_path: Path) -> None:
    file = tmp_path / "mix.toml"
    file.write_text(
        """
        connections = "10..20 in 1s, 20 for 1s"
        timeout = "60s"
        bound = ["lateness_p99_seconds=60s", "runnable_ratio=200%", "loop_lag_p99_seconds=60s"]

        [[user]]
        share = 0.6
        scenario = "hold"

        [[user]]
        name = "talker"
        share = 0.4
        scenario = "echo"
        rate = 20
        [user.parameters]
        wrap = '{"type": "echo", "text": "{}"}'
        """
    )
    record = tmp_path / "mix.run.jsonl"
    with launch(JSON_CHAT) as server:
        url = server.url("/ws?token=t-{n}")
        done = swarmgate("run", "-f", str(file), "-q", "-o", str(record), url)
        counted = server.stop()
    assert done.returncode == 0, done.stdout + done.stderr
    summary = summarise(read_record(record))
    opened = {name: own.figures["connections.opened"] for name, own in summary.users.items()}
    assert opened == {"hold": 12, "talker": 8}
    assert counted["accepted"] == summary.figures["connections.requested"] == 20
    assert counted["echoed"] == summary.figures["messages.sent"] > 0
    assert summary.figures["integrity.lost"] == 0


@pytest.mark.parametrize(
    ("table", "complaint"),
    [
        ("share = 2", "share is 2; it must be a number, above 0 and at most 1"),
        ("scenario = 'hold'", "share is None; it must be a number"),
        ("share = 1\nname = 3", "name is 3; it must be a text"),
        ("share = 1\nrat = 5", ":3: rat is not a key of a scenario file; did you mean rate?"),
        ("share = 1\nduration = '1s'", "user 1: --duration belongs to the run, not to one kind"),
        ("share = 1\nname = 'a b'", "'a b' is not a name"),
        ("share = 0.5", "the shares of users add up to 0.5; they must add up to 1"),
    ],
)
def test_a_table_that_is_wrong_is_reported_with_its_place(
    tmp_path: Path, table: str, complaint: str
) -> None:
    file = tmp_path / "wrong.toml"
    file.write_text(f"[[user]]\n{table}\n")
    done = swarmgate("run", "-f", str(file), "--dry-run", "ws://h/")
    assert done.returncode == ExitStatus.USAGE
    assert complaint in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (users("some hold"), "is not a kind of users; write it like 'talker=30% /echo"),
        (users("a=50%", "b=60%"), "the shares of users add up to 1.1"),
        (users("50%", "50%"), "two kinds of users are called 'hold'; name them"),
        (users("1 --nope"), "--user 1: No such option: --nope"),
        (users("1 -s tornado"), "user tornado: no scenario is called 'tornado'"),
        (users("1 'open"), "No closing quotation"),
        (users("1 -p 2"), "--processes belongs to the run, not to one kind of users"),
        (users("1 /a 5"), "COUNT belongs to the run"),
        (users("1 /a 100"), "COUNT belongs to the run"),
        (users("1 --steps 1"), "--steps belongs to the run"),
        (users("1 //other/x"), "'//other/x' is neither an address nor a path on the run's server"),
        (users("a=0%", "b=1"), "--user a: a share of 0% is out of range; it must be above 0"),
        (users("a=1 --ca /no/such"), "user a: cannot use the certificates in /no/such"),
        (users("1 ws://elsewhere/"), "ws://elsewhere/ is on another server"),
        (users("1 --profile '1/s for 5s'"), "--profile lasts 5 s, the run 10 s"),
        ([*users("1"), "--rate", "5"], "--rate must be given for each kind of users; put it into"),
        ([*users("1"), "-s", "echo"], "--scenario must be given for each kind of users"),
        ([*users("a=.5", "b=.5"), "-p", "1"], "each of the 2 kinds of users needs its own"),
        (users("a=99%", "b=1%"), "40 connections are too few for 2 kinds of users"),
        (users("1 -s drain"), "user drain: drain stops the server for all"),
        (users("1 -s hold --rate 5"), "user hold: hold sends nothing"),
        (
            [*users("a=1 -s echo"), "--threshold", "a.latency.p98_seconds<=1s"],
            "no figure is called 'latency.p98_seconds'; did you mean latency.p99_seconds",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(words: list[str], complaint: str) -> None:
    with pytest.raises(UsageError) as refused:
        checked(plan_of(*words))
    assert complaint in str(refused.value)
    assert "\n" not in str(refused.value)


def test_what_is_given_for_the_run_holds_for_each_kind_unless_it_says_otherwise() -> None:
    plan = plan_of(
        *("-H", "A: run", "--timeout", "3s", "--binary", "-d", "7s", "--source", "127.0.0.2"),
        *users("a=50% -s hold", "b=50% /b -s echo -H 'A: own' --payload 1KiB"),
    )
    first, second = plan.parts
    assert first.url == "ws://127.0.0.1:9/ws"
    assert second.url == "ws://127.0.0.1:9/b"
    assert [part.options.headers for part in plan.parts] == [("A: run",), ("A: own",)]
    assert [part.payload_bytes for part in plan.parts] == [64, 1024]
    for part in plan.parts:
        assert part.handshake_timeout_seconds == 3
        assert part.duration_seconds == 7
        assert part.binary
        assert part.options.sources == ("127.0.0.2",)
    assert first.seed != second.seed != plan.seed


@given(
    st.integers(1, 10_000),
    st.lists(st.integers(1, 100), min_size=1, max_size=6),
)
def test_the_parts_are_the_whole_and_near_their_shares(count: int, weights: list[int]) -> None:
    kinds = [UserKind("", "", weight / sum(weights)) for weight in weights]
    parts = parts_of(count, kinds)
    assert sum(parts) == count
    # Near, but a divisor method may be one off the quota for the sake of growing with the whole.
    for part, kind in zip(parts, kinds, strict=True):
        assert abs(part - count * kind.share) < 2
    for part, more in zip(parts, parts_of(count + 1, kinds), strict=True):
        assert more in (part, part + 1)


@given(st.integers(1, 6), st.integers(1, 6), st.integers(12, 500), st.integers(1, 5))
def test_processes_have_numbers_of_their_own_and_connections_without_a_gap(
    first: int, second: int, count: int, steps: int
) -> None:
    plan = plan_of(
        *("-p", str(first + second), "--steps", str(steps)),
        *users("a=50% -s hold", "b=50% -s echo"),
        count=str(count),
    )
    shares = processes_of(plan, Endpoint("127.0.0.1", 1), (), 0)
    assert [share.process_of_run for share in shares] == list(range(plan.processes))
    assert {share.user for share in shares} == {"a", "b"} or plan.processes == 1
    for share in shares:
        assert share.reached(plan.stages()[-1], plan.connections) == share.connections
    for part in plan.parts:
        numbers = [
            share.number(ordinal)
            for share in shares
            if share.plan is part
            for ordinal in range(share.connections)
        ]
        assert sorted(numbers) == list(range(part.connections))


@given(
    st.sampled_from([(), ("--timeout", "3s"), ("-H", "A: 'b c'"), ("--ramp", "2s")]),
    st.sampled_from(["", "-H 'X: y z'", "/other --payload 1KiB", "--ready 'a => b'"]),
    st.sampled_from(["-s hold", "-s echo --rate 5 --param active=1", "-s echo --think 'exp 1s'"]),
)
def test_the_command_of_a_record_makes_the_same_run_again(
    common: tuple[str, ...], first: str, second: str
) -> None:
    plan = plan_of(*common, *users(f"a=30% {first}", f"b=70% {second}"))
    words = replay_command(plan, TargetSource())
    again = plan_of_run(read_words(words[2:]), ScenarioFile())
    assert again.users == plan.users
    assert again.connections == plan.connections
    assert again.seed == plan.seed


def test_figures_of_all_together_may_be_asked_for_whatever_kinds_are_called(tmp_path: Path) -> None:
    script = tmp_path / "talk.py"
    script.write_text("async def script(connection): pass\n")
    kinds = users("50% -s churn --rate 10", f"50% -s {script}")
    for figure in ("churn.arrivals", "churn.churn.arrivals", "heard.p99_seconds", "talk.x.count"):
        checked(plan_of(*kinds, "--threshold", f"{figure}>=1"))


def test_the_command_of_a_record_asks_for_as_many_as_were_asked_for(tmp_path: Path) -> None:
    feed = tmp_path / "f.csv"
    feed.write_text("token\na\nb\nc\n")
    words = users(f"x=50% /a?t={{feed.token}} -s echo --feed {feed} --feed-policy stop", "y=50%")
    plan = checked(plan_of(*words, count="12"))
    assert [part.connections for part in plan.parts] == [3, 6]
    assert plan.openings == 9
    again = plan_of_run(read_words(replay_command(plan, TargetSource())[2:]), ScenarioFile())
    assert [part.connections for part in checked(again).parts] == [3, 6]


def test_a_kind_has_its_scenarios_name_where_it_has_none() -> None:
    assert parse_user("30% --scenario echo") == UserKind(
        "--user 30%", "", 0.3, ["--scenario", "echo"]
    )
    plan = plan_of(*users("30% --scenario echo", "x=.7"))
    assert [user.name for user in plan.users] == ["echo", "x"]
