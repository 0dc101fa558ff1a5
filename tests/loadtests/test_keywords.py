"""Keywords of Python mean what the flags of the command line do."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.errors import UsageError
from loadtests.plan.command_line import read_words
from loadtests.plan.from_options import plan_of, source_of
from loadtests.plan.keywords import KEYWORDS, RENAMED, given_by
from loadtests.plan.run_options import OPTIONS
from loadtests.plan.scenario_file import ScenarioFile
from loadtests.plan.user_kinds import plan_of_run

URL = "ws://127.0.0.1:1/"


def test_every_flag_has_a_keyword_but_those_of_a_person_at_a_terminal() -> None:
    names = {*KEYWORDS} - {"path"}
    assert {*RENAMED.values()} <= names
    without = OPTIONS.keys() - names
    assert without == {"file", "dry_run", "output", "json", "quiet"}


@pytest.mark.parametrize(
    ("keywords", "words"),
    [
        ({"connections": 1_000, "duration": 2.5}, ["1000", "--duration", "2.5"]),
        ({"connections": "0..2k in 30s", "scenario": "echo"}, ["0..2k in 30s", "-s", "echo"]),
        ({"parameters": {"active": 5, "wrap": None}}, ["--param", "active=5"]),
        (
            {"thresholds": ["errors<=0", "errors>0"]},
            ["--threshold=errors<=0", "--threshold=errors>0"],
        ),
        ({"threshold": "errors<=0"}, ["--threshold=errors<=0"]),
        ({"header": {"X-Team": "a b", "Y": 1}}, ["-H", "X-Team: a b", "-H", "Y: 1"]),
        ({"cookie": {"a": "b"}}, ["--cookie", "a=b"]),
        ({"binary": True, "deflate": False, "insecure": None}, ["--binary"]),
        ({"pid": 1}, ["--pid", "1"]),
        ({"command": "a {port}", "cwd": "/"}, ["--target-cmd", "a {port}", "--target-dir=/"]),
        ({"command": ["a b", "{port}"]}, ["--target-cmd", "'a b' '{port}'"]),
        ({"environment": {"A": "-1", "B": None}}, ["--target-env=A=-1"]),
        ({"payload": 100, "late": 0.1}, ["--payload=100", "--late=0.1"]),
        ({"client": "picows"}, ["--client=picows"]),
        ({"bearer": "-x --y"}, ["--bearer=-x --y"]),
    ],
)
def test_a_keyword_is_the_flag_of_its_name(keywords: dict[str, Any], words: list[str]) -> None:
    options = [word for word in words if word not in ("1000", "0..2k in 30s")]
    count = [word for word in words if word not in options]
    assert given_by({"url": URL, **keywords}) == read_words([*options, "--", URL, *count])


def test_a_path_is_of_the_server_that_the_command_starts() -> None:
    given = given_by({"command": "serve {port}", "path": "/echo"})
    assert given["url"] == "ws://127.0.0.1:{port}/echo"
    assert given_by({"command": "serve {port}"})["url"] == "ws://127.0.0.1:{port}/ws"
    assert source_of(given).command == ("serve", "{port}")


@pytest.mark.parametrize(
    ("keywords", "why"),
    [
        ({"url": URL, "durations": 1}, "did you mean duration?"),
        ({"url": URL, "quiet": True}, "no keyword is called 'quiet'"),
        ({"url": URL, "path": "/x"}, "leave path out"),
        ({"command": "{port}", "path": "x"}, "is not a path"),
        ({"connections": 1}, "name the server"),
        ({"url": URL, "binary": 1}, "must be True or False"),
        ({"url": URL, "rate": [1]}, "rate is [1]; it must be a text or a number"),
        ({"url": URL, "header": [["a"]]}, "it must be a text or a number"),
        ({"url": URL, "connections": 1, "count": 2}, "are the same"),
        ({"url": URL, "client": "curl"}, "'curl'"),
        ({"url": {"a": 1}}, "url is {'a': 1}"),
    ],
)
def test_what_cannot_be_meant_is_refused(keywords: dict[str, Any], why: str) -> None:
    with pytest.raises(UsageError) as caught:
        given_by(keywords)
    assert why in str(caught.value)


@given(st.floats(min_value=1e-6, max_value=1e6), st.integers(1, 10**6))
def test_numbers_come_through_as_they_are(number: float, count: int) -> None:
    plan = plan_of(given_by({"url": URL, "rate": number, "late": number, "payload": count}))
    assert (plan.rate, plan.late_seconds, plan.payload_bytes) == (number, number, count)


@pytest.mark.parametrize("number", [float("nan"), float("inf")])
def test_a_number_that_is_none_is_refused(number: float) -> None:
    with pytest.raises(UsageError, match="--rate"):
        plan_of(given_by({"url": URL, "rate": number}))


def test_what_is_as_by_default_may_be_given_beside_users() -> None:
    users = ["a=50% -s hold", "b=50% -s echo --rate 5"]
    given = given_by({"url": URL, "scenario": "hold", "parameters": {}, "user": users})
    assert [user.name for user in plan_of_run(given, ScenarioFile()).users] == ["a", "b"]


def test_an_environment_of_nothing_needs_no_command() -> None:
    assert source_of(given_by({"url": URL, "environment": {"A": None}})).environment == {}
