"""A claims file is checked to the line, and a verdict needs every run and the whole interval."""

import math
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.claims import (
    AloneExperiment,
    Claim,
    ClaimsFileError,
    LoadExperiment,
    RunFigures,
    choose,
    judge,
    load_claims,
)
from benchmarks.cli import DEFAULT_CLAIMS
from benchmarks.experiments import check, needed, quick, turns
from loadtests.toml_lines import line_of
from reports.claims_table import tally, verdict_markdown
from reports.exit_status import ExitStatus
from reports.verdict import ClaimResult, Verdict, outcome_of_claims

GOOD = """\
[experiment.idle]
scenario = "hold"
connections = "1k"        # one thousand
server = { heartbeat_seconds = 0 }

[[claim]]
id = "memory"
says = "~2 GB"
source = "somewhere"
experiment = "idle"
metric = "server.memory_bytes"
comparison = "at_most"
value = "2GB"

[[claim]]
id = "cpu"
says = '''
id = "not a key"
'''
source = "somewhere"
experiment = "idle"
metric = "server.cpu_ratio"
comparison = "within"
value = 0.01
tolerance = 0.5
"""


def written(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "claims.toml"
    path.write_text(text)
    return path


def test_a_claims_file_is_read_with_its_units(tmp_path: Path) -> None:
    file = load_claims(written(tmp_path, GOOD))
    idle = file.experiments["idle"]
    assert isinstance(idle, LoadExperiment)
    assert idle.connections == 1000
    assert [claim.limit for claim in file.claims] == [2e9, 0.01]
    assert file.claims[0].bound() == "at most 2.00 GB"
    assert file.claims[1].bound() == "1.00 % ± 50 %"


@pytest.mark.parametrize(
    ("old", "new", "complaint"),
    [
        ('scenario = "hold"', "", ":1: experiment.idle.scenario: the key is missing"),
        ('"1k"', '"1q"', ":3: experiment.idle.connections: '1q': .*write it like 10k"),
        ('"1k"', "0", ":3: experiment.idle.connections: 0: .*greater than or equal to 1"),
        ('id = "memory"', 'id = "memory"\nidd = 1', ":8: claim.0.idd: no such key is known"),
        ('id = "cpu"', 'id = "memory"', ":16: claim.1.id: 'memory' is taken already"),
        ('"at_most"', '"below"', ":12: claim.0.comparison: 'below': .*'at_most'"),
        ('"2GB"', '"2s"', ":13: claim.0.value: '2s' is no size"),
        ("0.01", "true", ":24: claim.1.value"),
        ("tolerance = 0.5", "", ":23: claim.1.comparison: a tolerance goes with"),
        ("tolerance = 0.5", "tolerance = 1.5", ":25: claim.1.tolerance: 1.5: .*less than 1"),
        ('experiment = "idle"\nmetric = "server.cpu', 'experiment = "idel"\nmetric = "server.cpu',
         ":21: claim.1.experiment: no experiment is called 'idel'; there are idle"),
        ("[[claim]]\nid = \"memory\"", "[[claim]\nid = \"memory\"", "not TOML: .*line 6"),
    ],
)  # fmt: skip
def test_a_malformed_file_is_told_with_file_line_key_and_what_was_expected(
    tmp_path: Path, old: str, new: str, complaint: str
) -> None:
    assert old in GOOD
    with pytest.raises(ClaimsFileError, match=rf"claims\.toml:? ?{complaint}") as error:
        load_claims(written(tmp_path, GOOD.replace(old, new, 1)))
    assert "\n" not in str(error.value)


def test_a_file_without_claims_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ClaimsFileError, match="claim: the key is missing"):
        load_claims(written(tmp_path, "[experiment]\n"))


def test_an_experiment_of_an_unknown_scenario_is_refused_before_anything_runs(
    tmp_path: Path,
) -> None:
    file = load_claims(written(tmp_path, GOOD.replace('"hold"', '"tornado"')))
    with pytest.raises(ClaimsFileError, match="experiment idle: no scenario is called 'tornado'"):
        check(needed(file), file.path)


names = st.from_regex(r"[a-z]{1,8}", fullmatch=True)


@given(st.lists(names, min_size=1, max_size=6, unique=True), st.lists(names, max_size=4))
def test_lines_are_found_wherever_keys_stand(keys: list[str], blanks: list[str]) -> None:
    lines = [f"# {blank} = 1" for blank in blanks]
    expected = {}
    for number, key in enumerate(keys):
        lines += ["", "[[table]]", f"{key} = {number}"]
        expected["table", number, key] = len(lines)
    text = "\n".join(lines)
    assert {place: line_of(text, place) for place in expected} == expected


def test_the_committed_claims_are_well_formed_and_complete() -> None:
    file = load_claims(DEFAULT_CLAIMS)
    check(needed(file), file.path)
    assert set(needed(file)) == set(file.experiments)
    assert all(held.repeats >= 3 for held in file.experiments.values())
    check({name: quick(held) for name, held in file.experiments.items()}, file.path)
    assert [claim.id for claim in choose(file, ["memory"]).claims] == ["memory"]


def claim(**changes: Any) -> Claim:
    values = {
        "id": "c",
        "says": "it | is",
        "source": "s",
        "experiment": "e",
        "metric": "latency.mean_seconds",
        "comparison": "at_most",
        "value": 1.0,
    }
    return Claim(**(values | changes))


def runs(*values: float) -> dict[str, list[RunFigures]]:
    return {"e": [RunFigures(True, (), {"latency.mean_seconds": value}) for value in values]}


