"""A series is runs of one thing that differ in one thing; what is not is refused or left out."""

import itertools
import shlex
from pathlib import Path
from typing import Any

import pytest

from benchmarks.scaling.laws import KERNEL_MEMORY, Axis
from benchmarks.scaling.readings import SeriesError, TooFewError, read_series, workers_of
from reports.record import Machine, RecordError
from tests.benchmarks.scaling.records import write_run


def written(folder: Path, *sizes: int, **changes: Any) -> list[Path]:
    folder.mkdir(exist_ok=True)
    begin = len(list(folder.iterdir()))
    return [
        write_run(folder / f"{number:02}.run.jsonl", size, memory_bytes=1e8 + size, **changes)
        for number, size in enumerate(sizes, begin)
    ]


def test_runs_that_differ_in_connections_are_a_series(tmp_path: Path) -> None:
    written(tmp_path, 100, 200, 400, 200, kernel_bytes=5e6, cpu_seconds=0.25)
    (series,), left_out = read_series([tmp_path])
    assert not left_out
    assert (series.axis, series.sizes, series.workers) == (Axis.CONNECTIONS, (100, 200, 400), 2)
    assert series.shares_machine
    assert not series.sends
    figures = series.readings[0].figures
    assert figures["server.memory_bytes"] == 1e8 + 100
    assert figures["server.cpu_ratio"] == pytest.approx(0.25)
    assert figures[KERNEL_MEMORY] == 5e6


def test_several_folders_of_one_scenario_are_one_series(tmp_path: Path) -> None:
    written(tmp_path / "small", 100, 200)
    written(tmp_path / "large", 4_000)
    written(tmp_path / "loud", 10, 20, scenario="broadcast")
    series, _ = read_series([tmp_path / "small", tmp_path / "large", tmp_path / "loud"])
    assert [it.sizes for it in series] == [(100, 200, 4_000), (10, 20)]


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"ended": False}, "invalid: the record has no end: the run was cut off"),
        ({"valid": False}, "invalid: sent late"),
        ({"opened": 99}, "99 of 800 connections were open"),
    ],
)
def test_a_run_that_is_no_measurement_is_left_out_and_said(
    tmp_path: Path, changes: dict[str, Any], why: str
) -> None:
    written(tmp_path, 100, 200, 400)
    (bad,) = written(tmp_path, 800, **changes)
    (series,), left_out = read_series([tmp_path])
    assert series.sizes == (100, 200, 400)
    assert [(it.path, it.why) for it in left_out] == [(bad, why)]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "no run record"),
        ("{}\n{}\n", "no run record"),
        ('{"type": "header", "format_version": 99}\n', "format version 99"),
    ],
)
def test_a_file_that_is_no_record_is_left_out_and_said(tmp_path: Path, text: str, why: str) -> None:
    written(tmp_path, 100, 200)
    (tmp_path / "bad.run.jsonl").write_text(text)
    _, (left_out,) = read_series([tmp_path])
    assert why in left_out.why


def test_a_record_with_nonsense_in_it_is_left_out_and_said(tmp_path: Path) -> None:
    written(tmp_path, 100, 200)
    (bad,) = written(tmp_path, 400)
    bad.write_text(bad.read_text().replace('"connections":400', '"connections":"many"', 1))
    (series,), (left_out,) = read_series([tmp_path])
    assert series.sizes == (100, 200)
    assert "damaged" in left_out.why


OTHER = Machine("host", "6.1", "another", 2, 10**9, "3.11")
BIGGER = Machine("host", "6.1", "cpu", 2, 2 * 10**9, "3.11")


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"scenario": "echo"}, r"several scenarios: hold \(\d+.run.jsonl\), echo \("),
        ({"machine": OTHER}, r"another machine \(cpu_model\): 'another' instead of 'cpu'"),
        ({"machine": BIGGER}, r"another machine \(memory\)"),
        ({"parameters": {"active": 3}}, r"parameters: \{'active': 3\} instead of \{\}"),
        ({"command": ("other", "--port", "50001", "--workers", "2")}, "server: 'other --port"),
        ({"command": ("server", "--port", "50001", "--workers", "4")}, "connections and workers"),
        ({"load": {"rate": 5.0}}, "connections and rate"),
    ],
)
def test_a_stranger_among_the_records_is_named(
    tmp_path: Path, changes: dict[str, Any], complaint: str
) -> None:
    written(tmp_path, 100, 200, 400)
    written(tmp_path, 800, **changes)
    with pytest.raises(SeriesError, match=complaint):
        read_series([tmp_path])


def test_another_payload_is_another_series_though_an_older_record_does_not_say(
    tmp_path: Path,
) -> None:
    written(tmp_path, 100, load={"payload_bytes": 64})
    written(tmp_path, 200)
    read_series([tmp_path])
    written(tmp_path, 400, load={"payload_bytes": 128})
    with pytest.raises(SeriesError, match="payload_bytes: 128 instead of 64"):
        read_series([tmp_path])


def test_another_kernel_is_noted(tmp_path: Path) -> None:
    written(tmp_path, 100, 200)
    written(tmp_path, 400, machine=Machine("host", "6.2", "cpu", 2, 10**9, "3.11"))
    (series,), _ = read_series([tmp_path])
    assert series.notes == ("the records are of several kernels: 6.1, 6.2",)


def test_runs_of_one_size_are_too_few(tmp_path: Path) -> None:
    written(tmp_path, 100, 100, 100)
    with pytest.raises(TooFewError, match=r"all 3 valid runs of hold are of one size \(100 conn"):
        read_series([tmp_path])


def test_runs_may_differ_in_workers_or_in_rate(tmp_path: Path) -> None:
    numbers = itertools.count()
    for workers in ("1", "2", "4"):
        command = ("server", "--port", "50001", f"--workers={workers}")
        path = tmp_path / f"{next(numbers)}.run.jsonl"
        write_run(path, 50, memory_bytes=1e8, command=command)
    (series,), _ = read_series([tmp_path])
    assert (series.axis, series.sizes) == (Axis.WORKERS, (1, 2, 4))
    rates = tmp_path / "rates"
    for rate in (10.0, 20.0, 40.0):
        written(rates, 50, load={"rate": rate}, scenario="echo")
    (series,), _ = read_series([rates])
    assert (series.axis, series.sizes) == (Axis.RATE, (10, 20, 40))


def test_a_folder_without_records_is_refused(tmp_path: Path) -> None:
    with pytest.raises(RecordError, match="no record"):
        read_series([tmp_path])
    with pytest.raises(RecordError, match="no folder"):
        read_series([tmp_path / "nowhere"])


@pytest.mark.parametrize(
    ("command", "workers"),
    [
        ("uvicorn app:app --port 80 --workers 4", 4),
        ("uvicorn app:app --workers=3", 3),
        ("gunicorn -w 2 app", 2),
        ("env WEB_CONCURRENCY=8 python app.py", 8),
        ("sh -c 'node cluster.js --my-workers 5'", 5),
        ("uvicorn app:app --port 8000", 1),
        ("node server.js -wide 7", 1),
    ],
)
def test_workers_are_read_from_the_command(command: str, workers: int) -> None:
    assert workers_of(shlex.split(command)) == workers
