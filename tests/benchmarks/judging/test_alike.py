"""Which runs are comparable, and what is said where they are not."""

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from benchmarks.judging.alike import (
    Alike,
    NotComparableError,
    Run,
    conditions,
    described,
    grouped,
    matched,
    server_of,
)
from reports.record import Header, Machine, Target, UserHeader
from tests.reports.builders import header


def started_by(*command: str, port: int = 40001, path: str = "/ws") -> Target:
    words = tuple(word.replace("{port}", str(port)) for word in command)
    return Target(f"ws://127.0.0.1:{port}{path}", f"127.0.0.1:{port}", words, (1,))


def groups(*headers: Header) -> list[Alike]:
    return grouped(Run(it, datetime(2026, 1, 1, tzinfo=UTC), {}) for it in headers)


def load(**changes: Any) -> dict[str, Any]:
    return {"connections": 100, "rate": 50.0, "duration_seconds": 10.0} | changes


MACHINE = Machine("host", "6.1", "cpu", 2, 10**9, "3.11")


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"scenario": "broadcast"}, "scenario: echo in base, broadcast in head"),
        ({"parameters": {"active": 5}}, "parameter active: nothing in base, 5 in head"),
        ({"load": load(connections=200)}, "connections: 100 in base, 200 in head"),
        ({"load": load(rate=None)}, "rate: 50 in base, null in head"),
        (
            {"load": load(options={"deflate": True})},
            "options.deflate: false in base, true in head",
        ),
        ({"load": load(made_up_later=1)}, "made_up_later: nothing in base, 1 in head"),
        ({"target": Target("ws://127.0.0.1:1/x", "127.0.0.1:1")}, "path: / in base, /x in head"),
        ({"machine": Machine("host", "6.1", "cpu", 4, 10**9, "3.11")}, "cores: 2 in base, 4 in"),
        ({"machine": Machine("host", "6.2", "cpu", 2, 10**9, "3.11")}, "kernel: 6.1 in base, 6.2"),
        ({"machine": Machine("host", "6.1", "x", 2, 10**9, "3.11")}, "CPU: cpu in base, x in head"),
        ({"machine": Machine("host", "6.1", "cpu", 2, 2 * 10**9, "3.11")}, "memory: 1.00 GB in ba"),
        (
            {"users": (UserHeader("talker", 1.0, "echo", {}, load(), "ws://h/", (0,)),)},
            "user talker: share: nothing in base, 1 in head",
        ),
    ],
)
def test_another_load_or_machine_is_refused_saying_what_differs(
    changes: dict[str, Any], told: str
) -> None:
    with pytest.raises(NotComparableError) as refused:
        matched(groups(header()), groups(header(**changes)), force=False)
    assert told in str(refused.value)
    found = matched(groups(header()), groups(header(**changes)), force=True)
    assert any(told in line for line in found.pairs[0].differences)


@pytest.mark.parametrize(
    "changes",
    [
        {"git_commit": "abc"},
        {"versions": {"picows": "3"}},
        {"seed": 8, "run_id": "r2", "started_at": "2026-01-02T00:00:00+00:00"},
        {"target": Target("ws://10.0.0.1:99/", "10.0.0.1:99")},
        {"machine": Machine("another", "6.1", "cpu", 2, 10**9 + 1000, "3.12")},
        {"load": load(duration_seconds=10, rate=50, thresholds=("errors<=0",), total_rate=50)},
        {"load": load(steps=1)},
        {"load": load(options={"deflate": False})},
    ],
)
def test_what_is_compared_may_differ_and_what_was_not_asked_for_is_the_same(
    changes: dict[str, Any],
) -> None:
    found = matched(groups(header()), groups(header(**changes)), force=False)
    assert len(found.pairs) == 1
    assert found.pairs[0].differences == ()


def test_the_port_that_a_target_was_given_is_no_difference() -> None:
    one, other = (started_by("serve", "--port", "{port}", port=port) for port in (40001, 40002))
    assert server_of(header(target=one)) == "serve --port {port}"
    assert len(groups(header(target=one), header(target=other))) == 1


def test_only_the_port_itself_is_taken_for_it() -> None:
    words = ("serve", "127.0.0.1:80", "--port=80", "--limit", "8000", "{port}")
    target = started_by(*words, port=80)
    assert server_of(header(target=target)) == (
        "serve '127.0.0.1:{port}' '--port={port}' --limit 8000 {port}"
    )
    nowhere = replace(target, address="", command=("serve",))
    assert server_of(header(target=nowhere)) == "serve"


def test_the_same_load_on_several_servers_is_compared_server_by_server() -> None:
    quiet = started_by("serve", "--heartbeat", "0")
    loud = started_by("serve", "--heartbeat", "5")
    both = groups(header(target=quiet), header(target=loud))
    assert len(both) == 2
    found = matched(both, list(reversed(both)), force=False)
    assert [(it.base.server, it.head.server) for it in found.pairs] == [
        ("serve --heartbeat 5", "serve --heartbeat 5"),
        ("serve --heartbeat 0", "serve --heartbeat 0"),
    ]


def test_where_only_one_server_is_left_on_each_side_the_two_are_compared() -> None:
    base, head = (groups(header(target=started_by(name))) for name in ("one", "two"))
    found = matched(base, head, force=False)
    assert (found.pairs[0].base.server, found.pairs[0].head.server) == ("one", "two")


def test_which_of_several_servers_is_meant_is_not_guessed() -> None:
    base = groups(*(header(target=started_by(name)) for name in ("one", "two")))
    head = groups(*(header(target=started_by(name)) for name in ("three", "four")))
    with pytest.raises(NotComparableError, match="target: any of one, two in base, three in head"):
        matched(base, head, force=False)


def test_what_has_no_like_on_the_other_side_is_left_out_where_something_has() -> None:
    base = groups(header(), header(scenario="hold"))
    head = groups(header(), header(scenario="chat"))
    found = matched(base, head, force=False)
    assert len(found.pairs) == 1
    assert [it.runs[0].header.scenario for it in found.base_only] == ["hold"]
    assert [it.runs[0].header.scenario for it in found.head_only] == ["chat"]


def test_a_machine_is_never_pooled_with_another() -> None:
    other = Machine("host", "6.1", "cpu", 64, 10**11, "3.11")
    assert len(groups(header(), header(machine=other))) == 2
    assert len(groups(header(), header(machine=MACHINE))) == 1


def test_a_load_is_told_in_a_few_words() -> None:
    told = header(
        parameters={"active": 5},
        load=load(payload_bytes=64),
        target=Target("ws://127.0.0.1:1/ws?a=1", "127.0.0.1:1"),
    )
    assert described(told) == "echo, 100 connections, 50 /s, 64 B, 10 s, active 5, on /ws?a=1"
    assert conditions(told)["query"] == "a=1"
