"""What goes wrong is reported by name, ends the run in time, and leaves a readable record."""

import asyncio
import os
import signal
import socket
import ssl
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import trustme
from websockets.asyncio.server import ServerConnection, serve

from loadtests.errors import LimitError, TargetError, UsageError
from loadtests.plan.connect_options import ConnectOptions
from loadtests.plan.target_source import TargetSource
from reports.outcome import ExitStatus
from reports.record import Event, Interval, Line, read_record
from reports.run_outcome import outcome_of
from tests.loadtests.conftest import Run
from tests.servers.launch import STOP_SECONDS, known
from tests.servers.ports import nobody_listens


@asynccontextmanager
async def plain_server(host: str, *, tls: bool = False) -> AsyncIterator[int]:
    """Echo in this process; gives the port."""

    async def echo(connection: ServerConnection) -> None:
        async for message in connection:
            await connection.send(message)

    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH) if tls else None
    if context is not None:
        trustme.CA().issue_cert(host).configure_cert(context)
    async with serve(echo, host, 0, ssl=context) as server:
        yield next(iter(server.sockets)).getsockname()[1]


def is_empty(folder: Path) -> bool:
    return not list(folder.iterdir())


INSECURE = ConnectOptions(insecure=True)


async def test_a_port_where_nothing_listens_is_refused_at_once(run: Run) -> None:
    with nobody_listens() as port:
        summary = await run(f"ws://127.0.0.1:{port}/", connections=500, concurrent=20)
    assert summary.valid, "it is not the generator's doing"
    # It gives up when as many failed as may be under way at once, and does not try all 500.
    assert set(summary.errors) == {"connect:refused"}
    assert 20 <= summary.errors["connect:refused"] < 40
    assert "no connection" in summary.failures[0]


@pytest.mark.parametrize(
    ("handshake", "seconds", "error"),
    [
        ("mute", 0.5, "upgrade:timeout"),
        ("garbage", 60.0, "upgrade:not-http"),
        ("hang-up", 60.0, "upgrade:closed"),
    ],
)
async def test_a_handshake_that_fails_is_named_by_its_cause(
    run: Run, handshake: str, seconds: float, error: str
) -> None:
    with known("--handshake", handshake) as server:
        summary = await run(server.url(), concurrent=5, handshake_timeout_seconds=seconds)
    assert outcome_of(summary).status is ExitStatus.FAILED
    assert set(summary.errors) == {error}


async def test_a_handshake_that_timed_out_does_not_open_afterwards(run: Run) -> None:
    with known("--handshake", "late") as server:
        summary = await run(
            server.url(), "hold", concurrent=10, handshake_timeout_seconds=0.5, duration_seconds=2.0
        )
    assert summary.errors == {"upgrade:timeout": 10}
    assert summary.figures["connections.opened"] == 0


async def test_tls_to_a_plain_port_is_reported(run: Run) -> None:
    with known() as server:
        summary = await run(server.url().replace("ws:", "wss:"), handshake_timeout_seconds=2.0)
    assert outcome_of(summary).status is ExitStatus.FAILED
    # What a plain server makes of a TLS greeting is its own: nothing, an error, or the end; which
    # of its answer and its end is seen first may differ from one connection to the next.
    assert summary.errors
    assert set(summary.errors) <= {"tls:not-tls", "tls:closed", "tls:timeout", "tls:reset"}


async def test_a_certificate_of_an_unknown_authority_is_refused(run: Run) -> None:
    async with plain_server("127.0.0.1", tls=True) as port:
        summary = await run(f"wss://127.0.0.1:{port}/")
    assert set(summary.errors) == {"tls:bad-certificate"}


async def test_tls_works_when_the_certificate_is_not_asked_about(run: Run) -> None:
    async with plain_server("127.0.0.1", tls=True) as port:
        summary = await run(f"wss://127.0.0.1:{port}/", rate=50.0, options=INSECURE)
    assert summary.valid
    assert summary.figures["latency.count"] == 50


async def test_a_target_that_dies_ends_the_run_and_says_so(run: Run, tmp_path: Path) -> None:
    with known("--die-at-message", "50") as server:
        summary = await run(
            server.url("/echo"),
            rate=100.0,
            duration_seconds=60.0,
            source=TargetSource(pids=(server.pid,)),
        )
    assert summary.valid, summary.reasons
    assert not summary.interrupted
    assert len(summary.failures) == 1
    assert "the target" in summary.failures[0]
    assert summary.errors["closed:1006"] == 10
    # It answered those before the one at which it died.
    assert summary.figures["integrity.expected"] == summary.figures["messages.sent"] >= 50
    assert summary.figures["integrity.lost"] == summary.figures["messages.sent"] - 49
    assert read_record(tmp_path / "run.run.jsonl").footer is not None


async def test_the_rest_goes_on_without_a_swarm_process_that_is_killed(run: Run) -> None:
    def kill_first_child(line: Line) -> None:
        if isinstance(line, Event) and line.detail.get("phase") == "measure":
            victim = next(
                child
                for child in psutil.Process().children()
                if "loadtests.run.swarm" in child.cmdline()
            )
            os.kill(victim.pid, signal.SIGKILL)

    with known() as server:
        summary = await run(
            server.url("/echo"),
            rate=100.0,
            duration_seconds=2.0,
            processes=2,
            observe=kill_first_child,
        )
    assert not summary.valid
    assert "5 connections are lost by the generator, not" in " ".join(summary.reasons)
    assert summary.figures["connections.lost_by_generator"] == 5
    # The other one sent its half to the end, and the server is blamed for nothing.
    assert summary.figures["messages.sent"] >= 100
    assert summary.figures["integrity.lost"] == 0
    assert summary.errors == {}


