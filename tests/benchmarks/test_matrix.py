"""A matrix: its file is checked to the line, its table needs whole runs and whole intervals."""

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from benchmarks.commands.matrix import DEFAULT_MATRIX
from benchmarks.judging.matrix import tabulate
from benchmarks.judging.run_figures import Key, RunFigures
from benchmarks.matrix.matrix_file import chosen, load_matrix
from benchmarks.runs.series import turns
from benchmarks.runs.tables import InputFileError
from reports.figure import Better
from reports.matrix import Cell, Column, Matrix, Row, matrix_document, outcome_of_matrix
from reports.outcome import ExitStatus
from reports.tables.matrix_findings import findings, notes
from reports.tables.matrix_table import matrix_markdown, matrix_table, reasons

GOOD = """\
reference = "plain"
rounds = 4

[target.plain]
command = "serve {port}"

[target.fast]
command = "serve {port} --fast"

[target.absent]
command = "serve {port}"
requires = "no_such_module"

[experiment.echo]
scenario = "echo"
connections = 3
rate = 10

[[column]]
experiment = "echo"
figure = "latency.p50_seconds"
label = "middle"

[[column]]
experiment = "echo"
figure = "connections.opened_per_second"
"""

HOLD = '[experiment.hold]\nscenario = "hold"\nconnections = 1\n[experiment.echo]'
WARM = """\
rate = 10
warmup = "1s"

[[column]]
experiment = "echo"
figure = "server.memory_growth_per_connection_bytes"
"""

MEMORY = Column("idle", "server.memory_per_connection_bytes", "memory", Better.LOWER)
HANDSHAKES = Column("idle", "connections.opened_per_second", "handshakes", Better.HIGHER)


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "matrix.toml"
    path.write_text(text)
    return path


def test_a_matrix_file_has_servers_experiments_and_what_is_shown(tmp_path: Path) -> None:
    file = load_matrix(written(tmp_path, GOOD))
    assert file.reference == "plain"
    assert file.left_out == {"absent": "no_such_module"}
    assert file.columns == (
        Column("echo", "latency.p50_seconds", "middle", Better.LOWER),
        Column("echo", "connections.opened_per_second", "connections opened a second",
               Better.HIGHER),
    )  # fmt: skip
    order = [turn.target for turn in turns(file)]
    assert order == ["plain", "fast", "fast", "plain"] * 2


