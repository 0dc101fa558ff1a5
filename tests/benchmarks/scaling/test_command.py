"""``swarmgate scaling`` from records, as a person would call it."""

import json
import math
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.benchmarks.scaling.command import laws, scaling
from tests.benchmarks.scaling.records import write_run

SIZES = (1_000, 2_000, 4_000, 8_000)
URL = "ws://127.0.0.1:{port}/ws"


def write_series(folder: Path, sizes: tuple[int, ...] = SIZES, **changes: Any) -> Path:
    """Three broadcast runs of each size, whose laws are lines with a scatter of 2 %."""
    generator = np.random.default_rng(sum(sizes))
    folder.mkdir(exist_ok=True)
    for number, size in enumerate(sizes * 3):
        noise = np.exp(generator.normal(0, 0.02, 4))
        figures = {
            "memory_bytes": (5e7 + 10_000 * size) * noise[0],
            "kernel_bytes": 8_000 * size * noise[1],
            "cpu_seconds": (0.01 + 2e-5 * size) * noise[2],
            "last_seconds": (0.001 + 1e-5 * size) * noise[3],
        }
        values = figures | {"scenario": "broadcast", "received": size} | changes
        write_run(folder / f"{size}-{number:02}.run.jsonl", size, **values)
    return folder


def test_records_alone_give_laws_a_projection_and_its_limits(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "runs")
    markdown = tmp_path / "scaling.md"
    done = scaling(str(folder), "--markdown", str(markdown))
    assert (done.returncode, done.stderr) == (0, "")
    lines = done.stdout.splitlines()
    assert lines[0] == lines[-1] == "HELD: 4 laws were fitted"
    assert "2 cores (shared by server and generator)" in done.stdout
    told = " ".join(done.stdout.split())
    assert "1,000,000 (125 times)" in told
    assert "nothing shows that it does" in told
    assert max(map(len, lines)) <= 110
    for text in (done.stdout, markdown.read_text()):
        assert "PROJECTION: nothing below was measured" in text
        assert "PROJECTION: which limit bites first" in text
        assert "10,000,000" in text
    rows = [line for line in markdown.read_text().splitlines() if line.startswith("|")]
    assert all(row.endswith("|") for row in rows)
    assert scaling(str(folder)).stdout == done.stdout


def test_json_is_one_document_in_which_a_projection_is_called_one(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "runs")
    done = scaling(str(folder), "--json", "--project", "1M", "--cores", "16", "--files", "1M")
    document = json.loads(done.stdout, parse_constant=pytest.fail)
    assert document["status"] == 0
    memory = laws(document)["server_memory"]
    slope = memory["models"][0]["coefficients"]["b"]
    assert slope["low"] <= 10_000 <= slope["high"]
    assert slope["high"] < 1.1 * slope["low"]
    projection = document["projection"]
    assert projection["measured"] is False
    assert {it["law"] for it in projection["figures"]} == set(laws(document))
    for figure in projection["figures"]:
        ends = figure["projection"]
        assert 0 < ends["low"] < ends["value"] < ends["high"]
        assert figure["times_the_largest_measured"] == 125
    assert projection["machine"]["cores"] == 16
    assert projection["limits"][0]["one_machine_holds"] < 1e6


def test_several_scenarios_are_projected_side_by_side(tmp_path: Path) -> None:
    """The idle ones have another reach, other rivals, and laws of the same names."""
    loud = write_series(tmp_path / "loud")
    idle = write_series(tmp_path / "idle", (500, 600, 700), scenario="hold", received=0)
    done = scaling(str(loud), str(idle), "--project", "1M")
    assert done.returncode == 0, done.stderr
    told = " ".join(done.stdout.split())
    assert "connections: 8,000 (broadcast), 700 (hold)." in told
    assert "1,000,000 (1,429 times)" in told
    for label in ("server memory (broadcast)", "server memory (hold)", "cores, this load"):
        assert label in told
    document = json.loads(scaling(str(loud), str(idle), "--json", "--project", "1M").stdout)
    figures = document["projection"]["figures"]
    assert len({(it["scenario"], it["law"]) for it in figures}) == 7
    assert set(document["projection"]["workers"]) == {"idle_cpu", "load_cpu"}


def test_what_larger_runs_measured_is_held_against_the_projection(tmp_path: Path) -> None:
    small = write_series(tmp_path / "small")
    large = write_series(tmp_path / "large", (50_000,))
    held = scaling(str(small), str(large), "--fit-up-to", "8k", "--json")
    assert held.returncode == 0, held.stdout
    for law in laws(json.loads(held.stdout)).values():
        (check,) = law["checks"]
        assert (check["size"], check["verdict"], len(check["runs"])) == (50_000, "holds", 3)
    worse = write_series(tmp_path / "worse", (50_000,), last_seconds=5.0)
    missed = scaling(str(small), str(worse), "--fit-up-to", "8k")
    assert missed.returncode == 1
    assert re.match(
        r"FAILED: broadcast, last receiver at 50,000: projected \d+ ms to \d+ ms, measured 5.00 s",
        missed.stdout,
    )
    # Nothing of what is beyond is fitted.
    assert "Fitted up to this many connections: 8,000 (broadcast)" in missed.stdout


