"""The runs that claims need: which of them are valid."""

import contextlib
from pathlib import Path

from benchmarks.claims import LoadExperiment, RunFigures
from benchmarks.experiments import ANY_MACHINE, Observe, run_all
from loadtests.bounds import Bounds


def watch(title: str) -> contextlib.AbstractContextManager[Observe]:
    return contextlib.nullcontext(lambda line: None)


def test_a_run_is_valid_within_the_bounds_that_it_was_given(tmp_path: Path) -> None:
    held = LoadExperiment.model_validate(
        {"scenario": "echo", "path": "/echo", "connections": 2, "rate": 20.0, "duration": "0.5s"}
        | {"repeats": 2}
    )

    def made(folder: str, bounds: Bounds) -> list[RunFigures]:
        return run_all({"echo": held}, tmp_path / folder, watch, bounds)["echo"]

    for late in made("strict", Bounds(lateness_p99_seconds=0.0)):
        assert not late.valid
        assert "sent late" in late.reasons[0]
    assert all(run.valid for run in made("patient", ANY_MACHINE))
