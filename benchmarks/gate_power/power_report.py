"""What a series, whole gates and counts show about the gate, as Markdown: false alarms, power."""

import statistics
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Final

from benchmarks.gate.sides import BASE
from benchmarks.gate_power.heads import SAME, WORSE
from benchmarks.gate_power.replays import (
    SAMPLES,
    Drawn,
    Replayed,
    drawn,
    effect,
    from_every_start,
    one_after_the_other,
    share_interval,
)
from benchmarks.gate_power.series import Round
from benchmarks.judging.decision import Block, decide
from benchmarks.judging.plan import FEWEST_EXACT_RUNS, ExactMetric, Plan, SampledMetric
from reports.figures import figure
from reports.gate_decision import GateVerdict
from reports.tables.markdown import markdown_table
from reports.units import format_change, format_seconds, significant

_VERDICTS: Final = (GateVerdict.FAILS, GateVerdict.PASSES, GateVerdict.INCONCLUSIVE)


@dataclass(frozen=True, slots=True)
class Whole:
    """A whole gate that was run, and how it ended."""

    head: str
    verdict: str
    blocks: int
    seconds: float
    sentence: str


def power_markdown(
    plan: Plan,
    rounds: Sequence[Round],
    wholes: Sequence[Whole],
    counts: Mapping[str, Sequence[Mapping[str, float]]],
    *,
    samples: int = SAMPLES,
) -> str:
    """Write all tables.

    Args:
        plan: the plan of the gate, with metrics named ``load: figure``.
        rounds: the rounds of the series.
        wholes: the whole gates.
        counts: for each application, the results of counting it repeatedly.
        samples: the number of samples of the rounds, for gates that are drawn from them.
    """
    parts = []
    if rounds:
        parts += ["## Replayed over the series\n", *_series(plan, rounds, samples)]
    if wholes:
        parts += ["## Whole gates\n", *_wholes(wholes)]
    if counts:
        parts += ["## Counted, without a network\n", *_counts(plan, counts)]
    return "\n".join(parts) + "\n"


def _series(plan: Plan, rounds: Sequence[Round], samples: int) -> Iterator[str]:
    sampled = replace(plan, metrics=plan.sampled)
    figures = {it.name: it.name.partition(": ")[2] for it in sampled.metrics}
    heads = list(rounds[0].values)
    seconds = statistics.fmean(round_.seconds for round_ in rounds)
    runs = sum(len(round_.order) for round_ in rounds)
    blocks = 2 * seconds
    yield (
        f"{len(rounds)} rounds, {runs} runs of {significant(seconds)} s in total, so that a block "
        f"takes {format_seconds(blocks)} and a gate of at most {plan.looks[-1]} blocks "
        f"{format_seconds(blocks * plan.looks[-1])}.\n"
    )
    yield _table(
        ("head", *(figure(it).label for it in figures.values())),
        ((name, *(_effect(rounds, name, it) for it in figures.values())) for name in heads),
    )
    yield "Gates one after the other, no run in two of them:\n"
    yield _table(
        ("head", "gates", *map(str, _VERDICTS), "blocks", "time"),
        (_row(name, one_after_the_other(sampled, rounds, name, figures), blocks) for name in heads),
    )
    yield "One metric alone, where head is the same as base in it, one gate after the other:\n"
    yield _table(
        ("head", "metric", "gates", *map(str, _VERDICTS)),
        (
            (name, figure(figures[metric.name]).label, *_tally(sampled, rounds, name, metric))
            for name in heads
            for metric in sampled.sampled
            if WORSE.get(name) != figures[metric.name]
        ),
    )
    yield (
        "One gate from each round that has enough rounds after it. Neighbours share nearly all of "
        "their runs, so that these shares have no interval:\n"
    )
    yield _table(
        ("head", "gates", *map(str, _VERDICTS), "blocks", "time"),
        (
            _row(name, from_every_start(sampled, rounds, name, figures), blocks, overlap=True)
            for name in heads
        ),
    )
    yield (
        "Gates whose blocks are drawn from these rounds, so that what rounds in a row have in "
        "common is not in them; where all gates ended alike there is no interval to show:\n"
    )
    yield _table(
        ("head", *map(str, _VERDICTS)),
        (
            (head, *(_drawn(ended[it]) for it in _VERDICTS))
            for head, ended in _drawn_gates(sampled, rounds, figures, samples)
        ),
    )


def _drawn_gates(
    plan: Plan, rounds: Sequence[Round], figures: Mapping[str, str], samples: int
) -> Iterator[tuple[str, Mapping[GateVerdict, Drawn]]]:
    """Draw gates on each head, and on the unchanged one made worse by what is accepted."""
    for name in rounds[0].values:
        yield name, drawn(plan, rounds, name, figures, samples=samples)
        if name == SAME:
            raised = f"{name}, each figure raised to what is accepted"
            yield raised, drawn(plan, rounds, name, figures, by_arithmetic=True, samples=samples)


