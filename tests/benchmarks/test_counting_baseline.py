"""Counts beside those that are committed: which may be, by what ratio, what is refused."""

import json
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks.cost.baseline import BaselineError, read_baseline
from benchmarks.counting.count import Count
from benchmarks.counting.figures import FIGURES
from benchmarks.counting.process import Load
from tests.servers.launch import ROOT

COMMITTED = ROOT / "reports/baselines/counts.json"
FIGURE = "counts.allocations_per_echo"
LOAD = Load(connections=100, messages=50)
COUNTED = Count("3.11.9", "0.54.0", {FIGURE: 110.0, "counts.instructions_per_echo": 5e5}, {}, {})


def document(path: Path, **changes: object) -> Path:
    figures = {FIGURE: 100.0, "counts.instructions_per_echo": 1e5, "counts.writes_per_echo": 1.0}
    whole = {"python": "3.11.7", "uvicorn": "0.54.0", "connections": 100, "messages": 50}
    whole |= {"figures": figures} | changes
    path.write_text(json.dumps(whole))
    return path


def test_each_figure_that_both_have_is_a_ratio_but_for_instructions(tmp_path: Path) -> None:
    baseline = read_baseline(document(tmp_path / "counts.json"))
    assert baseline.ratios(COUNTED) == {FIGURE: pytest.approx(1.1)}


@pytest.mark.parametrize(
    ("counted", "load", "complaint"),
    [
        (COUNTED, LOAD, ""),
        (replace(COUNTED, python="3.12.9"), LOAD, "Python: 3.11 in the baseline, 3.12 here"),
        (replace(COUNTED, uvicorn="1.0"), LOAD, "uvicorn: 0.54.0 in the baseline, 1.0 here"),
        (COUNTED, Load(200, 50), "connections: 100 in the baseline, 200 here"),
        (COUNTED, Load(100, 20), "messages: 50 in the baseline, 20 here"),
    ],
)
def test_what_is_not_comparable_is_told(
    tmp_path: Path, counted: Count, load: Load, complaint: str
) -> None:
    assert read_baseline(document(tmp_path / "counts.json")).against(counted, load) == complaint


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"figures": {"counts.sheep": 3}}, "counts.sheep is not a counted figure"),
        ({"figures": {FIGURE: 0}}, "counts.allocations_per_echo is 0"),
        ({"figures": {FIGURE: "many"}}, "not a document of swarmgate count --json"),
        ({"figures": [1]}, "not a document of swarmgate count --json"),
    ],
)
def test_what_tells_of_no_count_is_refused(
    tmp_path: Path, changes: dict[str, object], complaint: str
) -> None:
    with pytest.raises(BaselineError, match=complaint):
        read_baseline(document(tmp_path / "counts.json", **changes))


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"python": "3.11.7"}'])
def test_a_document_that_is_cut_or_another_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "counts.json"
    path.write_text(text)
    with pytest.raises(BaselineError, match=r"counts\.json is not a document of swarmgate count"):
        read_baseline(path)
    with pytest.raises(BaselineError, match="No such file"):
        read_baseline(tmp_path / "nowhere.json")


def test_the_committed_one_has_every_figure() -> None:
    assert set(read_baseline(COMMITTED).figures) == set(FIGURES)
