"""What a gate decided is told once, for a terminal, for CI servers and for programs."""

import json
import xml.etree.ElementTree as ET
from dataclasses import replace

import pytest
from rich.console import Console

from reports.gate_decision import GateDecision, GateVerdict, MetricDecision
from reports.outcome import ExitStatus
from reports.tables.gate_table import (
    GateReport,
    gate_document,
    gate_junit,
    gate_lines,
    gate_markdown,
    gate_table,
    outcome_of_gate,
)

CPU = "echo: server.cpu_per_message_seconds"
FAILING = MetricDecision(
    CPU, GateVerdict.FAILS, "+10.0 %, at least +7.00 %, where +5.00 % is accepted",
    ratio=1.1, low=1.07, high=1.13, bound=1.05, blocks=16,
)  # fmt: skip
OPEN = MetricDecision(
    "echo: b|c", GateVerdict.INCONCLUSIVE, "too few", ratio=1.0, blocks=16, blocks_needed=90
)
EXACT = MetricDecision(
    "code: calls", GateVerdict.PASSES, "7 in both", ratio=1.0, low=1.0, high=1.0, blocks=2
)
REPORT = GateReport(
    GateDecision(
        GateVerdict.FAILS,
        f"fails after 16 of 48 blocks: {CPU}: {FAILING.reason}",
        (FAILING, OPEN, EXACT),
        16, (8, 16, 24, 32, 40, 48), 2, 0.01, 0.05,
    ),
    base="main 0123456789ab",
    head="working \x1b[31mtree",
    labels={CPU: "echo: server CPU per message"},
    seconds=200.0,
    repeated=("echo on base: sent late",),
    again="swarmgate gate --base main",
)  # fmt: skip


@pytest.mark.parametrize(
    ("verdict", "status"),
    [
        (GateVerdict.PASSES, ExitStatus.HELD),
        (GateVerdict.FAILS, ExitStatus.FAILED),
        (GateVerdict.INCONCLUSIVE, ExitStatus.INCONCLUSIVE),
        (GateVerdict.UNDECIDED, ExitStatus.INCONCLUSIVE),
    ],
)
def test_only_a_gate_that_passes_ends_with_0(verdict: GateVerdict, status: ExitStatus) -> None:
    decided = replace(REPORT.decision, verdict=verdict, sentence=f"{verdict} after 3 blocks")
    outcome = outcome_of_gate(replace(REPORT, decision=decided))
    assert outcome.line == f"{status.name}: after 3 blocks"


def test_the_line_says_why_in_the_words_of_the_table() -> None:
    assert outcome_of_gate(REPORT).line == (
        "FAILED: after 16 of 48 blocks: echo: server CPU per message: "
        "+10.0 %, at least +7.00 %, where +5.00 % is accepted"
    )


def test_the_table_stands_whole_in_80_columns() -> None:
    console = Console(width=80, record=True)
    console.print(gate_table(REPORT))
    text = console.export_text()
    for part in ("✘ fails", "+10.0 % (+7.00 to +13.0)", "+5.00 %", "exact", "? inconclusive"):
        assert part in text


def test_nothing_that_somebody_else_wrote_reaches_the_terminal_raw() -> None:
    lines = "\n".join(gate_lines(REPORT))
    assert "\x1b" not in lines
    assert "about 90 blocks would decide" in lines
    assert "Repeated: 1 run, such as echo on base: sent late" in lines


def test_markdown_is_a_table_whatever_a_name_has_in_it() -> None:
    rows = [row for row in gate_markdown(REPORT).splitlines() if row.startswith("|")]
    assert len({row.replace("\\|", "").count("|") for row in rows}) == 1
    assert "| echo: server CPU per message |" in gate_markdown(REPORT)
    assert "✘ FAILED: after 16" in gate_markdown(REPORT)


def test_junit_has_a_case_for_each_metric() -> None:
    suite = ET.fromstring(gate_junit(REPORT))  # noqa: S314 - we have written it
    assert [suite.get(it) for it in ("tests", "failures", "skipped")] == ["3", "1", "1"]
    failed, skipped, passed = suite.iter("testcase")
    assert failed.find("failure") is not None
    assert skipped.find("skipped") is not None
    assert len(passed) == 0


def test_json_has_no_infinity() -> None:
    text = json.dumps(gate_document(REPORT), allow_nan=False)
    assert json.loads(text)["metrics"][1]["high"] is None
