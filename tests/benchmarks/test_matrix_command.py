"""The command ``matrix``: real servers beside each other, told again from the records alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.matrix.folder import NAME, read_matrix
from reports.record import RecordError
from tests.interrupting import interrupted
from tests.servers.launch import ROOT

DEADLINE_SECONDS = 240.0

TEXT = """\
reference = "raw-asgi"

[target.raw-asgi]
command = "{python} -m uvicorn benchmarks.servers.raw_asgi:app --port {port} --lifespan off"

[target.fastapi]
command = "{python} -m uvicorn benchmarks.servers.fastapi_app:app --port {port}"

[target.broken]
command = "{python} -c 'import no_such_module' {port}"

[target.absent]
command = "serve {port}"
requires = "no_such_module"

[experiment.echo]
scenario = "echo"
path = "/echo"
connections = 10
rate = 20.0
duration = "0.5s"

[experiment.broadcast]
scenario = "broadcast"
connections = 10
rate = 4.0
duration = "0.5s"

[[column]]
experiment = "echo"
figure = "latency.p50_seconds"

[[column]]
experiment = "broadcast"
figure = "connections.opened_per_second"
label = "handshakes"
"""


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "benchmarks", "matrix", *arguments]


def swarmgate(*arguments: str) -> "subprocess.CompletedProcess[str]":
    return subprocess.run(
        command(*arguments),
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "mine.toml"
    path.write_text(TEXT)
    return path


def test_servers_are_measured_in_turn_and_the_table_can_be_made_again(
    tmp_path: Path, file: Path
) -> None:
    folder, markdown = tmp_path / "runs", tmp_path / "table.md"
    # Quick: whether this machine's generator was late is another question.
    made = swarmgate(
        *(str(file), "--quick", "--rounds", "2", "-o", str(folder), "--markdown", str(markdown)),
        "--json",
    )
    assert made.returncode == 1, made.stderr
    document = json.loads(made.stdout)
    assert document["outcome"] == "FAILED: no figures for broken"
    assert document["left_out"] == {"absent": "no_such_module"}
    assert document["runs"] == {"made": 10, "planned": 12, "complete": True}
    cells = {it["name"]: it["cells"] for it in document["targets"]}
    assert list(cells) == ["raw-asgi", "fastapi", "broken"]
    for cell in (*cells["raw-asgi"], *cells["fastapi"]):
        assert len(cell["figure"]["runs"]) == 2
        assert cell["figure"]["value"] > 0
    assert [len(cell["ratio"]["runs"]) for cell in cells["fastapi"]] == [2, 2]
    assert all("no_such_module" in cell["reason"] for cell in cells["broken"])
    assert "target absent is left out: there is no no_such_module" in made.stderr
    # Interleaved, and every second round backwards: the broken one is given up after its first.
    records = sorted(path.name for path in folder.glob("*.run.jsonl"))
    assert records == [
        "01-echo-raw-asgi-1.run.jsonl",
        "02-echo-fastapi-1.run.jsonl",
        "04-broadcast-raw-asgi-1.run.jsonl",
        "05-broadcast-fastapi-1.run.jsonl",
        "08-broadcast-fastapi-2.run.jsonl",
        "09-broadcast-raw-asgi-2.run.jsonl",
        "11-echo-fastapi-2.run.jsonl",
        "12-echo-raw-asgi-2.run.jsonl",
    ]
    again = swarmgate("--from", str(folder), "--json")
    assert (again.returncode, json.loads(again.stdout)) == (1, document)
    told = swarmgate("--from", str(folder))
    assert told.returncode == 1
    assert told.stdout.splitlines()[-1] == "FAILED: no figures for broken"
    for part in (
        "handshakes",
        "raw-asgi",
        "[1] broken: run 1 of echo is invalid: the target",
        "left out",
    ):
        assert part in told.stdout
    written = markdown.read_text()
    assert written == (folder / "matrix.md").read_text()
    assert written.startswith("| target | latency p50, ")
    once_more = swarmgate(str(file), "--quick", "-o", str(folder))
    assert once_more.returncode == 2
    assert f"{folder} already contains a matrix" in once_more.stderr
    (folder / records[0]).unlink()
    assert swarmgate("--from", str(folder)).returncode == 2


def test_ctrl_c_keeps_what_was_measured_and_prints_the_table_so_far(
    tmp_path: Path, file: Path
) -> None:
    file.write_text(TEXT.replace('"0.5s"', '"60s"', 1))
    folder = tmp_path / "runs"
    words = ("matrix", str(file), "--only", "fastapi", "-o", str(folder), "--rounds", "2")
    cut = interrupted(*words, when="measure")
    assert cut.returncode == 130, cut.stderr
    assert "Traceback" not in cut.stderr
    assert cut.stdout.splitlines()[-1] == "INTERRUPTED: 0 of 8 runs were made"
    assert "has ended" in cut.stdout
    again = swarmgate("--from", str(folder))
    assert (again.returncode, again.stdout) == (130, cut.stdout)


def test_a_folder_whose_last_line_was_cut_tells_what_stands_before_it(tmp_path: Path) -> None:
    head = {
        "reference": "a", "targets": ["a"], "how": {}, "left_out": {}, "planned": 3,
        "is_reduced": False, "format": 1, "type": "matrix",
        "columns": [{"experiment": "e", "figure": "errors", "label": "e", "better": "lower"}],
    }  # fmt: skip
    run = {
        "experiment": "e", "target": "a", "record": "", "reasons": ["it ended"], "repeated": ["x"],
        "failures": ["it ended"],
        "type": "run",
    }  # fmt: skip
    path = tmp_path / NAME
    path.write_text(f"{json.dumps(head)}\n{json.dumps(run)}\n{json.dumps(run)[:20]}")
    found = read_matrix(tmp_path)
    assert (found.made, found.planned, found.is_complete) == (1, 3, False)
    assert found.rows[0].cells[0].reason == "a: run 1 of e is invalid: it ended"
    assert found.repeated == ("e on a, once because x",)
    path.write_text(f"{json.dumps(head)}\nno\n{json.dumps(run)}\n")
    with pytest.raises(RecordError, match=":2: not a line of a matrix"):
        read_matrix(tmp_path)
    path.write_text(json.dumps({**head, "format": 2}))
    with pytest.raises(RecordError, match="has format 2, this swarmgate reads 1"):
        read_matrix(tmp_path)
    path.write_text("")
    with pytest.raises(RecordError, match="does not begin with a line that describes"):
        read_matrix(tmp_path)


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["/no/such.toml"], "cannot read /no/such.toml: No such file"),
        (["--from", "/no/such"], "cannot read /no/such/matrix.jsonl"),
        (["--from", ".", "--quick"], "--from makes no run"),
        (["--only", "nobody"], "no target is called 'nobody'"),
        (["--markdown", "/no/such/table.md"], "cannot write /no/such/table.md"),
        (["-o", "/dev/null/x", "--quick"], "cannot write /dev/null/x"),
        (["--rounds", "1"], "greater than or equal to 2"),
    ],
)
def test_wrong_usage_is_one_line_and_exits_with_2(arguments: list[str], complaint: str) -> None:
    done = swarmgate(*arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert complaint in done.stderr.splitlines()[-1]
