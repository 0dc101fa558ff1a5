"""Make the blocks of a gate, one after the other, until it is decided or its budget is used up."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from benchmarks.counting.count import count
from benchmarks.counting.process import CountError, Subject
from benchmarks.gate.journal import JOURNAL, MeasuredBlock, append
from benchmarks.gate.settings import GateSettings
from benchmarks.gate.sides import BASE, HEAD, Side
from benchmarks.judging.decision import Block, decide
from benchmarks.judging.plan import FEWEST_EXACT_RUNS, Plan, block_order
from benchmarks.runs.making import RunFigures, Watch, make_run
from reports.gate_decision import GateDecision, GateVerdict
from reports.record import RECORD_SUFFIX
from reports.units import format_count

# Of each side in a block: see docs/gate-statistics.md for why it is not two.
RUNS: Final = 1
# Blocks in which is counted, what is the same each time.
_COUNTED_BLOCKS: Final = FEWEST_EXACT_RUNS // RUNS
_LETTERS: Final = {"A": BASE, "B": HEAD}
# What is wrong with a server, however fast it is.
_FAULTS: Final = {
    "errors": "errors",
    "integrity.lost": "messages lost",
    "integrity.duplicated": "messages duplicated",
    "integrity.reordered": "messages reordered",
    "integrity.corrupted": "messages corrupted",
}

Clock = Callable[[], float]
"""Gives seconds that only go forwards."""


class GateError(Exception):
    """Nothing can be decided; the message says what could not be measured, and why."""


class HeadFailedError(Exception):
    """Head does not do what base does; the message says what."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What is compared, and where that is kept.

    Attributes:
        sides: base and head by their names.
        folder: of the records and the journal.
        seed: of the orders in which runs are made, and of the runs.
    """

    settings: GateSettings
    sides: Mapping[str, Side]
    folder: Path
    seed: int


@dataclass(slots=True)
class _Gathered:
    """What the runs of one side in a block have measured so far."""

    values: dict[str, list[float]] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    def add(self, metric: str, value: float) -> None:
        self.values.setdefault(metric, []).append(value)


def rehearse(gate: Gate, watch: Watch, clock: Clock = time.monotonic) -> float:
    """Make a run of each side that nothing is kept of; give the seconds that they took.

    Whatever is done only once on a machine, such as compiling modules, is done then. How many
    blocks there may be has to be fixed before the first, and is found out by this.

    Raises:
        HeadFailedError: head does not do what base does.
        GateError: base does not run.
    """
    began = clock()
    maker = _Maker(gate, -1, watch)
    for name in (BASE, HEAD):
        maker.rehearse(gate.sides[name])
    return clock() - began


def run_gate(
    gate: Gate, done: Sequence[MeasuredBlock], watch: Watch, clock: Clock = time.monotonic
) -> tuple[GateDecision, tuple[MeasuredBlock, ...]]:
    """Make blocks until it is decided; give the decision and all blocks.

    Args:
        gate: what is compared.
        done: blocks that were made before, of a gate that goes on.
        watch: gives what is told of the lines of each run.
        clock: what the budget is counted by.

    Raises:
        GateError: a run says nothing, however often it is made.
        InterruptedRunError: a person ended it; whole blocks are kept.
        JournalError: what was measured cannot be kept.
        RecordError: a record cannot be written.
    """
    plan, blocks = gate.settings.plan(), list(done)
    while True:
        decision = decided(plan, blocks, is_last=_is_used_up(gate, blocks))
        if decision.verdict is not GateVerdict.UNDECIDED:
            return decision, tuple(blocks)
        try:
            block = _Maker(gate, len(blocks), watch).make(clock)
        except HeadFailedError as error:
            return failed(decision, error), tuple(blocks)
        append(gate.folder / JOURNAL, block)
        blocks.append(block)


def failed(decision: GateDecision, error: HeadFailedError) -> GateDecision:
    """Give the decision where head does not do what base does."""
    return replace(decision, verdict=GateVerdict.FAILS, sentence=f"{GateVerdict.FAILS}: {error}")


def decided(plan: Plan, blocks: Sequence[MeasuredBlock], *, is_last: bool = False) -> GateDecision:
    """Give what blocks say: their metrics, and what went wrong in head though not in base."""
    decision = decide(plan, [Block(it.base, it.head) for it in blocks], is_last=is_last)
    wrong = [fault for block in blocks for fault in block.faults.get(HEAD, ())]
    if wrong and not any(block.faults.get(BASE) for block in blocks):
        sentence = f"fails after {len(blocks)} blocks: head has {wrong[0]}, and base has none"
        return replace(decision, verdict=GateVerdict.FAILS, sentence=sentence)
    return decision


def _is_used_up(gate: Gate, blocks: Sequence[MeasuredBlock]) -> bool:
    """Tell whether the budget has no room for another block as long as the longest."""
    if not blocks:
        return False
    seconds = [block.seconds for block in blocks]
    return sum(seconds) + max(seconds) > gate.settings.budget_seconds


class _Maker:
    """Makes one block."""

    def __init__(self, gate: Gate, number: int, watch: Watch) -> None:
        self._gate = gate
        self._number = number
        self._watch = watch
        self._gathered = {BASE: _Gathered(), HEAD: _Gathered()}

    def make(self, clock: Clock) -> MeasuredBlock:
        """Make it; what is counted is the same each time, and is counted in the first ones."""
        began = clock()
        order = block_order(self._gate.seed, self._number, RUNS)
        for turn, letter in enumerate(order, 1):
            side = self._gate.sides[_LETTERS[letter]]
            title = f"block {self._number + 1} of at most {self._gate.settings.blocks}, run {turn}"
            self._measure(side, f"{self._number + 1:02}-{turn}-{side.name}", title)
            if self._number < _COUNTED_BLOCKS:
                self._count(side, title)
        base, head = self._gathered[BASE], self._gathered[HEAD]
        return MeasuredBlock(
            block=self._number,
            order=order,
            seconds=clock() - began,
            base=base.values,
            head=head.values,
            repeated=(*base.repeated, *head.repeated),
            faults={BASE: tuple(base.faults), HEAD: tuple(head.faults)},
        )

    def rehearse(self, side: Side) -> None:
        """Make a run of each load on a side."""
        self._measure(side, f"rehearsal-{side.name}", "rehearsal")

    def _measure(self, side: Side, name: str, title: str) -> None:
        """Make one run of each load on a side."""
        into = self._gathered[side.name]
        for load in self._gate.settings.loads:
            made = make_run(
                self._gate.settings.case(load, side.target),
                self._gate.folder / f"{name}-{load}{RECORD_SUFFIX}",
                seed=self._gate.seed,
                title=f"{title}: {load} on {side.name}",
                watch=self._watch,
            )
            into.repeated += [f"{load} on {side.name}: {reason}" for reason in made.repeated]
            if not made.valid:
                why = f"{load} on {side.name}: {'; '.join(made.reasons)}"
                if made.failures and side.name == HEAD:
                    raise HeadFailedError(why)
                raise GateError(why)
            into.faults += [f"{told} ({load})" for told in _faults(made)]
            self._keep(load, made.figures, into)

    def _count(self, side: Side, title: str) -> None:
        for name, counted in self._gate.settings.counts.items():
            subject = Subject(counted.app, side.python, side.directory)
            asked = {it.figure for it in self._gate.settings.metrics if it.load == name}
            with self._watch(f"{title}: {name} of {side.name}"):
                try:
                    found = count(subject, counted.load, asked=asked)
                except CountError as error:
                    raise GateError(f"{name} of {side.name}: {error}") from None
            if found.missing:
                kind, missing = next(iter(found.missing.items()))
                raise GateError(
                    f"{name} of {side.name}: {missing.reason}, without which there are no {kind}; "
                    "leave out the metrics of them"
                )
            self._keep(name, found.figures, self._gathered[side.name])

    def _keep(self, load: str, figures: Mapping[str, float], into: _Gathered) -> None:
        for metric in self._gate.settings.metrics:
            if metric.load == load and metric.figure in figures:
                into.add(metric.name, figures[metric.figure])


def _faults(made: RunFigures) -> Iterator[str]:
    for figure, told in _FAULTS.items():
        if number := made.figures.get(figure, 0):
            yield f"{format_count(number)} {told}"
