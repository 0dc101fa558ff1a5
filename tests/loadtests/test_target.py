"""A target is started on a port that is its own, as it is to be started, and waited for."""

import asyncio
import socket
import sys
from pathlib import Path

import pytest

from loadtests.errors import TargetError
from loadtests.plan.target_source import TargetSource
from loadtests.run import target
from tests.servers.launch import launch

ECHO = TargetSource((sys.executable, "-m", "benchmarks.cost.picows_echo", "{port}"))


async def test_another_server_on_its_port_is_not_taken_for_the_target(tmp_path: Path) -> None:
    with launch("tests.servers.plain_websockets", "0") as other:
        with pytest.raises(TargetError, match=rf"another server \(process {other.pid}\) listens"):
            async with target.running(ECHO, tmp_path / "log", other.port):
                pass
        assert other.process.poll() is None


async def test_a_port_that_somebody_was_quicker_to_take_is_given_up_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    free = target.free_port
    with launch("tests.servers.plain_websockets", "0") as other:
        ports = iter((other.port, other.port))
        monkeypatch.setattr(target, "free_port", lambda: next(ports, 0) or free())
        async with target.running(ECHO, tmp_path / "log") as started:
            assert started.port != other.port
            assert started.exit_status() is None
            assert str(started.port) in started.command


SLOW = """
import http.server, os, sys
asked = []

class Answers(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        asked.append(self.path)
        ready = self.path == "/healthz" and asked.count("/healthz") > 3
        print("asked", self.path, os.environ["GREETING"], os.getcwd(), flush=True)
        self.send_response(200 if ready else 503)
        self.end_headers()

    def log_message(self, *arguments):
        pass

http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Answers).serve_forever()
"""


async def test_a_target_has_its_environment_and_directory_and_is_waited_for(tmp_path: Path) -> None:
    source = TargetSource(
        (sys.executable, "-c", SLOW, "{port}"),
        environment={"GREETING": "good day"},
        directory=str(tmp_path),
        ready="/healthz",
    )
    async with target.running(source, tmp_path / "log") as started:
        asked = started.log.read_text().splitlines()
    assert asked == [f"asked /healthz good day {tmp_path}"] * 4


async def test_a_target_that_never_listens_is_given_up(tmp_path: Path) -> None:
    source = TargetSource(
        (sys.executable, "-c", "import time; time.sleep(1000)", "{port}"), start_seconds=0.5
    )
    with pytest.raises(TargetError, match=r"does not listen on port \d+ after 0.5 s"):
        async with target.running(source, tmp_path / "log"):
            pass


async def test_a_target_that_never_gets_ready_is_given_up(tmp_path: Path) -> None:
    complaint = "does not listen"
    # However slow the machine is, it listens within one of these times.
    for seconds in (0.5, 2.0, 8.0, 32.0):
        source = TargetSource(
            (sys.executable, "-c", SLOW, "{port}"),
            environment={"GREETING": ""},
            ready="/nothing",
            start_seconds=seconds,
        )
        with pytest.raises(TargetError) as raised:
            async with target.running(source, tmp_path / "log"):
                pass
        complaint = str(raised.value)
        if "does not listen" not in complaint:
            break
    assert "does not answer GET /nothing with a 2xx status on port" in complaint


async def test_the_last_words_of_a_target_are_its_error_not_what_stands_below(
    tmp_path: Path,
) -> None:
    """Node ends with its version, below the error and its stack."""
    printed = "Error [ERR_X]: Cannot find package ws\n    at f (y.js:1:2)\n\nNode.js v20.20.2"
    source = TargetSource((sys.executable, "-c", f"print({printed!r}); exit(1)", "{port}"))
    with pytest.raises(TargetError, match=r"last words: Error .ERR_X.: Cannot find package ws$"):
        async with target.running(source, tmp_path / "log"):
            pass


@pytest.mark.parametrize(
    ("ending", "how"),
    [
        ("raise SystemExit('out of disk')", "it ended with status 1; its last words: out of disk"),
        ("os.kill(os.getpid(), 9)", "it was killed by SIGKILL; its last words: (none)"),
        ("os.kill(os.getpid(), 40)", "it was killed by signal 40; its last words: (none)"),
    ],
)
async def test_how_a_target_ended_is_known_afterwards(
    tmp_path: Path, ending: str, how: str
) -> None:
    text = f"""
import os, socket, sys
listening = socket.create_server(("127.0.0.1", int(sys.argv[1])))
while listening.accept()[0].recv(1) != b"!":
    pass
{ending}
"""
    source = TargetSource((sys.executable, "-c", text, "{port}"))
    async with target.running(source, tmp_path / "log") as started:
        assert started.how_it_ended() == "its last words: (none)"
        with socket.create_connection(("127.0.0.1", started.port)) as client:
            client.send(b"!")
        async with asyncio.timeout(30):
            while started.exit_status() is None:  # noqa: ASYNC110 - another process's state
                await asyncio.sleep(0.01)
        assert started.how_it_ended() == how