def test_the_reference_stays_whichever_server_is_chosen(tmp_path: Path) -> None:
    text = GOOD.replace("[target.absent]", '[target.other]\ncommand = "o {port}"\n[target.absent]')
    file = load_matrix(written(tmp_path, text))
    assert list(chosen(file, ["other"]).targets) == ["plain", "other"]
    assert list(chosen(file, []).targets) == ["plain", "fast", "other"]
    with pytest.raises(InputFileError, match="no target is called 'othr'; did you mean other"):
        chosen(file, ["othr"])


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('reference = "plain"\n', "", ":1: reference: the key is missing"),
        ('"plain"', '"plan"', ":1: reference: no target is called 'plan'; did you mean plain"),
        ('"plain"', '"absent"', ":1: reference: target absent is left out: there is no no_such"),
        ("rounds = 4", "rounds = 0", ":2: rounds: 0: "),
        ("rounds = 4", "round = 4", ":2: round: no such key is known"),
        ('figure = "latency', 'figure = "latence', ":21: column.0.figure: .*did you mean latency"),
        ('experiment = "echo"\nfigure = "conn', 'experiment = "eco"\nfigure = "conn',
         ":25: column.1.experiment: no experiment is called 'eco'; did you mean echo"),
        ('label = "middle"', 'better = "neither"', ":22: column.0.better: 'neither'"),
        ('label = "middle"', 'labl = "middle"',
         ":22: column.0.labl: no such key is known; did you mean label"),
        ("rate = 10\n", WARM, ":22: column.0.figure: after a warm-up, .*; give echo warmup = 0"),
        ("[experiment.echo]", HOLD, ":14: experiment.hold: no column shows one of its figures"),
        ("rate = 10", 'rate = 10\ntargets = ["fast"]', ":18: .*targets: .* on every target"),
        ('scenario = "echo"\nconnections = 3\nrate = 10',
         'kind = "alone"\nsubject = "thread"\ncount = 1', ":15: .*kind: a matrix has only loads"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_told_with_file_line_and_key(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    assert old in GOOD
    with pytest.raises(InputFileError, match=rf"matrix\.toml{complaint}") as error:
        load_matrix(written(tmp_path, GOOD.replace(old, new, 1)))
    assert "\n" not in str(error.value)


def test_the_committed_matrix_is_well_formed() -> None:
    file = load_matrix(DEFAULT_MATRIX)
    assert file.reference == "uvicorn"
    assert {"uvicorn-wsproto", "uvicorn-websockets", "uvicorn-deflate", "raw-asgi", "adopted",
            "adopted-2-workers", "adopted-4-workers"} <= set(file.targets)  # fmt: skip
    everyone = {*file.targets, *file.left_out}
    assert {"granian-uvloop", "hypercorn-asyncio", "node-ws"} <= everyone
    assert all(held.repeats >= 5 for held in file.experiments.values())


def run(memory: float, handshakes: float = 1000.0, **others: float) -> RunFigures:
    figures = {MEMORY.figure: memory, HANDSHAKES.figure: handshakes}
    return RunFigures(True, (), {**figures, **others})


def cells(column: Column, runs: Mapping[str, Sequence[RunFigures]]) -> dict[str, Cell]:
    keyed: dict[Key, Sequence[RunFigures]] = {
        (column.experiment, it): of for it, of in runs.items()
    }
    rows = tabulate([column], list(runs), next(iter(runs)), keyed)
    return {row.target: row.cells[0] for row in rows}


def test_a_ratio_is_taken_round_by_round_so_that_drift_of_the_machine_cancels() -> None:
    drift = (1.0, 1.3, 0.8, 1.6, 0.7)
    found = cells(
        MEMORY, {"ref": [run(100 * it) for it in drift], "a": [run(110 * it) for it in drift]}
    )
    ratio = found["a"].ratio
    assert ratio is not None
    assert (ratio.low, ratio.value, ratio.high) == pytest.approx((1.1, 1.1, 1.1))
    assert found["a"].differs
    assert found["ref"].ratio is None
    assert found["ref"].estimate is not None
    assert found["ref"].estimate.high > 130


def test_the_best_is_marked_with_whoever_cannot_be_told_from_it() -> None:
    runs = {
        "ref": [run(100, 10), run(102, 11), run(101, 10.5)],
        "near": [run(101, 30), run(101, 31), run(102, 32)],
        "far": [run(200, 31), run(203, 30), run(199, 31.5)],
    }
    low = cells(MEMORY, runs)
    assert {name for name, cell in low.items() if cell.is_best} == {"ref", "near"}
    assert not low["near"].differs
    high = cells(HANDSHAKES, runs)
    assert {name for name, cell in high.items() if cell.is_best} == {"near", "far"}
    same = dict.fromkeys(runs, runs["ref"])
    assert not any(cell.is_best for cell in cells(MEMORY, same).values())
    # A 0 has no ratio: two that have the same are alike, and both the best.
    nothing = {"ref": [run(1), run(1)], "one": [run(0), run(0)], "two": [run(0), run(0)]}
    none = cells(MEMORY, nothing)
    assert {name for name, cell in none.items() if cell.is_best} == {"one", "two"}


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        (
            RunFigures(False, ("it did not start",), {}),
            "a: run 2 of idle is invalid: it did not start",
        ),
        (run(1, errors=3.0), "a: run 2 of idle: 3 errors"),
        (run(1, **{"integrity.lost": 2.0}), "a: run 2 of idle: 2 messages lost"),
        (run(math.nan), "a: run 2 of idle has no figure 'server.memory_per_connection_bytes'"),
        (RunFigures(True, (), {}), "a: run 2 of idle has no figure 'server.mem"),
    ],
)
def test_one_run_that_cannot_be_judged_leaves_the_server_without_a_figure(
    bad: RunFigures, reason: str
) -> None:
    good = run(100.0)
    found = cells(MEMORY, {"ref": [good, good, good], "a": [good, bad]})
    assert found["a"].estimate is None
    assert found["a"].reason.startswith(reason)
    assert found["a"].has_failed is ("lost" in reason or "errors" in reason)
    assert not found["a"].is_best
    without_reference = cells(MEMORY, {"a": [good, bad], "ref": [good, good, good]})
    assert without_reference["ref"].estimate is not None
    assert without_reference["ref"].ratio is None


def test_an_interrupted_matrix_compares_the_rounds_that_both_have() -> None:
    found = cells(MEMORY, {"ref": [run(100), run(101), run(300)], "a": [run(50), run(51)]})
    ratio = found["a"].ratio
    assert ratio is not None
    assert len(ratio.runs) == 2
    assert ratio.value == pytest.approx(0.5, rel=0.02)
    one = cells(MEMORY, {"ref": [run(100), run(101)], "a": [run(50)], "none": []})
    assert one["a"].estimate is not None
    assert one["a"].estimate.high == math.inf
    assert not one["a"].differs
    assert not one["a"].is_best
    assert one["none"].reason == "none: no run of idle has ended"


values = st.lists(st.floats(1e-6, 1e9), min_size=2, max_size=8)


@given(st.data())
def test_scaling_a_server_scales_its_ratio_and_nothing_else(data: st.DataObject) -> None:
    reference = data.draw(values)
    of_other = st.lists(st.floats(1e-6, 1e9), min_size=len(reference), max_size=len(reference))
    other, factor = data.draw(of_other), data.draw(st.floats(0.01, 100))
    runs = {
        "ref": [run(it) for it in reference],
        "a": [run(it) for it in other],
        "b": [run(it * factor) for it in other],
    }
    found = cells(MEMORY, runs)
    a, b = found["a"].ratio, found["b"].ratio
    assert a is not None
    assert b is not None
    assert (b.low, b.value, b.high) == pytest.approx(
        (a.low * factor, a.value * factor, a.high * factor)
    )


