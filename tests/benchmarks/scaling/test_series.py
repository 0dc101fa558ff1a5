"""The runs of a series are made interleaved, each in a fresh server, and then fitted."""

import json
import sys
from pathlib import Path

from benchmarks.scaling.series import make_all, runs_of
from loadtests.errors import TargetError
from loadtests.plan.bounds import changed
from loadtests.plan.run_options import Given
from reports.record import Header, read_record
from reports.summary import Summary
from tests.benchmarks.scaling.command import laws, scaling
from tests.interrupting import interrupted
from tests.loadtests.conftest import PATIENT
from tests.reports.builders import header

SERVER = f"{sys.executable} -P -m benchmarks.cost.send_loop {{port}}"
URL = "ws://127.0.0.1:{port}/ws"
LOAD = ("-s", "broadcast", "-r", "10", "-d", "0.5s")
PATIENTLY = tuple(word for text in changed(PATIENT) for word in ("--bound", text))


def test_runs_are_made_interleaved_in_fresh_servers_and_fitted(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    made = scaling(
        *("--target-cmd", SERVER, "--sizes", "200,400,800,1600", "--repeats", "2"),
        *("-o", str(folder), "--json", "-q", "--", URL, *LOAD, *PATIENTLY),
    )
    assert made.returncode == 0, made.stdout + made.stderr
    records = sorted(folder.glob("*.run.jsonl"))
    order = [read_record(it).header.load["connections"] for it in records]
    assert order == [200, 400, 800, 1_600, 1_600, 800, 400, 200]
    assert len({read_record(it).header.target.pids for it in records}) == 8
    found = laws(json.loads(made.stdout))
    assert found["server_memory"]["chosen"]
    assert found["broadcast"]["chosen"]
    again = scaling(str(folder), "--json")
    assert again.stdout == made.stdout
    checked = scaling(str(folder), "--fit-up-to", "800", "--json")
    assert checked.returncode in (0, 1, 4), checked.stderr
    (check,) = laws(json.loads(checked.stdout))["server_memory"]["checks"]
    assert (check["size"], len(check["runs"])) == (1_600, 2)


def test_a_folder_that_is_not_empty_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine")
    done = scaling(
        *("--target-cmd", SERVER, "--sizes", "1,2,3", "-o", str(tmp_path), "-q", "--", URL)
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "is not empty; name another folder" in done.stderr


def summary_of(header: Header, *, interrupted: bool = False, valid: bool = True) -> Summary:
    return Summary(header, valid, (), (), interrupted, {}, {}, {})


def test_a_target_that_does_not_start_once_is_left_out_and_the_series_goes_on() -> None:
    runs = runs_of({"url": URL, "target_cmd": "x {port}"}, ["1", "2", "3"], [], [])
    asked: list[str] = []

    def make(title: str, given: Given, path: Path) -> Summary:
        asked.append(given["count"])
        if len(asked) == 2:
            raise TargetError("it does not listen")
        return summary_of(header())

    made = make_all(runs, 2, Path("folder"), make)
    assert asked == ["1", "2", "3", "3", "2", "1"]
    assert [(it.path.name, it.why) for it in made.failed] == [
        ("02-2-connections-1.run.jsonl", "it does not listen")
    ]
    assert not made.interrupted


def test_a_run_in_which_the_generator_had_no_time_is_made_again() -> None:
    runs = runs_of({"url": URL, "target_cmd": "x {port}"}, ["1", "2", "3"], [], [])
    records: list[str] = []

    def make(title: str, given: Given, path: Path) -> Summary:
        records.append(path.name)
        return summary_of(header(), valid=given["count"] != "2")

    made = make_all(runs, 1, Path("folder"), make)
    assert records == [
        "01-1-connections-1.run.jsonl",
        "02-2-connections-1.run.jsonl",
        "02-2-connections-1-try-2.run.jsonl",
        "02-2-connections-1-try-3.run.jsonl",
        "03-3-connections-1.run.jsonl",
    ]
    assert made.failed == ()


def test_an_interruption_ends_the_series() -> None:
    runs = runs_of({"url": URL, "target_cmd": "x -w {workers} {port}"}, [], [], ["1", "2", "4"])
    asked: list[str | None] = []

    def make(title: str, given: Given, path: Path) -> Summary:
        asked.append(given["target_cmd"])
        return summary_of(header(), interrupted=len(asked) == 2)

    assert make_all(runs, 2, Path("folder"), make).interrupted
    assert asked == ["x -w 1 {port}", "x -w 2 {port}"]


def test_rates_are_a_series_too() -> None:
    runs = runs_of({"url": URL, "target_cmd": "x {port}"}, [], ["500", "1k", "2k"], [])
    assert [(it.name, it.given["rate"]) for it in runs] == [
        ("500-rate", "500"),
        ("1k-rate", "1k"),
        ("2k-rate", "2k"),
    ]


def test_ctrl_c_exits_with_130_and_keeps_what_was_recorded(tmp_path: Path) -> None:
    folder = tmp_path / "made"
    words = ("scaling", "--target-cmd", SERVER, "--sizes", "1,2,3", "-o", str(folder))
    cut = interrupted(*words, "--", URL, "-d", "60s", when="measure")
    assert (cut.returncode, cut.stdout) == (130, "")
    assert cut.stderr.splitlines()[-1] == (
        f"swarmgate: interrupted; the records so far are in {folder}"
    )
    (record,) = folder.glob("*.run.jsonl")
    footer = read_record(record).footer
    assert footer is not None
    assert footer.interrupted
