"""What a user's file does before handshakes: it logs in, and gives each handshake its own."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from websockets.asyncio.server import ServerConnection, serve

from loadtests.errors import UsageError
from loadtests.plan.connect_options import ConnectOptions
from reports.record import read_record
from tests.loadtests.conftest import Run
from tests.servers.launch import launch

LOGIN = """
import httpx
from loadtests.clients.setup import Client, Handshake

HOST = "127.0.0.1:{port}"

async def setup():
    print("set up")
    return httpx.AsyncClient(base_url=f"http://{{HOST}}", timeout=60)

async def handshake(client: Client) -> Handshake:
    answer = await client.shared.post("/login", params={{"user": f"user-{{client.number}}"}})
    return Handshake(url=f"ws://{{HOST}}/ws?token=" + answer.json()["token"])
"""

Write = Callable[[str], str]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    """Write a file; gives its name."""

    def make(text: str) -> str:
        path = tmp_path / f"file{abs(hash(text))}.py"
        path.write_text(text)
        return str(path)

    return make


async def test_every_connection_logs_in_before_its_handshake(
    run: Run, write: Write, tmp_path: Path
) -> None:
    with launch("tests.servers.json_chat", "0") as server:
        summary = await run(
            server.url("/ws"),
            "broadcast",
            rate=20.0,
            processes=2,
            setup=write(LOGIN.format(port=server.port)),
            parameters={"publish": '{"type": "chat", "text": "{}"}'},
        )
        done = server.stop()
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    assert done is not None
    assert done["logins"] == done["accepted"] == summary.figures["setup.count"] == 10
    assert done["deliveries"] == summary.figures["integrity.expected"] == 200
    assert summary.figures["integrity.lost"] == 0
    record = read_record(tmp_path / "run.run.jsonl")
    printed = sorted(it.detail["process"] for it in record.events if it.name == "printed")
    assert printed == [0, 1], "once in each process"


async def test_a_handshakes_own_comes_with_what_all_have(run: Run, write: Write) -> None:
    seen: list[dict[str, str]] = []

    async def handle(connection: ServerConnection) -> None:
        assert connection.request is not None
        seen.append(
            {"path": connection.request.path, **dict(connection.request.headers.raw_items())}
        )
        await connection.wait_closed()

    script = write("""
from loadtests.scenarios.script import Client, Handshake

async def handshake(client):
    return Handshake(
        headers={"X-User": client.feed["user"]}, cookies={"own": "1"}, bearer="mine"
    )

async def script(connection):
    await connection.pause(60)
""")
    feed = Path(script).with_name("users.csv")
    feed.write_text("user\nann\n")
    async with serve(handle, "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        summary = await run(
            f"ws://127.0.0.1:{port}/all",
            script,
            connections=2,
            duration_seconds=0.2,
            feed=str(feed),
            options=ConnectOptions(
                headers=("X-User: nobody", "X-All: 1"), cookies=("all=1",), bearer="all"
            ),
        )
    assert summary.errors == {}
    assert len(seen) == 2
    for request in seen:
        assert request["path"] == "/all"
        assert (request["X-User"], request["X-All"]) == ("ann", "1")
        assert request["Cookie"] == "all=1; own=1"
        assert request["Authorization"] == "Bearer mine"


@pytest.mark.parametrize(
    "case",
    [
        ("raise LookupError('no such user')", "LookupError", "no such user"),
        ("return 'a hunter2'", "TypeError", "it must be a Handshake"),
        ("return Handshake(url='ws://example.org/?token=hunter2')", "ValueError", "example.org"),
        ("return Handshake(bearer='hunter2\\n')", "UsageError", "control character"),
        ("return Handshake(headers={'a b': 'c'})", "UsageError", "not a header name"),
        ("return Handshake(headers={'Upgrade': 'c'})", "UsageError", "set by the handshake"),
        ("raise TimeoutError('of mine')", "TimeoutError", "of mine"),
    ],
)
async def test_a_handshake_that_cannot_be_made_is_counted_and_reported(
    run: Run, write: Write, tmp_path: Path, case: tuple[str, str, str]
) -> None:
    body, kind, expected = case
    file = write(
        "from loadtests.clients.setup import Handshake\n\n"
        f"async def handshake(client):\n    if client.number:\n        {body}\n"
        "    return Handshake()\n"
    )
    with launch("tests.servers.plain_websockets", "0") as server:
        summary = await run(server.url("/echo"), "hold", connections=4, setup=file)
    assert summary.valid, summary.reasons
    assert summary.errors == {f"setup:{kind}": 3}
    assert summary.figures["connections.open"] == 1
    events = read_record(tmp_path / "run.run.jsonl").events
    (error,) = [it for it in events if it.name == "script_error"]
    assert expected in error.detail["traceback"]
    # But for the line of the file that the traceback quotes.
    assert "hunter2" not in error.detail["traceback"].replace(body, "")
    (failure,) = [it for it in events if it.name == "first_failure"]
    assert "hunter2" not in failure.detail["cause"]


async def test_a_setup_that_fails_is_named(run: Run, write: Write) -> None:
    file = write("async def setup():\n    raise LookupError('no server')\n")
    with launch("tests.servers.plain_websockets", "0") as server:
        summary = await run(server.url("/echo"), setup=file)
    assert not summary.valid
    assert any("LookupError: no server" in reason for reason in summary.reasons)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("x = 1", "has neither setup nor handshake"),
        ("def setup():\n    pass\n", "has neither setup nor handshake as an async def"),
        ("import nothing_of_the_kind", "ModuleNotFoundError"),
    ],
)
async def test_a_file_that_is_no_setup_is_refused(
    run: Run, write: Write, text: str, complaint: str
) -> None:
    options: dict[str, Any] = {"setup": write(text)}
    with pytest.raises(UsageError, match=complaint):
        await run("ws://127.0.0.1:9/", **options)
