"""A target is started on a port that is its own."""

import sys
from pathlib import Path

import pytest

from loadtests import target
from loadtests.errors import TargetError
from tests.servers.launch import launch

ECHO = (sys.executable, "-m", "benchmarks.picows_echo", "{port}")


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
