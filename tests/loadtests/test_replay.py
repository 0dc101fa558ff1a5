"""The command of a record makes the same run again."""

import shlex
from dataclasses import fields
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from benchmarks.cli import app
from loadtests import cli
from loadtests.plan.bounds import Bounds
from loadtests.plan.connect_options import Client, ConnectOptions
from loadtests.plan.distribution import parse_distribution
from loadtests.plan.feed import FeedPolicy
from loadtests.plan.plan import Plan
from loadtests.plan.rate_profile import parse_profile
from loadtests.plan.replay import replay_command
from loadtests.plan.schedule import ArrivalKind
from loadtests.plan.target_source import TargetSource
from reports.units import parse_bytes, parse_seconds

options = st.builds(
    ConnectOptions,
    headers=st.just(()) | st.just(("X-A: {n}", "X-B: b c")),
    subprotocols=st.just(()) | st.just(("a", "b")),
    cookies=st.just(()) | st.just(("a=b",)),
    bearer=st.none() | st.just("{feed.token}"),
    origin=st.none() | st.just("https://example.org"),
    deflate=st.booleans(),
    insecure=st.booleans(),
    sources=st.just(()) | st.just(("127.0.0.2", "127.1.0.0/30")),
    unix_socket=st.none() | st.just("/a b"),
    client=st.sampled_from([Client.AUTO, Client.WEBSOCKETS]),
    max_message_bytes=st.sampled_from([1, 12345, 16 * 2**20]),
)
plans = st.builds(
    Plan,
    url=st.just("ws://127.0.0.1:{port}/a b"),
    connections=st.integers(8, 20_000),
    scenario=st.sampled_from(["hold", "echo"]),
    parameters=st.just({}) | st.just({"active": "2"}),
    concurrent=st.integers(1, 500),
    duration_seconds=st.integers(1, 100).map(float),
    rate=st.none() | st.integers(1, 1000).map(float),
    arrivals=st.sampled_from(ArrivalKind),
    payload_bytes=st.integers(1, 5000),
    payload_file=st.none() | st.just("a b.txt"),
    binary=st.booleans(),
    ramp_seconds=st.integers(0, 60).map(float),
    steps=st.integers(1, 8),
    handshake_timeout_seconds=st.integers(1, 60).map(float),
    processes=st.integers(1, 8),
    options=options,
    ramp_down_seconds=st.integers(0, 60).map(float),
    feed=st.none() | st.just("a b.csv"),
    feed_policy=st.sampled_from(FeedPolicy),
    late_seconds=st.integers(1, 60).map(float),
    fail_fast=st.booleans(),
    reply_timeout_seconds=st.sampled_from((0.5, 10.0, 30.0)),
    setup=st.none() | st.just("login.py"),
    ready=st.just(()) | st.just(('{"a": 1} => "b"', "=> c", "d")),
    answers=st.just(()) | st.just(("2 => 3", '{"a": 1} => b')),
    abort_on=st.just(()) | st.just(("errors > 10",)),
    bounds=st.just(Bounds()) | st.just(Bounds(runnable_ratio=0.5, gc_pause_seconds=1e-3)),
    thresholds=st.just(()) | st.just(("latency.p99_seconds<=20ms", "errors <= 0")),
    warmup_seconds=st.sampled_from((0.0, 1.5)),
    seed=st.integers(0, 2**32 - 1),
)
sources = st.builds(
    TargetSource,
    command=st.just(("serve it", "--port", "{port}")),
    environment=st.just({}) | st.just({"A": "b c", "D": "e=f"}),
    directory=st.none() | st.just("."),
    ready=st.none() | st.just("/healthz"),
    start_seconds=st.sampled_from((30.0, 90.5)),
)


@given(plans, sources)
def test_the_command_is_read_back_into_the_same_plan(plan: Plan, source: TargetSource) -> None:
    seen: list[tuple[Any, Any]] = []

    async def catch(plan: Plan, source: TargetSource, *rest: Any) -> None:
        seen.append((plan, source))
        raise KeyboardInterrupt

    original, cli.execute = cli.execute, catch  # type: ignore[assignment]
    try:
        app(replay_command(plan, source)[1:], standalone_mode=False)
    finally:
        cli.execute = original
    ((again, its_source),) = seen
    assert its_source == source
    for field in fields(plan):
        assert getattr(again, field.name) == getattr(plan, field.name), field.name


def test_words_with_spaces_survive_a_shell() -> None:
    plan = Plan(url="ws://h/", connections=1, scenario="hold", parameters={})
    command = replay_command(plan, TargetSource(command=("a b", "{port}")))
    assert shlex.split(shlex.join(command)) == list(command)


def test_a_changing_rate_think_time_and_scattered_sizes_are_written_too() -> None:
    profile = parse_profile("0..5/s for 2s, 5/s for 3s")
    plan = Plan(
        url="ws://h/",
        connections=9,
        scenario="echo",
        parameters={},
        profile=profile,
        rate=profile.arrivals / profile.seconds,
        duration_seconds=profile.seconds,
        payload_sizes=parse_distribution("64B 50%, 1KiB 50%", parse_bytes),
    )
    words = replay_command(plan, TargetSource())
    assert words[words.index("--profile") + 1] == "0..5/s for 2s, 5/s for 3s"
    assert words[words.index("--payload") + 1] == "64B 50%, 1KiB 50%"
    assert "--rate" not in words
    assert "--duration" not in words
    thinking = Plan(
        url="ws://h/",
        connections=9,
        scenario="echo",
        parameters={},
        think=parse_distribution("exp 1s", parse_seconds),
    )
    assert "exp 1s" in replay_command(thinking, TargetSource())
