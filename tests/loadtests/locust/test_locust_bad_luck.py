"""What goes wrong in a Locust run is reported, and nothing that was recorded is lost."""

import html
import os
import signal
from pathlib import Path

import psutil
import pytest

from reports.record import Record
from reports.summary import summarise
from tests.loadtests.locust.driver import (
    DEADLINE_SECONDS,
    HASTY,
    LOCUSTFILE,
    headless,
    headless_until,
    locust,
    lone_master,
    records,
    swarms,
)
from tests.servers.launch import known
from tests.servers.ports import nobody_listens

THINK = ("--swarm-flags", "--think 'exp 100ms'")


@pytest.mark.parametrize(
    ("host", "options", "complaint"),
    [
        (None, (), "no target: give --host, such as ws://127.0.0.1:8000"),
        ("http://127.0.0.1:1", (), "'http://127.0.0.1:1' is not a WebSocket address"),
        (
            "ws://127.0.0.1:1",
            ("--swarm-flags", "--payload 3x"),
            "--swarm-flags: --payload: '3x' is not a size",
        ),
        ("ws://127.0.0.1:1", ("--swarm-flags", "--param nosuch=1"), "has no parameter 'nosuch'"),
        (
            "ws://127.0.0.1:1",
            ("--swarm-flags", "--threshold p99"),
            "--swarm-flags: --threshold: 'p99' is not a",
        ),
        (
            "ws://127.0.0.1:1",
            ("--swarm-flags", "--rate fast"),
            "--swarm-flags: --rate: 'fast' is not a rate",
        ),
        ("ws://127.0.0.1:1", ("--swarm-flags=--nope",), "--swarm-flags: No such option: --nope"),
        ("ws://127.0.0.1:1", ("--swarm-flags", "--steps 4"), "--steps cannot be used here; use a"),
        ("ws://127.0.0.1:1", ("--swarm-flags", "--ramp 0s"), "--ramp cannot be used here; use Loc"),
        ("ws://127.0.0.1:1", ("--swarm-flags=-s hold",), "--scenario is for classes without"),
        ("ws://127.0.0.1:1", ("--swarm-flags", "--pid 4194304"), "--pid 4194304: there is no such"),
        (
            "ws://127.0.0.1:1",
            ("--swarm-flags", "ws://h/"),
            "'ws://h/' is not a flag; give the addr",
        ),
        ("ws://127.0.0.1:1", ("--swarm-flags", "'open"), "No closing quotation"),
        (
            "ws://127.0.0.1:1",
            ("--swarm-flags", "--threshold 'latency.p98_seconds<=1s'"),
            "no figure is called 'latency.p98_seconds'; did you mean latency.p99_seconds",
        ),
    ],
)
def test_bad_input_is_one_line_and_status_2(
    tmp_path: Path, host: str | None, options: tuple[str, ...], complaint: str
) -> None:
    done = headless(tmp_path, host, "-u", "1", "-t", "5s", "EchoSwarm", *options)
    assert done.status == 2
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("swarmgate: ")]
    assert complaint in line
    assert "Traceback" not in done.stderr
    assert done.records == []


def test_a_target_that_refuses_has_failed_with_its_cause(tmp_path: Path) -> None:
    with nobody_listens() as port:
        host = f"ws://127.0.0.1:{port}/"
        done = headless_until(
            lambda found: any(summary.errors.get("connect:refused") == 10 for summary in found),
            *(tmp_path, host, "-u", "10", "-r", "50", "EchoSwarm", *THINK),
        )
    assert done.status == 1
    assert done.summary.errors == {"connect:refused": 10}
    assert done.summary.reasons == ()
    assert "no connection to" in done.summary.failures[0]
    assert "EchoSwarm connect: connect:refused" in done.stdout + done.stderr


def test_a_stop_in_the_middle_of_a_spawn_leaves_a_whole_record(tmp_path: Path) -> None:
    with known() as server:
        options = ("--headless", "--host", server.url("/echo"), "-u", "1000", "-r", "20")
        with locust(tmp_path, *options, *THINK, "EchoSwarm", web=False) as running:
            running.wait(lambda: _opened(tmp_path) >= 20, "20 connections are open")
            status = running.end(signal.SIGINT)
        injected = server.stop()
    (record,) = records(tmp_path)
    summary = summarise(record)
    assert status == 130
    assert record.footer is not None
    assert summary.interrupted
    assert injected is not None
    # One may have been in the middle of its handshake.
    assert 0 <= injected["handshakes"] - summary.figures["connections.opened"] <= 3
    assert 20 <= summary.figures["connections.opened"] < 1000
    assert summary.figures["messages.sent"] == injected["messages"]
    assert set(summary.close_codes) == {1000}


