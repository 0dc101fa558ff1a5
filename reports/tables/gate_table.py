"""What a gate decided, for people and programs: a sentence, a table, Markdown, JUnit, JSON."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final
from xml.etree import ElementTree as ET

from rich import box
from rich.table import Table
from rich.text import Text

from reports.gate_decision import GateDecision, GateVerdict, MetricDecision
from reports.outcome import ExitStatus, Outcome
from reports.printable import printable
from reports.tables.markdown import markdown_table
from reports.units import format_change, format_seconds, significant

STATUSES: Final[Mapping[GateVerdict, ExitStatus]] = {
    GateVerdict.PASSES: ExitStatus.HELD,
    GateVerdict.FAILS: ExitStatus.FAILED,
    GateVerdict.INCONCLUSIVE: ExitStatus.INCONCLUSIVE,
    GateVerdict.UNDECIDED: ExitStatus.INCONCLUSIVE,
}
_MARKS: Final = {
    GateVerdict.PASSES: ("✔", "green"),
    GateVerdict.FAILS: ("✘", "red"),
    GateVerdict.INCONCLUSIVE: ("?", "yellow"),
    GateVerdict.UNDECIDED: ("…", "dim"),
}
_COLUMNS: Final = ("verdict", "metric", "head to base, interval", "accepted")


@dataclass(frozen=True, slots=True)
class GateReport:
    """A gate as it is reported.

    Attributes:
        decision: what was decided.
        base, head: what was compared.
        labels: the human-readable name of each metric.
        seconds: how long the blocks took.
        repeated: why runs were repeated.
        again: the command that repeats the gate.
    """

    decision: GateDecision
    base: str
    head: str
    labels: Mapping[str, str]
    seconds: float
    repeated: Sequence[str] = ()
    again: str = ""


def outcome_of_gate(report: GateReport) -> Outcome:
    """Return how a gate ended."""
    decision = report.decision
    # The status already names the verdict.
    sentence = decision.sentence.removeprefix(decision.verdict).lstrip(": ")
    for name, label in report.labels.items():
        sentence = sentence.replace(f"{name}:", f"{label}:")
    return Outcome(STATUSES[decision.verdict], (printable(sentence),))


def gate_table(report: GateReport) -> Table:
    """Draw the metrics for a terminal."""
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for name in _COLUMNS:
        is_number = name == "accepted"
        table.add_column(name, justify="right" if is_number else "left", no_wrap=name != "metric")
    for metric in report.decision.metrics:
        mark, colour = _MARKS[metric.verdict]
        table.add_row(Text(f"{mark} {metric.verdict}", style=colour), *_cells(report, metric))
    return table


def gate_lines(report: GateReport) -> Iterator[str]:
    """Yield what a reader of the table should know."""
    decision = report.decision
    yield f"base: {printable(report.base)}"
    yield f"head: {printable(report.head)}"
    yield (
        f"{decision.blocks} of at most {decision.looks[-1]} blocks in "
        f"{format_seconds(report.seconds)}, looked at after {_listed(decision)}. An unchanged head "
        f"fails with a chance of at most {_percent(decision.false_alarm)}, over all metrics and "
        f"looks{_by_faults(decision)}; one that is worse by more than is accepted passes with at "
        f"most {_percent(decision.false_pass)}."
    )
    for metric in decision.metrics:
        if metric.verdict in (GateVerdict.INCONCLUSIVE, GateVerdict.UNDECIDED):
            yield f"{_label(report, metric)}: {metric.reason}{_needed(metric)}"
    if report.repeated:
        count = len(report.repeated)
        runs = "run" if count == 1 else "runs"
        yield f"Repeated: {count} {runs}, such as {printable(report.repeated[0])}"


def gate_markdown(report: GateReport) -> str:
    """Write the sentence and the table, with the details behind them folded away."""
    rows = [
        _COLUMNS,
        ("---", "---", "---", "--:"),
        *(
            (f"{_MARKS[it.verdict][0]} **{it.verdict}**", *_cells(report, it))
            for it in report.decision.metrics
        ),
    ]
    table = markdown_table(rows)
    mark = _MARKS[report.decision.verdict][0]
    lines = "".join(f"- {line}\n" for line in gate_lines(report))
    again = f"\n```sh\n{report.again}\n```\n" if report.again else ""
    return (
        f"{mark} {outcome_of_gate(report).line}\n\n{table}\n"
        f"<details><summary>How this was measured</summary>\n\n{lines}{again}\n</details>\n"
    )


def gate_junit(report: GateReport) -> str:
    """Write a test case for each metric, in the format that CI servers read (JUnit's)."""
    metrics = report.decision.metrics
    bad = [it for it in metrics if it.verdict is GateVerdict.FAILS]
    open_ = [
        it for it in metrics if it.verdict in (GateVerdict.INCONCLUSIVE, GateVerdict.UNDECIDED)
    ]
    suite = ET.Element(
        "testsuite",
        name="swarmgate gate",
        tests=str(len(metrics)),
        failures=str(len(bad)),
        skipped=str(len(open_)),
        errors="0",
        time=f"{report.seconds:.3f}",
    )
    for metric in metrics:
        case = ET.SubElement(
            suite, "testcase", classname="swarmgate.gate", name=_label(report, metric), time="0"
        )
        if metric in bad:
            ET.SubElement(case, "failure", message=printable(metric.reason))
        elif metric in open_:
            ET.SubElement(case, "skipped", message=f"{metric.verdict}: {printable(metric.reason)}")
    ET.SubElement(suite, "system-out").text = outcome_of_gate(report).line
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def gate_document(report: GateReport) -> dict[str, Any]:
    """Return the report for programs; a limit that is not known is null."""
    outcome = outcome_of_gate(report)
    metrics = [
        {
            key: None if isinstance(value, float) and math.isinf(value) else value
            for key, value in asdict(metric).items()
        }
        for metric in report.decision.metrics
    ]
    return {
        "status": outcome.status,
        "outcome": outcome.line,
        "base": report.base,
        "head": report.head,
        "seconds": report.seconds,
        "repeated": list(report.repeated),
        **(asdict(report.decision) | {"metrics": metrics}),
    }


def _cells(report: GateReport, metric: MetricDecision) -> tuple[str, ...]:
    estimate = "–" if metric.ratio is None else f"{format_change(metric.ratio)}{_interval(metric)}"
    accepted = "" if metric.bound is None else format_change(metric.bound)
    return _label(report, metric), estimate, accepted


def _label(report: GateReport, metric: MetricDecision) -> str:
    return report.labels.get(metric.name, metric.name)


def _interval(metric: MetricDecision) -> str:
    if metric.low == metric.high:
        return ", exact"
    low = format_change(metric.low).removesuffix(" %") if metric.low else "?"
    high = format_change(metric.high).removesuffix(" %") if math.isfinite(metric.high) else "?"
    return "" if low == high == "?" else f" ({low} to {high})"


def _needed(metric: MetricDecision) -> str:
    if metric.blocks_needed is None:
        return ""
    return f"; about {metric.blocks_needed} blocks would decide, should it stay what it is"


def _by_faults(decision: GateDecision) -> str:
    if not decision.fault_alarm:
        return ""
    return f", and of {_percent(decision.fault_alarm)} by runs with faults"


def _listed(decision: GateDecision) -> str:
    return ", ".join(map(str, decision.looks[: max(1, decision.looks_taken)]))


def _percent(share: float) -> str:
    return f"{significant(share * 100)} %"
