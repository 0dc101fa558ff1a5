"""A calibration: the arithmetic of what must be reported, and the whole of it in its short form."""

import json
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.calibration.calibrate import QUICK, calibrate
from benchmarks.calibration.calibration_table import calibration_markdown
from benchmarks.calibration.judging import (
    Row,
    bound_seconds,
    count_rows,
    latency_rows,
    stall_delays,
)
from benchmarks.commands.calibrate import print_calibration
from reports.histogram import Histogram
from reports.record import read_record
from tests.loadtests.conftest import PATIENT

MS = 1_000_000


def histogram(values_ns: list[int]) -> Histogram:
    held = Histogram()
    held.record(values_ns)
    return held


@given(st.lists(st.integers(1, 500 * MS), min_size=50, max_size=200), st.integers(0, 300 * MS))
def test_a_constant_delay_moves_every_percentile_by_itself(way: list[int], delay: int) -> None:
    undisturbed = histogram(way * 50)
    reported = histogram([value + delay for value in way] * 50)
    for row in latency_rows("constant", [delay] * 10, undisturbed, reported):
        # Both are rounded to three digits; and quantiles lie between two values of a short list.
        assert row.injected >= delay / 1e9
        assert abs(row.injected - row.reported) <= max(way) / 1e9 + 0.002 * row.injected


def test_the_sum_of_two_scattered_times_is_neither_of_them() -> None:
    generator = np.random.default_rng(1)
    delays = generator.lognormal(np.log(100 * MS), 0.5, 20_000)
    way = generator.lognormal(np.log(20 * MS), 0.5, 20_000)
    together = histogram([round(value) for value in delays + way])
    undisturbed = histogram([round(value) for value in generator.permutation(way)])
    rows = latency_rows("both", list(delays), undisturbed, together)
    assert [row.figure for row in rows] == ["p50", "p90", "p99", "p99.9"]
    assert all(abs(row.reported - row.injected) <= 0.05 * row.injected for row in rows)
    assert all(row.holds for row in rows[:2])


def test_a_percentile_of_too_few_is_left_out() -> None:
    few = histogram([MS] * 100)
    assert [row.figure for row in latency_rows("few", [0], few, few)] == ["p50", "p90"]


def test_whoever_is_due_in_a_stall_waits_for_its_end() -> None:
    delays = stall_delays([400 * MS, 200 * MS], arrivals=1000, load_seconds=10.0)
    assert len(delays) == 1000
    # 0.6 s of 10 s: 60 messages wait, from nearly nothing to nearly the whole of it.
    waiting = np.sort(delays[delays > 0])
    assert len(waiting) == 60
    assert waiting[-1] == pytest.approx(400 * MS, rel=0.02)
    assert np.mean(waiting) == pytest.approx((40 * 200 + 20 * 100) / 60 * MS)


@pytest.mark.parametrize(("injected", "bound"), [(0.001, 0.0003), (0.1, 0.002), (1.0, 0.02)])
def test_the_bound_is_the_larger_of_two(injected: float, bound: float) -> None:
    assert bound_seconds(injected) == pytest.approx(bound)


def test_counts_must_be_exact_and_nothing_else_may_be_there() -> None:
    rows = count_rows("x", {"lost": 3, "damaged": 0}, {"lost": 4, "damaged": 1, "closed": 0})
    assert rows == (
        Row("x", "lost", 3, 4, 0.0, is_count=True),
        Row("x", "anything else", 0.0, 1, 0.0, is_count=True),
    )
    assert not any(row.holds for row in rows)


def test_the_short_form_finds_every_fault_that_was_injected(tmp_path: Path) -> None:
    rows = calibrate(QUICK, tmp_path, lambda _title: nullcontext(lambda _line: None), PATIENT)
    counts = [row for row in rows if row.is_count]
    # On a busy machine some are sent before their senders have heard that they were closed.
    late = {("closed with 4000", "lost")}
    assert len({(row.subject, row.figure) for row in counts} - late) == 13
    assert [row for row in counts if not row.holds] == []
    assert {row.figure for row in counts if row.injected} == {
        *("lost", "duplicated", "reordered", "refused", "closed"),
    }
    # How near the times are is for the benchmark; that a delay is seen at all is not.
    constant = {row.figure: row for row in rows if row.subject == "constant 20 ms"}
    assert constant["p50"].injected >= 0.02
    assert constant["p50"].reported >= 0.02
    stalled = {row.figure: row for row in rows if row.subject == "stalls of 400 ms"}
    assert stalled["p90"].reported > 0.1
    markdown = calibration_markdown(rows)
    assert "| ✔ | undisturbed | anything else | 0 | 0 | 0 | exact |" in markdown
    assert markdown.count("\n") == len(rows) + 2
    for record in tmp_path.glob("*.run.jsonl"):
        assert read_record(record).footer is not None


def test_a_folder_that_cannot_be_made_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "calibrate", "-o", str(tmp_path / "file" / "x")],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("swarmgate: cannot write")


@pytest.mark.parametrize("as_json", [True, False])
def test_the_command_tells_every_row(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_json: bool
) -> None:
    rows = count_rows("every 7th lost", {"lost": 3}, {"lost": 4})
    print_calibration(rows, tmp_path, as_json=as_json)
    told = capsys.readouterr().out
    assert "every 7th lost" in (tmp_path / "calibration.md").read_text()
    if as_json:
        assert [row["holds"] for row in json.loads(told)] == [False, True]
    else:
        assert "every 7th lost" in told
        assert "1 of 2 figures are what was injected" in told
