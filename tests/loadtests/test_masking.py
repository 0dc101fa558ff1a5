"""What is secret is sent, and stands nowhere else."""

import json
import shlex
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from websockets.asyncio.server import ServerConnection, serve

from loadtests.errors import UsageError
from loadtests.locust.arguments import flags_text
from loadtests.plan.connect_options import ConnectOptions
from loadtests.plan.masking import MASK, masked, masked_url
from loadtests.plan.plan import Plan
from loadtests.plan.template import fill, fill_secret, is_file, split_places
from tests.loadtests.conftest import Run

HIDDEN = "hunter2-f3a9"
EVERY: dict[str, Any] = {
    "headers": (f"X-Api-Key: {HIDDEN}", "X-Version: 3"),
    "cookies": (f"session={HIDDEN}",),
    "bearer": HIDDEN,
}


async def headers_seen(run: Run, query: str = "", **options: Any) -> list[dict[str, str]]:
    seen: list[dict[str, str]] = []

    async def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        path = {"path": connection.request.path}
        seen.append(path | dict(connection.request.headers.raw_items()))
        await connection.wait_closed()

    async with serve(handle, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        summary = await run(
            f"ws://127.0.0.1:{port}/{query}",
            "hold",
            connections=1,
            duration_seconds=0.1,
            options=ConnectOptions(**options),
        )
    assert summary.errors == {}
    return seen


async def test_a_secret_is_sent_and_not_recorded(run: Run, tmp_path: Path) -> None:
    (sent,) = await headers_seen(run, f"?token={HIDDEN}&room=a", **EVERY)
    assert sent["X-Api-Key"] == HIDDEN
    assert sent["Cookie"] == f"session={HIDDEN}"
    assert sent["Authorization"] == f"Bearer {HIDDEN}"
    assert sent["path"] == f"/?token={HIDDEN}&room=a"
    record = (tmp_path / "run.run.jsonl").read_text()
    assert HIDDEN not in record
    header = json.loads(record.splitlines()[0])
    assert header["load"]["options"]["headers"] == [f"X-Api-Key: {MASK}", "X-Version: 3"]
    assert header["target"]["url"].endswith(f"/?token={MASK}&room=a")
    assert "--bearer" in header["command"]


async def test_the_environment_and_files_keep_secrets_out_of_the_command(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAT_TOKEN", HIDDEN)
    file = tmp_path / "token"
    file.write_text(f"{HIDDEN}-of-a-file\n")
    (sent,) = await headers_seen(
        run, "?token=${CHAT_TOKEN}", bearer=f"@{file}", cookies=("id=u-${CHAT_TOKEN}-{n}",)
    )
    assert sent["Authorization"] == f"Bearer {HIDDEN}-of-a-file"
    assert sent["Cookie"] == f"id=u-{HIDDEN}-0"
    assert sent["path"] == f"/?token={HIDDEN}"
    record = (tmp_path / "run.run.jsonl").read_text()
    assert HIDDEN not in record
    command = json.loads(record.splitlines()[0])["command"]
    # With these it makes the run again.
    assert f"@{file}" in command
    assert any("token=${CHAT_TOKEN}" in word for word in command)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        ({"bearer": "${NOT_SET_ANYWHERE}"}, "the variable NOT_SET_ANYWHERE is not set"),
        ({"bearer": "@/nowhere/token"}, "cannot read '@/nowhere/token'"),
        ({"bearer": "${lower}"}, r"unknown placeholder \$\{lower\}"),
    ],
)
async def test_what_cannot_be_filled_in_is_refused_before_anything_runs(
    run: Run, options: dict[str, str], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        await run("ws://127.0.0.1:9/", options=ConnectOptions(**options))


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("ws://h/ws?access_token=a&x=1", "ws://h/ws?access_token=***&x=1"),
        ("ws://h/ws?API-KEY=a", "ws://h/ws?API-KEY=***"),
        ("ws://h/ws?apikey=a&accessKey=b&keys=c", "ws://h/ws?apikey=***&accessKey=***&keys=c"),
        ("ws://h/ws?token=hunter{n}", "ws://h/ws?token=***{n}"),
        ("ws://h/ws?token=t-{n}", "ws://h/ws?token=t-{n}"),
        ("ws://h/ws?token=@file", "ws://h/ws?token=***"),
        ("ws://h/ws?token={feed.token}", "ws://h/ws?token={feed.token}"),
        ("http://me:pass@proxy:3128", "http://me:***@proxy:3128"),
        ("ws://127.0.0.1:{port}/a?b=c;d", "ws://127.0.0.1:{port}/a?b=c;d"),
    ],
)
def test_an_address_is_shown_without_its_secrets(url: str, expected: str) -> None:
    assert masked_url(url) == expected


@given(st.sampled_from(("Authorization", "X-Auth-Token", "Cookie", "api_key", "X-Session")))
def test_a_header_with_such_a_name_is_masked(name: str) -> None:
    options = ConnectOptions(headers=(f"{name}: {HIDDEN}",), proxy=f"http://a:{HIDDEN}@h:1")
    plan = masked(Plan("ws://h/", 1, "hold", {}, options=options))
    assert plan.options.headers == (f"{name}: {MASK}",)
    assert HIDDEN not in str(plan)


@pytest.mark.parametrize(
    ("bearer", "expected"),
    [
        ("hunter2", "***"),
        ("t-{n}", "t-{n}"),
        ("hunter2-{n}", "***{n}"),
        ("${A}.${B}", "${A}.${B}"),
        ("${A}hunter2", "${A}***"),
        ("@/run/secrets/token", "@/run/secrets/token"),
    ],
)
def test_what_stands_beside_a_place_is_masked_but_for_a_few_letters(
    bearer: str, expected: str
) -> None:
    options = ConnectOptions(bearer=bearer, headers=(f"Authorization: Basic {bearer}",))
    found = masked(Plan("ws://h/", 1, "hold", {}, options=options)).options
    assert found.bearer == expected
    if not is_file(bearer):
        assert found.headers == (f"Authorization: Basic {expected}",)


async def test_a_header_that_is_no_secret_may_begin_with_an_at_sign(run: Run) -> None:
    (sent,) = await headers_seen(run, headers=("X-Handle: @bob",))
    assert sent["X-Handle"] == "@bob"


def test_headers_of_locust_users_are_shown_without_their_secrets() -> None:
    headers = (f"X-Api-Key: {HIDDEN}", "X-Version: 3", "Authorization: ${TOKEN}")
    options = ConnectOptions(headers=headers, bearer=HIDDEN)
    plan = Plan("ws://h/", 1, "echo", {}, options=options, seed=5)
    flags = flags_text(plan, ["errors<=0"], with_scenario=False)
    assert shlex.split(flags) == [
        *("--seed", "5", "--header", f"X-Api-Key: {MASK}", "--header", "X-Version: 3"),
        *("--header", "Authorization: ${TOKEN}", "--bearer", MASK, "--threshold", "errors<=0"),
    ]


def test_the_scenario_of_a_locust_script_is_shown_whatever_it_is() -> None:
    flags = flags_text(Plan("ws://h/", 1, "hold", {}, seed=5), [], with_scenario=True)
    assert shlex.split(flags) == ["--scenario", "hold", "--seed", "5"]


@given(st.text(max_size=30))
def test_a_text_without_places_is_filled_with_nothing(text: str) -> None:
    if not is_file(text) and len(split_places(text)) == 1:
        assert fill(text, 3) == fill_secret(text, 3) == text