def _drawn(share: Drawn) -> str:
    if share.low == share.high:
        return _percent(share.value)
    return f"{_percent(share.value)} ({_percent(share.low)} to {_percent(share.high)})"


def _tally(
    plan: Plan, rounds: Sequence[Round], head: str, metric: SampledMetric
) -> tuple[str, ...]:
    """Return how many gates on one metric there would have been, and how many by verdict."""
    figures = {metric.name: metric.name.partition(": ")[2]}
    alone = one_after_the_other(replace(plan, metrics=(metric,)), rounds, head, figures)
    return str(alone.gates), *(str(alone.verdicts.get(it, 0)) for it in _VERDICTS)


def _effect(rounds: Sequence[Round], head: str, name: str) -> str:
    value, low, high = effect(rounds, head, name)
    return f"{format_change(value)} ({format_change(low)} to {format_change(high)})"


def _row(
    head: str, replayed: Replayed, block_seconds: float, *, overlap: bool = False
) -> tuple[str, ...]:
    if not replayed.gates:
        return (head, "0", *("–",) * 5)
    # No interval is known for gates that share runs.
    intervals = ("" if overlap else f" ({_interval(replayed, it)})" for it in _VERDICTS)
    shares = map("{}{}".format, (_percent(replayed.share(it)) for it in _VERDICTS), intervals)
    blocks = statistics.fmean(replayed.blocks)
    return (
        head,
        str(replayed.gates),
        *shares,
        significant(blocks),
        format_seconds(blocks * block_seconds),
    )


def _interval(replayed: Replayed, verdict: GateVerdict) -> str:
    low, high = share_interval(replayed.verdicts.get(verdict, 0), replayed.gates)
    return f"{_percent(low)} to {_percent(high)}"


def _percent(share: float) -> str:
    return f"{significant(share * 100)} %"


def _wholes(wholes: Sequence[Whole]) -> Iterator[str]:
    yield _table(
        ("head", "verdict", "blocks", "time", "why"),
        (
            (it.head, it.verdict, str(it.blocks), format_seconds(it.seconds), it.sentence)
            for it in wholes
        ),
    )


def _counts(plan: Plan, counts: Mapping[str, Sequence[Mapping[str, float]]]) -> Iterator[str]:
    exact = tuple(it for it in plan.metrics if isinstance(it, ExactMetric))
    base = counts[BASE]
    yield (
        f"{len(base)} counts of each, judged in {len(base) // FEWEST_EXACT_RUNS} gates of "
        f"{FEWEST_EXACT_RUNS} of each side.\n"
    )
    names = {it.name: it.name.partition(": ")[2] for it in exact}
    yield _table(
        ("", *(figure(name).label for name in names.values())),
        (
            (head, *(_counted(base, counted, name) for name in names.values()))
            for head, counted in counts.items()
        ),
    )
    yield _table(
        ("head", "gates", "fail", "by"),
        (
            _judged(exact, names, head, base, counted)
            for head, counted in counts.items()
            if head != BASE
        ),
    )


def _counted(
    base: Sequence[Mapping[str, float]], counted: Sequence[Mapping[str, float]], name: str
) -> str:
    values = [it[name] for it in counted if name in it]
    if not values:
        return "–"
    low, high = min(values), max(values)
    text = f"{low:,.9g}" if low == high else f"{low:,.9g} to {high:,.9g}"
    reference = [it[name] for it in base if name in it]
    factor = statistics.median(values) / statistics.median(reference) if any(reference) else 1.0
    return text if counted is base else f"{text} ({format_change(factor)})"


def _judged(
    exact: Sequence[ExactMetric],
    names: Mapping[str, str],
    head: str,
    base: Sequence[Mapping[str, float]],
    counted: Sequence[Mapping[str, float]],
) -> tuple[str, ...]:
    plan = Plan(tuple(exact), (1,))
    decisions = []
    for start in range(0, len(base) - FEWEST_EXACT_RUNS + 1, FEWEST_EXACT_RUNS):
        of_base, of_head = (
            {
                metric: [it[name] for it in side[start : start + FEWEST_EXACT_RUNS] if name in it]
                for metric, name in names.items()
            }
            for side in (base, counted)
        )
        decisions.append(decide(plan, [Block(of_base, of_head)], is_last=True))
    failed = [it for it in decisions if it.verdict is GateVerdict.FAILS]
    by = sorted(
        {
            names[metric.name]
            for it in failed
            for metric in it.metrics
            if metric.verdict is GateVerdict.FAILS
        }
    )
    return head, str(len(decisions)), str(len(failed)), ", ".join(by) or "–"


def _table(head: Sequence[str], rows: Iterator[Sequence[str]]) -> str:
    return markdown_table([head, ["---"] * len(head), *rows])