def a_matrix(**changes: object) -> Matrix:
    runs: dict[Key, Sequence[RunFigures]] = {
        ("idle", "plain"): [run(30e3, 1000), run(30.3e3, 1010), run(30.1e3, 990)],
        ("idle", "lean"): [run(6.6e3, 1005), run(6.61e3, 1000), run(6.59e3, 1001)],
        ("idle", "heavy|one"): [run(36e3, 500), run(36.2e3, 510), run(36.3e3, 505)],
        ("idle", "broken"): [RunFigures(False, ("it ended with status 1",), {})],
    }
    targets = ["plain", "lean", "heavy|one", "broken"]
    columns = (MEMORY, HANDSHAKES)
    values = {
        "reference": "plain",
        "columns": columns,
        "rows": tabulate(columns, targets, "plain", runs),
        "how": {"idle": "hold on /ws"},
        "left_out": {"granian": "granian"},
        "repeated": ("idle on lean, sent late",),
        "made": 10,
        "planned": 12,
    }
    return Matrix(**{**values, **changes})  # type: ignore[arg-type]


def drawn(matrix: Matrix, width: int) -> str:
    told = io.StringIO()
    Console(width=width, highlight=False, file=told).print(matrix_table(matrix, width))
    return told.getvalue().replace("\u00a0", " ")


def test_the_table_has_a_row_for_each_server_with_figures_ratios_and_marks() -> None:
    text = drawn(a_matrix(), 80)
    lines = [line.rstrip() for line in text.splitlines() if line.strip()]
    assert max(map(len, lines)) <= 80
    assert "memory" in lines[0]
    assert "kB" in lines[1]
    squeezed = [" ".join(line.split()) for line in lines]
    first = squeezed.index("plain 30.1 ± 1 % *1,000 ± 3 %")
    assert squeezed[first + 1] == "reference reference"
    lean = squeezed.index("lean *6.60 ± 0.4 % *1,000 ± 0.7 %")
    assert squeezed[lean + 1] == "0.219× ± 1 % ~"
    assert "broken – [1] – [1]" in squeezed
    assert reasons(a_matrix()) == ["[1] broken: run 1 of idle is invalid: it ended with status 1"]


def test_a_narrow_terminal_gets_the_columns_in_parts() -> None:
    text = drawn(a_matrix(), 30)
    assert max(len(line.rstrip()) for line in text.splitlines()) <= 30
    assert text.count("target") == 2
    assert text.count("broken") == 2


def test_the_markdown_has_a_line_for_each_server() -> None:
    lines = matrix_markdown(a_matrix()).replace("\u00a0", " ").splitlines()
    assert lines[0] == "| target | memory, kB | handshakes, /s |"
    assert lines[2] == "| plain | 30.1 ± 1 % | \\*1,000 ± 3 % |"
    assert lines[4].startswith("| heavy\\|one | 36.2 ± 1 % (1.20× ± ")
    assert lines[5] == "| broken | – [1] | – [1] |"


def test_findings_tell_extremes_with_their_intervals_and_who_cannot_be_told() -> None:
    memory, handshakes = findings(a_matrix())
    assert memory == (
        "Memory: lowest on lean, 6.60 kB, 78 % lower than on plain (78 to 78); "
        "highest on heavy|one, 36.2 kB, 20 % higher than on plain (19 to 21)."
    )
    assert handshakes.startswith("Handshakes: lowest on heavy|one, 505 /s, ")
    assert handshakes.endswith("; not distinguishable from plain: lean.")


def test_a_reader_is_told_what_is_missing_and_what_chance_does() -> None:
    told = "\n".join(notes(a_matrix(is_reduced=True)))
    for part in (
        "idle: hold on /ws.",
        "Of 4 ratios at 95 % about 0.2 would differ from 1 by chance alone.",
        "granian is left out: there is no granian.",
        "Repeated: idle on lean, sent late.",
        "10 of 12 runs were made: no more are made where one stays invalid.",
        "Reduced load (--quick)",
    ):
        assert part in told


def test_what_could_not_be_measured_is_never_held() -> None:
    assert outcome_of_matrix(a_matrix()).line == "INVALID: not measured: broken"
    faulty = a_matrix(rows=(Row("a", (Cell(None, reason="3 lost", has_failed=True),)),))
    assert outcome_of_matrix(faulty).line == "FAILED: no figures for a"
    measured = a_matrix(rows=a_matrix().rows[:3])
    assert outcome_of_matrix(measured).status is ExitStatus.HELD
    assert outcome_of_matrix(replace(measured, is_complete=False)).status is ExitStatus.INTERRUPTED


def test_an_interval_without_ends_has_none_in_json() -> None:
    alone = a_matrix(rows=(Row("a", (Cell(estimate=tabulate(
        [MEMORY], ["a"], "a", {("idle", "a"): [run(5.0)]})[0].cells[0].estimate),)),))  # fmt: skip
    document = matrix_document(alone, [], outcome_of_matrix(alone))
    figure = document["targets"][0]["cells"][0]["figure"]
    assert figure == {"value": 5.0, "low": None, "high": None, "runs": [5.0]}
