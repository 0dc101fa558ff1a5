"""``swarmgate compare`` as a person runs it: what it prints, where, and its exit status."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from benchmarks.cli import main
from tests.benchmarks.judging.runs import write

MS = 1_000_000


@dataclass(frozen=True, slots=True)
class Done:
    returncode: int
    stdout: str
    stderr: str


Compare = Callable[..., Done]


@pytest.fixture
def compare(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> Compare:
    """Run the command in the test's folder, in this process: to start another takes a second."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str) -> Done:
        monkeypatch.setattr(sys, "argv", ["swarmgate", "compare", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        said = capsys.readouterr()
        return Done(int(ended.value.code or 0), said.out, said.err)

    return run


def in_turn(folder: Path, base_ms: float, head_ms: float, runs: int = 4) -> None:
    """Write so many records a side, made in turn, in folders ``base`` and ``head``."""
    for number in range(runs):
        for side, ms, minute in (("base", base_ms, 2 * number), ("head", head_ms, 2 * number + 1)):
            path = folder / side / f"{number}.run.jsonl"
            # Every run is a little different from the others of its side.
            times = [round((ms + 0.01 * number) * MS)] * 9
            write(path, times, minute, git_commit=f"{side}0123456789abcdef")


def test_a_slower_head_is_worse_and_the_exit_status_is_0(tmp_path: Path, compare: Compare) -> None:
    in_turn(tmp_path, base_ms=1, head_ms=2)
    done = compare("base", "head")
    assert (done.returncode, done.stderr) == (0, "")
    first, *rest = done.stdout.splitlines()
    assert "2 worse" in first
    row = next(line for line in rest if "latency p99" in line)
    assert row.split()[:4] == ["✘", "worse", "latency", "p99"]
    assert "1.99 (" in row
    assert "base: 4 runs; commit base01234567" in done.stdout
    assert re.search(r"^0 in every run: .*\berrors\b", done.stdout, re.MULTILINE)


def test_a_head_like_its_base_is_not_told_apart_from_it(tmp_path: Path, compare: Compare) -> None:
    in_turn(tmp_path, base_ms=1, head_ms=1)
    done = compare("base", "head", "--figure", "latency.p50_seconds")
    assert done.returncode == 0
    assert done.stdout.startswith("1 figure, head against base: 1 with no detectable difference")
    assert "1.00 (" in done.stdout


def test_one_run_a_side_says_how_many_are_needed(tmp_path: Path, compare: Compare) -> None:
    in_turn(tmp_path, base_ms=1, head_ms=2, runs=1)
    done = compare("base/0.run.jsonl", "head/0.run.jsonl")
    assert done.returncode == 0
    assert "Too few runs to detect a difference: 1 of base and 1 of head; make 4 of each." in (
        done.stdout
    )
    assert "worse" not in done.stdout


def test_json_is_one_document_with_what_each_run_measured(tmp_path: Path, compare: Compare) -> None:
    in_turn(tmp_path, base_ms=1, head_ms=2)
    done = compare("base", "head", "--json")
    document = json.loads(done.stdout)
    (group,) = document["groups"]
    found = {row["figure"]: row for row in group["figures"]}
    latency = found["latency.p99_seconds"]
    assert (latency["difference"], latency["better"]) == ("worse", "lower")
    assert latency["ratio"]["low"] > 1.9
    assert len(latency["base"]["runs"]) == 4
    assert found["errors"]["difference"] == "equal"


def test_markdown_is_written_with_the_names_of_the_figures(
    tmp_path: Path, compare: Compare
) -> None:
    in_turn(tmp_path, base_ms=1, head_ms=2)
    done = compare("base", "head", "--markdown", "told.md")
    assert done.returncode == 0
    text = (tmp_path / "told.md").read_text()
    assert "| ✘ worse | latency p99 |" in text
    assert "| `latency.p99_seconds` |" in text
    printed = compare("base", "head", "--markdown", "-")
    assert printed.stdout == text


def test_a_record_is_not_overwritten_by_what_is_told_of_it(
    tmp_path: Path, compare: Compare
) -> None:
    in_turn(tmp_path, base_ms=1, head_ms=2)
    done = compare("base", "head", "--markdown", "base/0.run.jsonl")
    assert done.returncode == 2
    assert "is the record itself" in done.stderr


def test_all_compares_what_else_there_is(tmp_path: Path, compare: Compare) -> None:
    in_turn(tmp_path, base_ms=1, head_ms=2)
    assert "latency p90" in compare("base", "head", "--all").stdout
    assert "latency p90" not in compare("base", "head").stdout


def test_another_load_is_refused_saying_what_differs_unless_it_is_forced(
    tmp_path: Path, compare: Compare
) -> None:
    load = {"connections": 100, "rate": 60.0, "duration_seconds": 10.0}
    write(tmp_path / "a.run.jsonl")
    write(tmp_path / "b.run.jsonl", load=load)
    done = compare("a.run.jsonl", "b.run.jsonl")
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.splitlines() == [
        "swarmgate: not comparable; --force compares anyway",
        "echo, 100 connections, 60 /s, 10 s, on /:",
        "  rate: 50 in base, 60 in head",
    ]
    forced = compare("a.run.jsonl", "b.run.jsonl", "--force")
    assert forced.returncode == 0
    assert "Not the same: rate: 50 in base, 60 in head" in forced.stdout


def test_runs_that_judge_nothing_are_left_out_and_told(tmp_path: Path, compare: Compare) -> None:
    in_turn(tmp_path, base_ms=1, head_ms=2)
    write(tmp_path / "head/8.run.jsonl", valid=False, reasons=("it sent late",))
    write(tmp_path / "head/9.run.jsonl", failures=("the target ended",))
    whole = (tmp_path / "head/0.run.jsonl").read_bytes()
    (tmp_path / "head/7.run.jsonl").write_bytes(whole[: whole.rindex(b'{"t_ns"')])
    done = compare("base", "head")
    assert done.returncode == 0
    assert "head: 4 runs" in done.stdout
    for left in ("7.run.jsonl: invalid: the record has no end", "8.run.jsonl: invalid: it sent",
                 "9.run.jsonl: the target ended"):  # fmt: skip
        assert f"Left out: head/{left}" in done.stdout


def test_where_nothing_is_left_of_a_side_the_status_is_3(tmp_path: Path, compare: Compare) -> None:
    write(tmp_path / "a.run.jsonl")
    write(tmp_path / "b.run.jsonl", valid=False, reasons=("it sent late",))
    done = compare("a.run.jsonl", "b.run.jsonl")
    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.splitlines() == [
        "swarmgate: no record of head can be judged",
        "  b.run.jsonl: invalid: it sent late",
    ]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (("base", "nowhere"), "cannot read nowhere: No such file or directory"),
        (("base", "empty"), "no record (*.run.jsonl) in empty"),
        (("base", "damaged.run.jsonl"), "damaged.run.jsonl is damaged, or was not written by"),
        (("base", "text.txt"), "text.txt:1: "),
        (("base", "head", "--figure", "latency.p99"), "did you mean latency.p99_seconds"),
        (("base", "head", "--figure", "errors", "--all"), "leave one of them out"),
        (("base", "head", "--json", "--markdown", "-"), "name a file for one of them"),
        (("base", "head", "--markdown", "no/such/folder.md"), "cannot write no/such/folder.md"),
        (("base",), "Missing argument 'head'"),
    ],
)
def test_what_cannot_be_meant_is_told_in_one_line(
    tmp_path: Path, compare: Compare, arguments: tuple[str, ...], told: str
) -> None:
    in_turn(tmp_path, base_ms=1, head_ms=2, runs=1)
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("first\nsecond\n")
    write(tmp_path / "damaged.run.jsonl", load={})
    done = compare(*arguments)
    assert (done.returncode, done.stdout) == (2, "")
    assert told in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_record_may_hold_no_control_characters_for_the_terminal(
    tmp_path: Path, compare: Compare
) -> None:
    write(tmp_path / "a.run.jsonl", scenario="\x1b[2Jmine.py")
    done = compare("a.run.jsonl", "a.run.jsonl")
    assert done.returncode == 0
    assert "\x1b" not in done.stdout