def test_two_tests_after_each_other_have_statistics_and_records_of_their_own(
    tmp_path: Path,
) -> None:
    # With time for users to stop, Locust forgets its workers between the tests.
    options = ("--processes", "2", "--stop-timeout", "4")
    with known() as server, locust(tmp_path, *options) as running:
        for users in (30, 12):
            running.wait(lambda: running.stats()["worker_count"] == 2, "two workers")
            running.start(
                server.url("/echo"), users, 100, "EchoSwarm", swarm_flags="--think 'exp 100ms'"
            )
            running.wait(
                lambda users=users: _connected(running) == f"{users}, of {users} requested", "all"
            )
            running.wait(lambda: _requests(running, "EchoSwarm round trip") > 0, "messages")
            running.wait(lambda users=users: _requests(running, "EchoSwarm connect") == users)
            running.stop()
            running.wait(lambda: running.users() == 0, "nobody is left")
        first, second = (summarise(record) for record in records(tmp_path))
    opened = [it.figures["connections.opened"] for it in (first, second)]
    assert opened == [30, 12]
    assert first.valid, first.reasons
    assert second.valid, second.reasons


def test_users_follow_the_web_ui_and_leave_without_a_loss(tmp_path: Path) -> None:
    with known() as server, locust(tmp_path) as running:
        host = server.url("/echo")
        for users in (20, 60, 10):
            running.start(host, users, 1000, "EchoSwarm", swarm_flags="--think 'exp 50ms'")
            running.wait(lambda users=users: _open(running) == str(users), f"{users} are open")
            running.wait(lambda users=users: running.users() == users, f"{users} are counted")
        running.stop()
        running.wait(lambda: running.users() == 0, "nobody is left")
        (record,) = records(tmp_path)
    summary = summarise(record)
    assert summary.valid, summary.reasons
    assert summary.figures["connections.opened"] == 60
    assert summary.figures["connections.requested"] == 60
    assert summary.figures["integrity.lost"] == summary.figures["errors"] == 0


def test_a_killed_swarm_is_reported_and_its_users_are_gone(tmp_path: Path) -> None:
    with known() as server, locust(tmp_path, "--processes", "2") as running:
        running.wait(lambda: running.stats()["worker_count"] == 2, "two workers")
        running.start(server.url("/echo"), 20, 100, "EchoSwarm", swarm_flags="--think 'exp 100ms'")
        running.wait(lambda: running.users() == 20, "all are counted")
        running.wait(lambda: _open(running) == "20", "all are open")
        os.kill(swarms(running.process.pid)[0], signal.SIGKILL)
        running.wait(lambda: running.users() == 10, "half of them are gone")
        running.wait(lambda: "swarm process" in running.rows()["Verdict"], "the tab shows it")
        assert "Invalid" in running.rows()["Verdict"]
        assert any("lost" in running.rows()[worker] for worker in ("0", "1"))
        running.stop()
        running.wait(lambda: running.users() == 0, "nobody is left")
        (record,) = records(tmp_path)
        log = running.log()
    _assert_lost(record, "ended with status -9")
    assert "EchoSwarm: the swarm process ended with status -9" in log


def test_a_swarm_that_hangs_is_ended_and_reported(tmp_path: Path) -> None:
    script = tmp_path / "hang.py"
    script.write_text("import time\n\nasync def script(connection):\n    time.sleep(10_000)\n")
    with known() as server:
        done = headless(
            *(tmp_path, server.url("/echo"), "-u", "2", "-r", "10", "-t", "200s"),
            *("ScriptSwarm", "--swarm-flags", f"--scenario {script}"),
            locustfile=f"{LOCUSTFILE},{HASTY}",
        )
    assert done.status == 3
    assert "it reported nothing for 5 s and was ended" in done.summary.reasons[0]


