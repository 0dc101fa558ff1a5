"""``swarmgate capacity`` as a person runs it, on servers whose capacity is no machine's."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.cli import main
from loadtests.plan.bounds import changed
from tests.loadtests.conftest import PATIENT
from tests.servers.launch import ROOT

LIMITED = f"{sys.executable} -m tests.servers.limited {{port}}"
URL = "ws://127.0.0.1:{port}/"
PATIENCE = tuple(word for text in changed(PATIENT) for word in ("--bound", text))
DEADLINE_SECONDS = 240.0


@dataclass(frozen=True, slots=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Capacity = Callable[..., Done]


@pytest.fixture
def capacity(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Capacity:
    """Run the command in the test's folder, in this process: to start another takes a second."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(ROOT))

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["swarmgate", "capacity", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    return run


def test_the_most_connections_of_a_server_that_refuses_more_are_found(
    tmp_path: Path, capacity: Capacity
) -> None:
    done = capacity(
        *(URL, "--target-cmd", f"{LIMITED} --connections 90", "--from", "60", "--to", "120"),
        *("--precision", "30%", "--repeats", "1", "-d", "0.1s", "-o", "found", *PATIENCE),
        *("--markdown", "found.md"),
    )
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0]
    assert first.startswith("Holds 85 connections (95 % interval ")
    assert first.endswith("; breaks at 101: errors 11 (mostly upgrade:http-503), more than 0.")
    assert "✘ 0 of 1" in done.stdout
    assert done.stderr.splitlines()[:2] == [
        "60 connections: held (errors 0)",
        "120 connections: broke (errors 30)",
    ]
    document = json.loads((tmp_path / "found" / "capacity.json").read_text())
    assert (document["ending"], document["holds"], document["breaks"]) == ("found", 85, 101)
    records = {path.name for path in (tmp_path / "found").glob("*.run.jsonl")}
    assert records == {run["record"] for run in document["runs"]}
    assert (tmp_path / "found.md").read_text().startswith("Holds 85 connections")


def test_the_rate_of_a_server_that_serves_so_many_a_second_is_found(capacity: Capacity) -> None:
    # Half of what is sent for 2 s and served 200 a second waits 800 ms of 360 a second, 415 of 283.
    done = capacity(
        *(URL, "4", "--target-cmd", f"{LIMITED} --rate 200", "--search", "rate", "-s", "echo"),
        *("--from", "200", "--to", "400", "--precision", "60%", "--repeats", "1", "-d", "2s"),
        *("--objective", "latency.p50_seconds<=800ms", "--json", *PATIENCE),
    )
    # On a busy machine, which may have made what waits wait, it holds so much at least.
    document = json.loads(done.stdout)
    assert done.returncode == (4 if document["limited_by"] else 0), done.stderr
    assert document["unit"] == "messages a second"
    assert (document["holds"], document["breaks"]) == (283, 400)
    low, high = document["interval"]
    assert low < 360 < high


def test_what_is_interrupted_is_told_so_far_and_gone_on_with(
    tmp_path: Path, capacity: Capacity
) -> None:
    arguments = (
        *(URL, "--target-cmd", f"{LIMITED} --connections 90", "--from", "60", "--to", "120"),
        *("--precision", "100%", "--repeats", "1", "-d", "0.1s", *PATIENCE),
    )
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "benchmarks", "capacity", *arguments, "-o", "cut"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    with process:
        assert process.stderr is not None
        assert process.stderr.readline() == "60 connections: held (errors 0)\n"
        os.killpg(process.pid, signal.SIGINT)
        output, complaints = process.communicate(timeout=DEADLINE_SECONDS)
    assert (process.returncode, complaints) == (130, "")
    assert output.splitlines()[0] == "Interrupted: 60 connections held in 1 of 1 run."
    assert output.splitlines()[-1].endswith("--resume cut")
    # Another load is another search.
    other = capacity(*arguments, "--resume", "cut", "--header", "X-Other: 1")
    assert other.returncode == 2
    assert "cut contains a different search: options.headers was" in other.stderr
    done = capacity(*arguments, "--resume", "cut")
    assert done.returncode == 0, done.stderr
    assert done.stderr.splitlines() == ["120 connections: broke (errors 30)"]
    assert done.stdout.startswith("Holds 60 connections")


def test_a_server_that_does_not_start_is_told_after_one_run(capacity: Capacity) -> None:
    done = capacity(URL, "--target-cmd", f"{sys.executable} -c 'print({{port}})'", "-q")
    assert done.returncode == 3
    assert done.stdout.startswith("No result: no run with 100 connections could be")
    assert done.stderr == ""


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        ((URL, "50"), "COUNT '50': the number of connections is what is searched for"),
        ((URL, "0..2k in 30s"), "COUNT '0..2k in 30s': the number of connections is"),
        ((URL, "--from", "10", "--to", "10"), "--from 10 --to 10: there is nothing in between"),
        ((URL, "--from", "20", "--to", "10"), "--from 20 --to 10: there is nothing in between"),
        ((URL, "--from", "0"), "--from 0: the first load must be above 0"),
        ((URL, "--from", "ten"), "--from: 'ten' is not a count"),
        ((URL, "--from", "9000M"), "of this machine allows"),
        ((URL, "--precision", "0.1%"), "--precision 0.1%: it must be from 1% to 100%"),
        ((URL, "--budget", "5s"), "2 runs of 10.5 s or more take 21.0 s"),
        ((URL, "--repeats", "0"), "--repeats"),
        ((URL, "--objective", "error<=0"), "no figure is called 'error'; did you mean errors"),
        ((URL, "--search", "rate"), "hold sends nothing at a rate; these do"),
        ((URL, "--search", "rate", "-s", "echo", "-r", "5"), "--rate: the rate is what is"),
        ((URL, "--search", "rate", "-s", "echo", "--per-connection"), "--per-connection: the"),
        ((URL, "--search", "size"), "'size' is not one of"),
        ((URL, "--resume", "nowhere"), "no search to continue: nowhere/search.json: No such"),
        ((URL, "--json", "--markdown", "-"), "--json and --markdown - both print"),
        (
            (URL, "--markdown", "no/where.md"),
            "--markdown: cannot write no/where.md; name a file in",
        ),
        (("http://h/",), "scheme 'http'"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line_before_anything_runs(
    tmp_path: Path, capacity: Capacity, arguments: tuple[str, ...], complaint: str
) -> None:
    done = capacity(*arguments)
    assert complaint in done.stderr
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert not list(tmp_path.iterdir())


def test_a_folder_with_a_search_in_it_is_not_written_to(tmp_path: Path, capacity: Capacity) -> None:
    (tmp_path / "old").mkdir()
    (tmp_path / "old" / "search.json").write_text("{}")
    done = capacity(URL, "-o", "old")
    assert done.returncode == 2
    assert "old already contains a search; name another folder, or continue it with" in done.stderr


def test_what_is_searched_for_is_told_without_a_run(tmp_path: Path, capacity: Capacity) -> None:
    done = capacity(URL, "8", "--search", "rate", "-s", "echo", "--to", "1k", "--dry-run")
    assert done.returncode == 0
    assert "messages a second, 10 to 1,000 (--to 1,000)" in done.stdout
    assert "latency.p99_seconds <= 50.0 ms, errors <= 0, integrity.lost <= 0" in done.stdout
    assert not list(tmp_path.iterdir())
