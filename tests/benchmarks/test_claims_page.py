"""The page on claims files says what the code takes, and shows the example as it is."""

import re
import tomllib
from pathlib import Path

import pytest

from benchmarks.claims.claims_file import Claim
from benchmarks.claims.reading import load_claims
from benchmarks.runs import reading
from benchmarks.runs.experiments import AloneExperiment
from benchmarks.runs.tables import TargetTable, WorkloadTable
from reports.outcome import ExitStatus, Verdict

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/claims.md").read_text()
EXAMPLES = sorted((ROOT / "examples").glob("claims_*.toml"))


def keys(head: str) -> list[str]:
    """Return the first cells of the table whose head begins so."""
    table = PAGE[PAGE.index(f"\n| {head} |") :].split("\n\n", 1)[0]
    return re.findall(r"^\| `?([^`|]+?)`? \|", table, re.MULTILINE)[1:]


@pytest.mark.parametrize(
    ("head", "known"),
    [
        ("target", [*TargetTable.model_fields, "vary"]),
        ("experiment", [*WorkloadTable.model_fields, *reading._ExperimentTable.model_fields]),
        ("alone", list(AloneExperiment.model_fields)),
        ("claim", list(Claim.model_fields)),
        ("verdict", [verdict.value for verdict in Verdict]),
        ("status", [str(status.value) for status in ExitStatus]),
    ],
)
def test_the_page_lists_every_key_verdict_and_status(head: str, known: list[str]) -> None:
    assert sorted(keys(head)) == sorted(known)


def test_the_example_on_the_page_is_the_one_in_the_file() -> None:
    shown = PAGE[PAGE.index("```toml") + 7 : PAGE.index("```", PAGE.index("```toml") + 7)]
    whole = tomllib.loads((ROOT / "examples/claims_node_ws.toml").read_text())
    part = tomllib.loads(shown)
    assert part["target"] == whole["target"]
    assert all(whole["experiment"][name] == it for name, it in part["experiment"].items())
    assert all(claim in whole["claim"] for claim in part["claim"])


@pytest.mark.parametrize("path", EXAMPLES, ids=[path.stem for path in EXAMPLES])
def test_an_example_has_a_claim_of_each_sort(path: Path) -> None:
    claims = load_claims(path).claims
    assert any(claim.baseline_target for claim in claims)
    assert any(claim.expected is Verdict.REFUTED for claim in claims)
    assert {"connections.open", "integrity.lost", "server.memory_per_connection_bytes"} <= {
        claim.metric for claim in claims
    }