def test_a_run_without_any_swarm_left_ends(tmp_path: Path) -> None:
    with known() as server:
        options = ("--headless", "--host", server.url("/echo"), "-u", "10", "-r", "50")
        with locust(tmp_path, *options, *THINK, "EchoSwarm", web=False) as running:
            running.wait(lambda: _opened(tmp_path) == 10, "all are open")
            os.kill(swarms(running.process.pid)[0], signal.SIGKILL)
            assert running.process.wait(DEADLINE_SECONDS) == 3
    (record,) = records(tmp_path)
    assert record.footer is not None
    assert "no swarm process is left" in record.footer.reasons


def test_a_worker_that_dies_marks_the_run_and_one_that_joins_gets_its_share(
    tmp_path: Path,
) -> None:
    with known() as server, lone_master(tmp_path) as (master, worker), worker("first"):
        master.wait(lambda: master.stats()["worker_count"] == 1, "a worker")
        master.start(server.url("/echo"), 20, 100, "EchoSwarm", swarm_flags="--think 'exp 100ms'")
        master.wait(lambda: _shares(master) == [20], "all on the first")
        with worker("second") as second:
            master.wait(lambda: _shares(master) == [10, 10], "half on the second")
            for name in ("0", "1"):
                master.wait(lambda name=name: ", 10, " in master.rows()[name], name)
            master.wait(lambda: _open(master) == "20", "all are open again")
            second.process.kill()
            master.wait(lambda: "is gone with its worker" in master.rows()["Verdict"], "it shows")
        master.wait(lambda: _open(master) == "10", "the first goes on")
        master.stop()
        master.wait(lambda: master.users() == 0, "nobody is left")
        (record,) = records(tmp_path)
    _assert_lost(record, "is gone with its worker")
    joined = [event.detail["process"] for event in record.events if event.name == "worker"]
    assert joined == [0, 1]


def test_a_worker_that_was_missed_at_the_start_gets_its_share(tmp_path: Path) -> None:
    """As on a busy machine: Locust hears nothing of it for three seconds, then it is back."""
    with (
        known() as server,
        lone_master(tmp_path) as (master, worker),
        worker("first"),
        worker("second") as second,
    ):
        master.wait(lambda: master.stats()["worker_count"] == 2, "two workers")
        second.process.send_signal(signal.SIGSTOP)
        master.wait(lambda: master.stats()["worker_count"] == 1, "one is missed")
        master.start(server.url("/echo"), 20, 100, "EchoSwarm", swarm_flags="--think 'exp 100ms'")
        second.process.send_signal(signal.SIGCONT)
        for name in ("0", "1"):
            master.wait(lambda name=name: ", 10, " in master.rows()[name], name)


def test_a_ctrl_c_that_reaches_every_process_ends_them_all_with_a_whole_record(
    tmp_path: Path,
) -> None:
    """As a terminal's does; workers may be gone before the master has heard the last of them."""
    with known() as server:
        options = ("--headless", "--processes", "2", "--host", server.url("/echo"), "-u", "20")
        with locust(
            tmp_path, *options, "-r", "50", *THINK, "EchoSwarm", web=False, enduring=False
        ) as running:
            running.wait(lambda: _opened(tmp_path) == 20, "all are open")
            os.killpg(running.process.pid, signal.SIGINT)
            assert running.process.wait(DEADLINE_SECONDS) == 130
    (record,) = records(tmp_path)
    assert record.footer is not None
    assert record.footer.interrupted


def test_a_worker_without_its_master_ends_its_load(tmp_path: Path) -> None:
    with known() as server, lone_master(tmp_path) as (master, start), start("worker") as worker:
        master.wait(lambda: master.stats()["worker_count"] == 1, "a worker")
        master.start(server.url("/echo"), 10, 100, "EchoSwarm", swarm_flags="--think 'exp 100ms'")
        master.wait(lambda: _open(master) == "10", "all are open")
        (swarm,) = swarms(worker.process.pid)
        master.process.kill()
        master.process.wait()
        worker.wait(lambda: not psutil.pid_exists(swarm), "the load has ended")
        assert "no heartbeat from the master" in worker.log()
    (record,) = records(tmp_path)
    # It was cut off, and reads back up to its last second.
    assert record.footer is None
    assert summarise(record).figures["connections.opened"] == 10


def _opened(folder: Path) -> float:
    found = records(folder)
    return summarise(found[0]).figures["connections.opened"] if found else 0


def _requests(running: object, name: str) -> int:
    rows = running.stats()["stats"]  # type: ignore[attr-defined]
    return next((row["num_requests"] for row in rows if row["name"] == name), 0)