EXPERIMENT = LoadExperiment(scenario="hold", connections=1)


@pytest.mark.parametrize(
    ("changes", "values", "verdict"),
    [
        ({}, (0.5, 0.51, 0.52), Verdict.HOLDS),
        ({}, (1.5, 1.51, 1.52), Verdict.REFUTED),
        ({}, (0.5, 1.0, 1.4), Verdict.INCONCLUSIVE),
        ({}, (1.0, 1.0, 1.0), Verdict.HOLDS),
        ({"comparison": "at_least"}, (1.5, 1.51, 1.52), Verdict.HOLDS),
        ({"comparison": "at_least"}, (0.5, 0.51, 0.52), Verdict.REFUTED),
        ({"comparison": "within", "tolerance": 0.1}, (1.0, 1.01, 0.99), Verdict.HOLDS),
        ({"comparison": "within", "tolerance": 0.1}, (2.0, 2.01, 1.99), Verdict.REFUTED),
        ({"comparison": "within", "tolerance": 0.1}, (1.05, 1.1, 1.15), Verdict.INCONCLUSIVE),
    ],
)
def test_only_an_interval_that_is_all_on_one_side_decides(
    changes: dict[str, Any], values: tuple[float, ...], verdict: Verdict
) -> None:
    assert judge(claim(**changes), EXPERIMENT, runs(*values)).verdict is verdict


@pytest.mark.parametrize(
    ("measured", "reason"),
    [
        (runs(0.5), "at least 2 runs"),
        ({}, "at least 2 runs"),
        (runs(0.5, math.nan), "run 2 of e has no figure"),
        ({"e": [RunFigures(True, (), {})] * 3}, "run 1 of e has no figure 'latency.mean_seconds'"),
        (
            {"e": [*runs(0.5, 0.5)["e"], RunFigures(False, ("sent late",), {})]},
            "run 3 of e is invalid: sent late",
        ),
    ],
)
def test_what_was_not_measured_is_never_a_pass(
    measured: dict[str, list[RunFigures]], reason: str
) -> None:
    result = judge(claim(), EXPERIMENT, measured)
    assert result.verdict is Verdict.NOT_MEASURED
    assert reason in result.reasons[0]
    assert outcome_of_claims([result]).status is ExitStatus.INVALID


def test_a_baseline_makes_it_a_ratio_run_by_run() -> None:
    measured = {
        "e": [RunFigures(True, (), {"latency.mean_seconds": value}) for value in (1.1, 2.2, 4.4)],
        "b": [RunFigures(True, (), {"latency.mean_seconds": value}) for value in (1.0, 2.0, 4.0)],
    }
    result = judge(claim(baseline="b", value=1.2), EXPERIMENT, measured)
    assert result.verdict is Verdict.HOLDS
    assert result.estimate is not None
    assert result.estimate.value == pytest.approx(1.1)
    assert result.bound == "at most 1.2 times"


def result(verdict: Verdict, expected: Verdict = Verdict.HOLDS) -> ClaimResult:
    measured = runs(0.5, 0.5)
    judged = judge(claim(expected=expected), EXPERIMENT, measured)
    return ClaimResult(
        **{name: getattr(judged, name) for name in ClaimResult.__slots__} | {"verdict": verdict}
    )


@pytest.mark.parametrize(
    ("verdicts", "status", "last"),
    [
        ([result(Verdict.HOLDS)], ExitStatus.HELD, "HELD: every verdict is as expected"),
        (
            [result(Verdict.REFUTED)],
            ExitStatus.FAILED,
            "FAILED: c: refuted, expected was holds",
        ),
        (
            [result(Verdict.REFUTED, expected=Verdict.REFUTED)],
            ExitStatus.HELD,
            "HELD: every verdict is as expected",
        ),
        (
            [result(Verdict.HOLDS, expected=Verdict.REFUTED)],
            ExitStatus.FAILED,
            "FAILED: c: holds, expected was refuted",
        ),
        (
            [result(Verdict.INCONCLUSIVE)],
            ExitStatus.INCONCLUSIVE,
            "INCONCLUSIVE: no decision on c",
        ),
        (
            [result(Verdict.INCONCLUSIVE), result(Verdict.REFUTED)],
            ExitStatus.FAILED,
            "FAILED: c: refuted, expected was holds",
        ),
        (
            [result(Verdict.NOT_MEASURED), result(Verdict.REFUTED)],
            ExitStatus.INVALID,
            "INVALID: not measured: c",
        ),
    ],
)
def test_the_exit_status_is_that_of_the_gravest_verdict(
    verdicts: list[ClaimResult], status: ExitStatus, last: str
) -> None:
    outcome = outcome_of_claims(verdicts)
    assert outcome.status is status
    assert outcome.line == last


def test_the_table_is_markdown_whatever_a_sentence_contains() -> None:
    table = verdict_markdown([result(Verdict.HOLDS), result(Verdict.INCONCLUSIVE)])
    assert "it \\| is" in table
    rows = table.strip().splitlines()
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1
    assert tally([result(Verdict.REFUTED)]) == "1 claim: 1 refuted. Not as expected: c."


def test_rounds_are_interleaved_and_every_second_one_goes_backwards() -> None:
    experiments = {
        "a": LoadExperiment(scenario="hold", connections=1, repeats=3),
        "b": AloneExperiment(kind="alone", subject="thread", count=1, repeats=2),
    }
    assert [(turn.name, turn.repeat) for turn in turns(experiments)] == [
        ("a", 0),
        ("b", 0),
        ("b", 1),
        ("a", 1),
        ("a", 2),
    ]