async def test_ctrl_c_ends_the_run_with_its_record_complete(run: Run, tmp_path: Path) -> None:
    sent = []

    def interrupt(line: Line) -> None:
        # Once: the second one would end the test itself.
        if isinstance(line, Interval) and line.phase == "measure" and line.received and not sent:
            sent.append(line)
            os.kill(os.getpid(), signal.SIGINT)

    with known() as server:
        summary = await run(
            server.url("/echo"), rate=100.0, duration_seconds=60.0, observe=interrupt
        )
        injected = server.stop()
    assert summary.interrupted
    assert not summary.valid
    record = read_record(tmp_path / "run.run.jsonl")
    assert record.footer is not None
    assert record.footer.interrupted
    assert injected is not None
    assert sum(line.sent for line in record.intervals) == injected["messages"] > 0
    # Every connection was closed properly, not dropped; and what was sent is accounted for.
    assert summary.close_codes == {1000: 10}
    assert summary.figures["integrity.expected"] == injected["messages"]
    assert summary.figures["integrity.lost"] == 0


async def test_ctrl_c_does_not_end_swarm_processes_that_still_start(run: Run) -> None:
    """A terminal sends it to all processes; here those alone have it, as early as can be."""
    struck: set[int] = set()

    async def strike() -> None:
        while len(struck) < 2:
            for child in psutil.Process().children():
                with suppress(psutil.Error):
                    if child.pid not in struck and "loadtests.run.swarm" in child.cmdline():
                        child.send_signal(signal.SIGINT)
                        struck.add(child.pid)
            await asyncio.sleep(0)

    async with plain_server("127.0.0.1") as port:
        striking = asyncio.create_task(strike())
        try:
            summary = await run(f"ws://127.0.0.1:{port}/", processes=2)
        finally:
            striking.cancel()
    assert len(struck) == 2
    assert summary.valid, summary.reasons
    assert summary.figures["connections.opened"] == 10


async def test_the_swarm_does_not_outlive_a_killed_command(tmp_path: Path) -> None:
    with known() as server:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "benchmarks",
            "run",
            server.url("/echo"),
            "5",
            "-d",
            "60s",
            "-o",
            str(tmp_path / "a.run.jsonl"),
            stderr=asyncio.subprocess.PIPE,
        )
        assert process.stderr is not None
        while b"measure" not in (line := await process.stderr.readline()):
            assert line, "it ended before it measured"
        swarm = psutil.Process(process.pid).children()
        assert swarm
        process.kill()
        await process.wait()
        _, alive = psutil.wait_procs(swarm, timeout=STOP_SECONDS)
        assert not alive
    record = read_record(tmp_path / "a.run.jsonl")
    assert record.footer is None
    assert record.header.scenario == "hold"


async def test_a_load_that_no_process_could_carry_is_refused_before_it_starts(
    run: Run, tmp_path: Path
) -> None:
    with pytest.raises(LimitError, match="RLIMIT_NOFILE"):
        await run("ws://127.0.0.1:9/", connections=100_000_000)
    assert is_empty(tmp_path)


@pytest.mark.parametrize(
    ("scenario", "changes", "complaint"),
    [
        ("broadcast", {"payload_bytes": 51}, "51 bytes.* at least 52"),
        ("echo", {"payload_bytes": 19}, "19 bytes.* at least 20"),
        ("echo", {"parameters": {"active": "11"}}, "11, more than the 10"),
        ("echo", {"parameters": {"idle": "1"}}, "no parameter 'idle'"),
        ("tornado", {}, "no scenario is called 'tornado'"),
    ],
)
async def test_a_load_that_the_scenario_cannot_carry_is_refused_before_it_starts(
    run: Run, tmp_path: Path, scenario: str, changes: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        await run("ws://127.0.0.1:9/", scenario, **changes)
    assert is_empty(tmp_path)


async def test_a_target_command_that_ends_at_once_is_reported_with_its_last_words(run: Run) -> None:
    source = TargetSource(command=("sh", "-c", "echo no such module >&2; exit 7", "{port}"))
    with pytest.raises(TargetError, match=r"status 7.*no such module"):
        await run("ws://127.0.0.1:{port}/", source=source)


async def test_a_target_command_that_does_not_exist_is_named(run: Run) -> None:
    source = TargetSource(command=("no-such-program", "{port}"))
    with pytest.raises(TargetError, match=r"no-such-program.*No such file"):
        await run("ws://127.0.0.1:{port}/", source=source)


async def test_a_host_without_an_address_is_named(run: Run) -> None:
    with pytest.raises(TargetError, match=r"'host\.invalid' has no address"):
        await run("ws://host.invalid/")


async def test_localhost_finds_the_address_that_listens(run: Run) -> None:
    with known() as server:
        summary = await run(server.url("/echo").replace("127.0.0.1", "localhost"), rate=20.0)
    assert summary.valid
    assert summary.header.target.address == f"127.0.0.1:{server.port}"


async def test_ipv6_works_as_ipv4_does(run: Run) -> None:
    if not _has_ipv6():
        pytest.skip("this machine has no ::1")
    async with plain_server("::1") as port:
        summary = await run(f"ws://[::1]:{port}/", rate=20.0)
    assert summary.valid


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
