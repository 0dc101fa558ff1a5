"""A target asked to stop: what is right is reported as right, and what is wrong by its name."""

import sys
from pathlib import Path

import pytest
from websockets.asyncio.server import serve

from loadtests.errors import UsageError
from loadtests.plan.target_source import TargetSource
from reports.record import read_record
from reports.summary import Summary, summarise
from reports.terminal import summary_text
from tests.loadtests.conftest import Run

URL = "ws://127.0.0.1:{port}/ws"
CONNECTIONS = 40


def reference(*flags: str) -> TargetSource:
    command = (sys.executable, "-m", "target_app", "--port", "{port}", *flags)
    return TargetSource((*command, "--drain-announce-seconds", "1000"))


def script(text: str) -> TargetSource:
    """A server of the library's own, with ``text`` run before it serves."""
    lines = f"""
import asyncio, os, signal, subprocess, sys
from websockets.asyncio.server import serve

async def main():
    async def hold(connection):
        await connection.wait_closed()
    async with serve(hold, "127.0.0.1", int(sys.argv[1])):
        {text}
        await asyncio.Event().wait()

asyncio.run(main())
"""
    return TargetSource((sys.executable, "-c", lines, "{port}"))


async def drain(run: Run, source: TargetSource, url: str = URL, **parameters: object) -> Summary:
    return await run(
        url,
        "drain",
        source=source,
        connections=CONNECTIONS,
        duration_seconds=0.2,
        parameters={"leave_within": 0.1} | parameters,
    )


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_server_that_drains_is_seen_to_do_everything_right(run: Run, workers: str) -> None:
    # There is still somebody when a handshake is tried, which is not at once that it stops.
    summary = await drain(run, reference("--workers", workers), leave_within=1.0)
    figures = summary.figures
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    assert figures["drain.told"] == figures["drain.connected"] == CONNECTIONS
    assert 0 < figures["drain.told_first_seconds"] <= figures["drain.told_last_seconds"]
    assert summary.close_codes == {1000: CONNECTIONS}
    assert (figures["drain.exit_status"], figures["drain.left_processes"]) == (0, 0)
    assert figures["drain.refused_status"] == 503
    assert figures["drain.exit_seconds"] > figures["drain.told_last_seconds"]


async def test_the_record_alone_has_the_figures_of_the_run(run: Run, tmp_path: Path) -> None:
    summary = await drain(run, reference())
    read = summarise(read_record(tmp_path / "run.run.jsonl"))
    for name in ("told", "told_last_seconds", "exit_status", "exit_seconds", "closed_1000"):
        assert read.figures[f"drain.{name}"] == summary.figures[f"drain.{name}"]
    text = summary_text(read)
    assert f"Notified:      {CONNECTIONS} of {CONNECTIONS}; after the signal: first" in text
    assert f"Closed:        1000 × {CONNECTIONS}" in text
    assert "0 of its 1 processes left behind" in text


async def test_those_who_stay_are_closed_by_the_server_and_that_is_no_error(run: Run) -> None:
    summary = await drain(run, reference("--drain-timeout-seconds", "0.5"), leave=0)
    assert summary.errors == {}
    assert summary.close_codes == {1001: CONNECTIONS}


async def test_a_share_may_leave_and_the_rest_stay(run: Run) -> None:
    summary = await drain(run, reference("--drain-timeout-seconds", "5"), leave=0.5)
    assert summary.errors == {}
    assert set(summary.close_codes) == {1000, 1001}
    assert sum(summary.close_codes.values()) == CONNECTIONS


@pytest.mark.parametrize("path", ["/ws/{n}", "/ws/py_client", "/ws/s-{n}"])
async def test_every_endpoint_notifies_its_clients_in_its_own_words(run: Run, path: str) -> None:
    url = URL.replace("/ws", path)
    summary = await drain(run, reference(), url)
    assert summary.errors == {}
    assert summary.figures["drain.told"] == CONNECTIONS


