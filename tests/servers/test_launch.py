"""Servers are started, watched and ended, and those that are not ours do what is theirs to do."""

import asyncio
import shutil
import signal
import sys
from pathlib import Path

import psutil
import pytest
from websockets.asyncio.client import connect

from tests.servers.launch import START_SECONDS, launch

NODE_FOLDER = Path(__file__).parent / "node_ws"
MODULES = {
    "known": ("benchmarks.calibration.known_server", "0"),
    "websockets": ("tests.servers.plain_websockets", "0", "--compression"),
    "websockets without compression": ("tests.servers.plain_websockets", "0", "--no-compression"),
    "picows": ("benchmarks.cost.picows_echo", "0"),
    "send loop": ("benchmarks.cost.send_loop", "0"),
    "bare ASGI": ("uvicorn", "benchmarks.cost.bare_asgi:app", "--lifespan", "off", "--port", "0"),
    "target_app": ("target_app", "--port", "0"),
}

# Says more than a pipe holds before it listens, and again before it ends.
CHATTY = """
for stream in (sys.stdout, sys.stderr):
    print("x\\n" * 200_000, file=stream)
print("listening on ws://127.0.0.1:4711", file=sys.stderr, flush=True)
signal.sigwait([signal.SIGTERM])
for stream in (sys.stdout, sys.stderr):
    print("y\\n" * 200_000, file=stream)
"""
LAST_WORDS = """
print("listening on ws://127.0.0.1:4711", file=sys.stderr, flush=True)
signal.sigwait([signal.SIGTERM])
print("some words", '{"lost": 3}', sep="\\n")
"""
# Does not end when asked to, and has a child that outlives it.
STUBBORN = """
child = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(1000)"])
print(child.pid, "listening on ws://127.0.0.1:4711", file=sys.stderr, flush=True)
child.wait()
"""


def python(code: str) -> list[str]:
    """Return the command of a server of a few lines, for which SIGTERM waits until it asks."""
    opening = "import signal, subprocess, sys\n"
    opening += "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])\n"
    return [sys.executable, "-c", opening + code]


def command(name: str) -> list[str]:
    if name != "node":
        return [sys.executable, "-m", *MODULES[name]]
    node = shutil.which("node")
    if node is None or not (NODE_FOLDER / "node_modules" / "ws").exists():
        pytest.skip("Node's ws is not installed: npm ci --prefix tests/servers/node_ws")
    return [node, str(NODE_FOLDER / "server.mjs"), "0"]


@pytest.mark.parametrize("name", [*MODULES, "node"])
async def test_a_server_echoes_and_ends_when_asked_to(name: str) -> None:
    with launch(command(name)) as server:
        async with asyncio.timeout(START_SECONDS):
            async with connect(server.url("/echo"), proxy=None) as connection:
                for message in ("text", b"binary"):
                    await connection.send(message)
                    assert await connection.recv() == message
        server.stop()
        # Those that are there for benchmarks alone leave the signal to the system.
        left = name in ("picows", "send loop", "bare ASGI")
        assert server.process.returncode == (-signal.SIGTERM if left else 0)


@pytest.mark.parametrize(
    "name", ["known", "websockets", "websockets without compression", "send loop", "node"]
)
async def test_a_server_broadcasts_to_those_of_the_path_alone(name: str) -> None:
    with launch(command(name)) as server:
        async with (
            asyncio.timeout(START_SECONDS),
            connect(server.url("/ws"), proxy=None) as one,
            connect(server.url("/ws"), proxy=None) as other,
            connect(server.url("/echo"), proxy=None) as elsewhere,
        ):
            await one.send("hello")
            assert await one.recv() == await other.recv() == "hello"
            await elsewhere.send("mine")
            assert await elsewhere.recv() == "mine"


@pytest.mark.parametrize(
    ("name", "compressed"),
    [("websockets", True), ("websockets without compression", False), ("node", False)],
)
async def test_compression_is_agreed_on_only_where_it_is_meant(name: str, compressed: bool) -> None:
    with launch(command(name)) as server:
        async with (
            asyncio.timeout(START_SECONDS),
            connect(server.url("/echo"), proxy=None) as connection,
        ):
            assert connection.response is not None
            agreed = connection.response.headers.get("Sec-WebSocket-Extensions", "")
            assert ("permessage-deflate" in agreed) is compressed


def test_a_server_that_says_more_than_a_pipe_holds_is_not_stopped_by_it() -> None:
    with launch(python(CHATTY)) as server:
        assert server.port == 4711
        assert server.stop() is None
        assert server.process.returncode == 0
        assert "y\n" in server.lines


def test_its_last_object_is_given_as_often_as_it_is_stopped() -> None:
    with launch(python(LAST_WORDS)) as server:
        assert server.stop() == {"lost": 3}
        assert server.stop() == {"lost": 3}


def test_a_server_that_does_not_start_is_reported_with_its_words() -> None:
    with (
        pytest.raises(AssertionError, match="did not start: no such port"),
        launch(python("sys.exit('no such port')")),
    ):
        pass


def test_a_server_that_does_not_stop_is_reported_and_ended_with_its_children(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with launch(python(STUBBORN)) as server:
        child = psutil.Process(int(server.lines[0].split()[0]))
        monkeypatch.setattr("tests.servers.launch.STOP_SECONDS", 0.1)
        with pytest.raises(AssertionError, match="did not stop"):
            server.stop()
        monkeypatch.undo()
    _, alive = psutil.wait_procs([child], timeout=START_SECONDS)
    assert not alive