@pytest.mark.parametrize(
    ("arguments", "status", "complaint"),
    [
        (["nowhere"], 2, "no folder nowhere"),
        (["runs", "--fit-up-to", "8k"], 2, "no run has more than 8,000 connections"),
        (["runs", "--fit-up-to", "many"], 2, "--fit-up-to: 'many' is not a count"),
        (["runs", "--project", "0"], 2, "--project is 0; it must be 1 or more"),
        (["runs", "--memory", "0"], 2, "--memory is 0; it must be 1 or more"),
        (["runs", "--sizes", "1k,2k,4k"], 2, "give --target-cmd"),
        (["runs", "--fitupto", "8k"], 2, "No such option: --fitupto"),
        (["runs", "--markdown", "no/such/file.md"], 2, "cannot write no/such/file.md"),
        (["one"], 3, "all 3 valid runs of broadcast are of one size (1,000 connections"),
        ([URL, "--target-cmd", "x {port}"], 2, "give one of --sizes, --rates and --workers"),
        ([URL, "--target-cmd", "x", "--sizes", "1,2,3"], 2, "has no {port}"),
        ([URL, "--target-cmd", "x {port}", "--sizes", "1,2"], 2, "a law needs 3 sizes or more"),
        ([URL, "--target-cmd", "x {port}", "--sizes", "1,1,2"], 2, "each once"),
        ([URL, "--target-cmd", "x {port}", "--sizes", "1,b,2"], 2, "--sizes: 'b' is not a count"),
        ([URL, "--target-cmd", "x {port}", "--workers", "1,2,4"], 2, "{workers} in --target-cmd"),
        ([URL, "9", "--target-cmd", "x {port}", "--sizes", "1,2,3"], 2, "COUNT is not for"),
        ([URL, "-r", "9", "--target-cmd", "x {port}", "--rates", "1,2,3"], 2, "--rate is not for"),
        ([URL, "--target-cmd", "x {port}", "--sizes", "1,2,3", "-s", "ech"], 2, "'ech'"),
        ([URL, "--target-cmd", "no-such {port}", "--sizes", "1,2,3"], 3, "cannot start the target"),
        # How many connections there are may be said where the series is of something else.
        (
            [URL, "9", "-s", "echo", "--target-cmd", "no-such {port}", "--rates", "1,2,3"],
            *(3, "cannot start the target"),
        ),
    ],
)
def test_wrong_usage_and_too_little_are_one_line(
    tmp_path: Path, arguments: list[str], status: int, complaint: str
) -> None:
    write_series(tmp_path / "runs")
    write_series(tmp_path / "one", (1_000,))
    done = scaling(*arguments, "-q", cwd=tmp_path)
    assert (done.returncode, done.stdout) == (status, ""), done.stdout
    assert done.stderr.count("\n") == 1, done.stderr
    assert complaint in done.stderr


def test_too_few_sizes_are_invalid(tmp_path: Path) -> None:
    done = scaling(str(write_series(tmp_path / "two", (1_000, 2_000))))
    assert done.returncode == 3
    first = done.stdout.splitlines()[0]
    assert first.startswith("INVALID: server memory: line needs runs of 3 sizes, there are 2")


def test_a_folder_of_which_nothing_is_valid_is_invalid_and_says_why(tmp_path: Path) -> None:
    done = scaling(str(write_series(tmp_path / "bad", valid=False)))
    assert done.returncode == 3
    assert done.stdout.startswith("INVALID: no valid record is left")
    assert done.stdout.count("invalid: sent late") == 12


def test_a_figure_that_one_run_lacks_is_never_a_pass(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "runs")
    bad = folder / "bad.run.jsonl"
    write_run(bad, 16_000, memory_bytes=1e8, received=5, scenario="broadcast")
    done = scaling(str(folder))
    assert done.returncode == 3
    first = done.stdout.splitlines()[0]
    assert first == f"INVALID: not fitted: delivery.last_seconds is missing in {bad}"


def test_a_record_with_nan_in_it_is_left_out_and_said(tmp_path: Path) -> None:
    folder = write_series(tmp_path / "runs")
    path = folder / "bad.run.jsonl"
    write_run(path, 16_000, memory_bytes=math.nan, scenario="broadcast", last_seconds=0.1)
    done = scaling(str(folder), "--json")
    assert done.returncode == 0
    (left_out,) = json.loads(done.stdout)["left_out"]
    assert left_out["record"] == str(path)
    assert "pss_bytes" in left_out["why"]