def _connected(running: object) -> str:
    connected: str = running.rows()["Open now"]  # type: ignore[attr-defined]
    return connected


def _open(running: object) -> str:
    return running.rows()["Open now"].split(",")[0]  # type: ignore[attr-defined,no-any-return]


def _shares(master: object) -> list[int]:
    workers = master.stats()["workers"]  # type: ignore[attr-defined]
    return [worker["user_count"] for worker in workers if worker["state"] != "missing"]


def _assert_lost(record: Record, how: str) -> None:
    assert record.footer is not None
    assert not record.footer.valid
    (reason,) = record.footer.reasons
    assert how in reason
    assert "its 10 connections are lost by the generator" in reason
    assert summarise(record).figures["connections.lost_by_generator"] == 10


def test_a_wrong_parameter_in_the_web_ui_is_shown_and_the_next_start_goes_well(
    tmp_path: Path,
) -> None:
    with known() as server, locust(tmp_path) as running:
        running.start(server.url("/echo"), 5, 50, "EchoSwarm", swarm_flags="--param nosuch=1")
        running.wait(lambda: running.stats()["state"] == "stopped", "it has stopped")
        (problem,) = running.ask("/exceptions")["exceptions"]
        assert "has no parameter 'nosuch'" in problem["msg"]
        assert records(tmp_path) == []
        running.start(server.url("/echo"), 5, 50, "EchoSwarm", swarm_flags="--param active=3")
        running.wait(lambda: _open(running) == "5", "all are open")
        running.stop()
        running.wait(lambda: running.users() == 0, "nobody is left")
    (record,) = records(tmp_path)
    assert record.header.parameters == {"active": "3"}


DRAINING = """
from loadtests.locust.users import SwarmUser

class EchoSwarm(SwarmUser):
    scenario = "drain"
"""


def test_a_scenario_that_stops_the_server_is_not_for_locust(tmp_path: Path) -> None:
    locustfile = tmp_path / "draining.py"
    locustfile.write_text(DRAINING)
    done = headless(tmp_path, "ws://127.0.0.1:1", "EchoSwarm", locustfile=str(locustfile))
    assert done.status == 2
    assert "use swarmgate run for it" in done.stderr


TALKING = """
from locust import constant, task

from loadtests.locust.users import WebSocketUser

class Talker(WebSocketUser):
    wait_time = constant(0.2)

    def on_start(self):
        self.connect()

    @task
    def talk(self):
        self.ask("x", name="echo")
        {more}
"""


@pytest.mark.parametrize(
    ("more", "host", "thresholds", "status"),
    [
        ("pass", "", "echo.p99_seconds<=30s", 0),
        ("pass", "", "echo.p50_seconds<=1ns", 1),
        ("raise LookupError", "", "", 1),
        ("pass", "http://127.0.0.1:1", "", 2),
    ],
)
def test_users_with_tasks_have_our_exit_status_too(
    tmp_path: Path, more: str, host: str, thresholds: str, status: int
) -> None:
    locustfile = tmp_path / "talking.py"
    locustfile.write_text(TALKING.format(more=more))
    with known() as server:
        done = headless(
            *(tmp_path, host or server.url("/echo"), "-u", "2", "-r", "10", "-t", "20s"),
            *("--swarm-flags", thresholds and f"--threshold '{thresholds}'"),
            locustfile=str(locustfile),
        )
    assert done.status == status, done.stdout + done.stderr


FULL = """
import resource

# What the kernel says of a full disk, it says of a file that has become too large.
resource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))
"""


def test_a_record_that_cannot_be_written_any_more_ends_the_test_in_one_line(tmp_path: Path) -> None:
    full = tmp_path / "full.py"
    full.write_text(FULL.format(size=20_000))
    with known() as server:
        done = headless(
            *(tmp_path, server.url("/echo"), "-u", "5", "-r", "50", "-t", "200s", "EchoSwarm"),
            *THINK,
            locustfile=f"{LOCUSTFILE},{full}",
        )
        injected = server.stop()
    assert done.status == 3, done.stdout + done.stderr
    (record,) = done.records
    problem = f"cannot write {record.path}: File too large; the record is complete up to there"
    (line,) = [it for it in done.stderr.splitlines() if problem in it]
    assert "ERROR" in line
    # And it is why nothing may be judged.
    assert [it for it in done.stdout.splitlines() if problem in it][:1] == [f"  - {problem}"]
    assert done.stdout.splitlines()[-1].startswith(f"INVALID: {problem}")
    assert "Traceback" not in done.stdout + done.stderr
    assert record.path.stat().st_size == 20_000
    assert record.footer is None
    assert injected is not None
    # The swarm has ended too, with closing handshakes.
    assert injected["handshakes"] == 5


