"""A series that was ended in the middle of a round is gone on with."""

import contextlib
import sys
from pathlib import Path

from benchmarks.gate.sides import BASE
from benchmarks.gate_power.series import Series, make_round
from benchmarks.runs.making import ANY_MACHINE
from benchmarks.runs.targets import Target
from benchmarks.runs.workload import Case, Workload
from loadtests.plan.scenario_file import ScenarioFile
from loadtests.plan.target_source import TargetSource


def test_a_round_that_was_ended_in_the_middle_is_made_anew(tmp_path: Path) -> None:
    command = (sys.executable, "-m", "tests.servers.plain_websockets", "{port}")
    load = Workload("/talk", ScenarioFile({"scenario": "echo", "rate": "20", "duration": "0.3s"}))
    case = Case(Target(BASE, TargetSource(command)), load.with_flags(count="2"), ANY_MACHINE)
    series = Series({BASE: case, "head": case}, tmp_path, seed=1)
    left = tmp_path / "0012-01-head.run.jsonl"
    others = tmp_path / "0011-01-base.run.jsonl"
    for path in (left, others, tmp_path / "0012-02-base-try-2.run.jsonl"):
        path.write_text("cut\n")

    made = make_round(series, 11, lambda _title: contextlib.nullcontext(lambda _line: None))

    assert made.values["head"]["messages.received"] == (6.0, 6.0)
    assert sorted(made.order) == [BASE, "head"]
    assert left.exists() == (made.order[0] == "head")
    assert not left.exists() or len(left.read_text().splitlines()) > 3
    assert others.read_text() == "cut\n"
    assert not (tmp_path / "0012-02-base-try-2.run.jsonl").exists()