async def test_a_server_that_just_dies_notified_nobody_and_closed_nobody(run: Run) -> None:
    summary = await drain(run, script("pass"))
    assert summary.valid, "that it died is the result, not the end of the measurement"
    assert summary.errors == {
        "drain:not told": CONNECTIONS,
        "drain:no close frame": CONNECTIONS,
        "drain:exit status -15": 1,
    }
    assert summary.close_codes == {1006: CONNECTIONS}
    assert "drain.told_first_seconds" not in summary.figures


async def test_a_server_that_does_not_stop_is_not_waited_for_for_ever(run: Run) -> None:
    # The second one ends it, so that the test need not wait for it to be killed.
    source = script(
        "signal.signal(signal.SIGTERM, lambda *_: signal.signal(signal.SIGTERM, signal.SIG_DFL))"
    )
    summary = await drain(run, source, within=3.0)
    assert summary.errors == {
        "drain:not told": CONNECTIONS,
        "drain:still connected": CONNECTIONS,
        "drain:target did not exit": 1,
    }
    assert summary.figures["drain.accepted"] >= 1
    assert "Target:        did not exit" in summary_text(summary)


async def test_a_process_left_behind_is_found(run: Run) -> None:
    source = script("subprocess.Popen(['sleep', '1000'])")
    left = await drain(run, source, exit_status=-15)
    assert left.errors["drain:process left behind"] == 1
    assert left.figures["drain.left_processes"] == 1
    assert "drain:exit status -15" not in left.errors


async def test_a_process_that_ends_with_its_parent_is_not_left_behind(run: Run) -> None:
    source = script("subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)")
    clean = await drain(run, source, exit_status=-15)
    assert "drain:process left behind" not in clean.errors


async def test_another_signal_and_another_notice_may_be_asked_for(run: Run) -> None:
    source = script(
        "loop = asyncio.get_running_loop(); "
        "loop.add_signal_handler(signal.SIGINT, lambda: print('ignored'))"
    )
    summary = await drain(run, source, signal="INT", notice="goodbye", within=0.3)
    assert summary.errors["drain:target did not exit"] == 1


async def test_without_a_process_to_signal_nothing_is_begun(run: Run) -> None:
    async with serve(lambda connection: connection.wait_closed(), "127.0.0.1", 0) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        with pytest.raises(UsageError, match="needs the one process to signal"):
            await drain(run, TargetSource(), f"ws://127.0.0.1:{port}/")


@pytest.mark.parametrize(
    ("parameters", "complaint"),
    [({"signal": "KILL"}, "'KILL'"), ({"leave": 1.5}, "leave"), ({"within": 0}, "within")],
)
async def test_parameters_that_make_no_sense_are_refused(
    run: Run, parameters: dict[str, object], complaint: str
) -> None:
    with pytest.raises(UsageError, match=complaint):
        await drain(run, reference(), **parameters)


async def test_nothing_sent_before_the_signal_is_lost_and_all_come_back_after_a_restart(
    run: Run, tmp_path: Path
) -> None:
    summary = await run(
        URL,
        "drain",
        source=reference("--heartbeat-seconds", "0"),
        connections=CONNECTIONS,
        processes=2,
        rate=40.0,
        duration_seconds=0.5,
        parameters={"leave_within": 0.3, "restart": True, "first": "20ms", "longest": "200ms"},
    )
    figures = summary.figures
    assert summary.valid, summary.reasons
    assert summary.errors == {}
    assert figures["messages.sent"] > 20, "it went on publishing after the signal"
    assert figures["integrity.lost"] == figures["integrity.duplicated"] == 0
    assert figures["integrity.expected"] >= 20 * CONNECTIONS
    assert figures["back.count"] == CONNECTIONS
    assert figures["drain.failed_attempts"] > 0, "some tried while it was away"
    names = [event.name for event in read_record(tmp_path / "run.run.jsonl").events]
    assert names.index("signal") < names.index("departed") < names.index("restarted")


async def test_a_target_that_the_run_did_not_start_cannot_be_restarted(run: Run) -> None:
    with pytest.raises(UsageError, match="only restart a target that it started"):
        await run(
            "ws://127.0.0.1:9/",
            "drain",
            source=TargetSource(pids=(1,)),
            parameters={"restart": True},
        )