def test_a_disk_that_is_full_from_the_start_is_reported_in_one_line_and_leaves_nothing(
    tmp_path: Path,
) -> None:
    full = tmp_path / "full.py"
    full.write_text(FULL.format(size=0))
    done = headless(
        *(tmp_path, "ws://127.0.0.1:1", "-u", "5", "-t", "200s", "EchoSwarm"),
        locustfile=f"{LOCUSTFILE},{full}",
    )
    assert done.status == 3, done.stdout + done.stderr
    (line,) = [it for it in done.stderr.splitlines() if "ERROR" in it]
    assert f"cannot write {tmp_path / 'records'}" in line
    assert "Traceback" not in done.stdout + done.stderr
    assert done.records == []


@pytest.mark.parametrize("kind", ["EchoSwarm", "Talker"])
def test_a_bad_threshold_in_the_web_ui_is_shown_by_its_name(tmp_path: Path, kind: str) -> None:
    talking = tmp_path / "talking.py"
    talking.write_text(TALKING.format(more="pass"))
    with known() as server, locust(tmp_path, more=(talking,)) as running:
        flags = "--threshold 'errors is 0'"
        running.start(server.url("/echo"), 2, 50, kind, swarm_flags=flags)
        running.wait(lambda: running.stats()["state"] == "stopped", "it has stopped")
        (problem,) = running.ask("/exceptions")["exceptions"]
        assert "--threshold: 'errors is 0' is not a threshold" in problem["msg"]
        page = html.unescape(running.page())
        assert f'<h1>Not started</h1>\n<p class="lead">{problem["msg"]}</p>' in page
        assert "No swarm users" not in page
        assert "Traceback" not in running.log()
    assert records(tmp_path) == []


MISTAKEN = """
from locust import task

from loadtests.locust.users import SwarmUser

class EchoSwarm(SwarmUser):
    scenario = "echo"

    {more}
"""


@pytest.mark.parametrize(
    ("more", "named"),
    [
        ("@task\n    def talk(self): pass", "talk"),
        ("tasks = [print]", "print"),
        ("def on_start(self): pass", "on_start"),
    ],
)
def test_what_a_swarm_user_never_does_is_refused_with_what_to_take_instead(
    tmp_path: Path, more: str, named: str
) -> None:
    locustfile = tmp_path / "mistaken.py"
    locustfile.write_text(MISTAKEN.format(more=more))
    done = headless(
        *(tmp_path, "ws://127.0.0.1:1", "EchoSwarm", "-t", "5s"),
        locustfile=str(locustfile),
    )
    assert done.status == 2, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("swarmgate: ")]
    assert f"EchoSwarm is a SwarmUser, which runs a scenario, and never {named}" in line
    assert "WebSocketUser" in line
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("flags", "complaint"),
    [
        ("--threshold 'errors<=0'", "--threshold cannot be used here; it applies to the whole"),
        ("--seed 5", "--seed cannot be used here; it applies to the whole test: use --swarm"),
        ("-s hold", "--scenario cannot be used here; it is an attribute of the class"),
        ("--nope", "No such option: --nope"),
    ],
)
def test_a_flag_that_a_class_cannot_set_is_refused_with_its_place(
    tmp_path: Path, flags: str, complaint: str
) -> None:
    locustfile = tmp_path / "saying.py"
    locustfile.write_text(
        "from swarmgate.locust import SwarmUser\n"
        f"class Saying(SwarmUser):\n    scenario = 'echo'\n    flags = {flags!r}\n"
    )
    done = headless(
        *(tmp_path, "ws://127.0.0.1:1", "Saying", "-t", "5s"), locustfile=str(locustfile)
    )
    assert done.status == 2, done.stdout + done.stderr
    (line,) = [line for line in done.stderr.splitlines() if line.startswith("swarmgate: ")]
    assert line.startswith("swarmgate: Saying.flags: ")
    assert complaint in line
