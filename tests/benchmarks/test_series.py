"""The runs that claims need: made on each server afresh, again where they are invalid."""

import contextlib
from pathlib import Path

import pytest

from benchmarks.claims.claims_file import ClaimsFile
from benchmarks.claims.reading import load_claims
from benchmarks.runs.making import ANY_MACHINE, TRIES, Observe
from benchmarks.runs.series import made_again, run_all
from loadtests.plan.bounds import Bounds
from reports.record import read_record

TEXT = """\
[target.plain]
command = "{python} -m tests.servers.plain_websockets {port}"

[target.fastapi]
command = "{python} examples/tutorial_server.py {port}"

[experiment.echo]
scenario = "echo"
path = "/echo"
connections = 2
rate = 20.0
duration = "0.5s"
repeats = 2

[[claim]]
id = "loss"
says = "nothing is lost"
source = "ours"
experiment = "echo"
metric = "integrity.lost"
comparison = "at_most"
value = "0"
"""

TITLES: list[str] = []


def watch(title: str) -> contextlib.AbstractContextManager[Observe]:
    TITLES.append(title)
    return contextlib.nullcontext(lambda line: None)


@pytest.fixture
def file(tmp_path: Path) -> ClaimsFile:
    path = tmp_path / "claims.toml"
    path.write_text(TEXT)
    return load_claims(path)


def test_a_run_is_made_on_each_server_and_tells_what_it_measured(
    tmp_path: Path, file: ClaimsFile
) -> None:
    runs = run_all(file, tmp_path / "runs", watch, ANY_MACHINE)
    assert set(runs) == {("echo", "plain"), ("echo", "fastapi")}
    for made in runs.values():
        assert [(run.valid, run.figures["integrity.lost"]) for run in made] == [(True, 0)] * 2
    records = sorted((tmp_path / "runs").glob("*.run.jsonl"))
    assert [record.name for record in records] == [
        "01-echo-plain-1.run.jsonl",
        "02-echo-fastapi-1.run.jsonl",
        "03-echo-fastapi-2.run.jsonl",
        "04-echo-plain-2.run.jsonl",
    ]
    headers = [read_record(record).header for record in records]
    assert ["plain_websockets" in " ".join(it.target.command) for it in headers] == [
        *(True, False, False, True)
    ]


def test_a_run_that_is_invalid_is_made_again_and_that_is_told(
    tmp_path: Path, file: ClaimsFile
) -> None:
    TITLES.clear()
    impossible = Bounds(lateness_p99_seconds=0.0, loop_lag_p99_seconds=0.0)
    runs = run_all(file, tmp_path / "runs", watch, impossible)
    made = runs["echo", "plain"]
    for run in made:
        assert not run.valid
        assert "sent late" in run.reasons[0]
        assert len(run.reasons) >= 2
        # One a try, whatever number of reasons it had.
        assert len(run.repeated) == TRIES - 1
    assert TITLES[1] == f"run 1 of 4: echo on plain (1 of 2), try 2 of {TRIES}"
    assert (tmp_path / "runs" / "01-echo-plain-1-try-2.run.jsonl").exists()


def test_a_server_that_does_not_start_is_told_and_not_tried_again(
    tmp_path: Path, file: ClaimsFile
) -> None:
    path = tmp_path / "claims.toml"
    path.write_text(TEXT.replace("examples/tutorial_server.py", "-m no_such_module"))
    runs = run_all(load_claims(path), tmp_path / "runs", watch, ANY_MACHINE)
    assert all(run.valid for run in runs["echo", "plain"])
    for run in runs["echo", "fastapi"]:
        assert "no_such_module" in run.reasons[0]
        assert not run.repeated


def test_what_was_made_again_is_told_once_for_each_server() -> None:
    reasons = {("echo", "a"): ["sent late"], ("echo", "b"): ["late", "later"], ("hold", "a"): []}
    assert list(made_again(reasons)) == [
        "echo on a, once because sent late",
        "echo on b, 2 times, most recently because later",
    ]
