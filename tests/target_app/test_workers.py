"""Workers that start and stop together, told of each other by files; with real processes."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from target_app.lifecycle import workers
from target_app.lifecycle.workers import Worker, WorkerCoordinator, run_dir
from tests.target_app.conftest import DEADLINE_SECONDS, until


@pytest.fixture
def process():
    """Start processes that only wait; end them."""
    with contextlib.ExitStack() as stack:

        def start():
            child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
            stack.callback(child.stdin.close)
            stack.callback(child.wait)
            stack.callback(child.kill)
            return child

        yield start


class Ended:
    """Notes which processes were told to end, instead of telling them."""

    def __init__(self):
        self.told = []

    def kill(self, pid, signum):
        self.told.append((pid, signum))


MASTER = Worker.of(os.getpid())


def coordinator(directory, process, master=MASTER):
    ended = Ended()
    made = WorkerCoordinator(
        directory, master=master, worker=Worker.of(process.pid), kill=ended.kill
    )
    made.ended = ended
    made.start()
    return made


def files(directory):
    return sorted(path.suffix for path in directory.iterdir())


def test_what_others_left_behind_is_removed_but_for_those_of_another_pid_namespace(
    tmp_path, process
):
    gone = process()
    gone.kill()
    gone.wait()
    namespace = Path("/proc/self/ns/pid").stat().st_ino
    ours, theirs, new = (
        tmp_path / f"swarmgate-{name}-00000000"
        for name in (f"{namespace:x}-{gone.pid}", f"{namespace + 1:x}-{gone.pid}", "new")
    )
    for directory in (ours, theirs):
        directory.mkdir()
        (directory / f"{gone.pid}-1.alive").touch()
    coordinator(new, process())
    assert not ours.exists()
    assert theirs.exists()


async def test_a_worker_says_that_it_is_alive_again_and_again(tmp_path, process, monkeypatch):
    monkeypatch.setattr(workers, "STAY_SECONDS", 0.01)
    worker = coordinator(tmp_path / "run", process())
    shutil.rmtree(worker.directory)
    staying = asyncio.create_task(worker.stay())

    async def marked():
        return worker.directory.exists() and files(worker.directory)

    try:
        assert await until(marked) == [".alive"]
    finally:
        staying.cancel()
        await asyncio.gather(staying, return_exceptions=True)


def test_a_worker_is_told_from_a_later_process_with_its_pid(process):
    child = process()
    worker = Worker.of(child.pid)
    assert worker.lives()
    assert not Worker(child.pid, worker.started - 1).lives()
    assert Worker.named(worker.name) == worker
    child.kill()
    child.wait()
    assert not worker.lives()
    with pytest.raises(OSError, match=str(child.pid)):
        Worker.of(child.pid)


def test_a_process_that_only_waits_to_be_reaped_does_not_live(process):
    child = process()
    worker = Worker.of(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert not worker.lives()


def test_the_command_of_a_process_may_look_like_anything(tmp_path):
    odd = tmp_path / "a) Z (b"
    odd.symlink_to(sys.executable)
    child = subprocess.Popen([odd, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        assert Worker.of(child.pid).lives()
    finally:
        child.kill()
        child.communicate()


def test_start_and_stop_leave_nothing_behind(tmp_path, process):
    directory = tmp_path / "run"
    one, two = (coordinator(directory, process()) for _ in range(2))
    assert directory.stat().st_mode & 0o777 == 0o700
    assert files(directory) == [".alive", ".alive"]
    assert one.others() == {two.worker: {"alive"}}
    one.mark_draining()
    one.mark_done()
    assert two.others() == {one.worker: {"alive", "draining", "done"}}
    one.stop()
    assert files(directory) == [".alive"]
    two.stop()
    assert not directory.exists()


def test_stale_files_of_dead_workers_are_removed_and_others_left_alone(tmp_path, process):
    dead = process()
    coordinator(tmp_path, dead).mark_draining()
    (tmp_path / f"{Worker.of(dead.pid).name}.bus").touch()
    (tmp_path / "somebody-elses.file").touch()
    living = coordinator(tmp_path, process())
    dead.kill()
    dead.wait()
    assert living.others() == {}
    coordinator(tmp_path, process())
    assert files(tmp_path) == [".alive", ".alive", ".file"]


async def test_the_last_worker_that_is_done_ends_the_master(tmp_path, process):
    one, two = (coordinator(tmp_path, process()) for _ in range(2))
    for worker in (one, two):
        worker.mark_draining()
    one.mark_done()
    leaving = asyncio.create_task(one.leave())
    for _ in range(5):
        await asyncio.sleep(0)
    assert not leaving.done()
    assert one.ended.told == two.ended.told == []
    two.mark_done()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await asyncio.gather(leaving, two.leave())
    assert two.ended.told == [(MASTER.pid, signal.SIGTERM)]


async def test_a_worker_that_was_killed_is_not_waited_for(tmp_path, process):
    killed = process()
    one, _ = coordinator(tmp_path, process()), coordinator(tmp_path, killed)
    one.mark_draining()
    one.mark_done()
    killed.kill()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await one.leave()
    assert one.ended.told == [(MASTER.pid, signal.SIGTERM)]


async def test_a_worker_that_drains_alone_ends_alone(tmp_path, process):
    one, _ = (coordinator(tmp_path, process()) for _ in range(2))
    one.mark_draining()
    one.mark_done()
    async with asyncio.timeout(DEADLINE_SECONDS):
        await one.leave()
    assert one.ended.told == []


async def test_a_process_that_has_the_number_of_a_master_that_died_is_told_nothing(
    tmp_path, process
):
    later = Worker.of(process().pid)
    died = Worker(later.pid, later.started - 1)
    one = coordinator(tmp_path, process(), master=died)
    one.mark_done()
    await one.leave()
    assert one.ended.told == []


async def test_without_a_master_nobody_is_waited_for(tmp_path, process):
    one, _ = (coordinator(tmp_path, process(), master=None) for _ in range(2))
    one.mark_done()
    await one.leave()
    assert one.ended.told == []


def test_a_worker_that_cannot_say_anything_tells_the_log_once(tmp_path, process, caplog):
    one = coordinator(tmp_path / "workers", process(), master=None)
    shutil.rmtree(one.directory)
    one.directory.touch()
    one.mark_draining()
    one.mark_done()
    [record] = caplog.records
    assert "cannot say that this worker is alive: " in record.getMessage()
    assert record.exc_info is None


def test_two_servers_never_meet_in_one_directory(process):
    one, two = process(), process()
    assert run_dir(None, one.pid) != run_dir(None, two.pid)
    assert run_dir(None, one.pid) == run_dir(None, one.pid)
    assert run_dir(Path("/given"), one.pid) == Path("/given")
