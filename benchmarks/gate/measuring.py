"""Make the blocks of a gate, one after another, until it is decided or its budget is used up."""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Final

from benchmarks.counting.count import Count, count
from benchmarks.counting.figures import FIGURES
from benchmarks.counting.process import CountError, Subject
from benchmarks.gate.journal import JOURNAL, MeasuredBlock, append
from benchmarks.gate.settings import GateMetric, GateSettings
from benchmarks.gate.sides import BASE, HEAD, Side
from benchmarks.judging.decision import Block, decide
from benchmarks.judging.plan import FEWEST_EXACT_RUNS, Plan, block_order
from benchmarks.judging.run_figures import RunFigures
from benchmarks.runs.making import TRIES, Watch, beside, make_run
from reports.faults import faults_found
from reports.gate_decision import GateDecision, GateVerdict, MetricDecision
from reports.record import RECORD_SUFFIX

# Blocks in which counting is done, as counts are the same every time; each has one run per side.
COUNTED_BLOCKS: Final = FEWEST_EXACT_RUNS
_LETTERS: Final = {"A": BASE, "B": HEAD}

Clock = Callable[[], float]
"""Returns seconds that only go forwards."""


class GateError(Exception):
    """A gate that cannot decide anything; the message says what could not be measured, and why."""


class HeadFailedError(Exception):
    """A head that does not do what base does; the message says what."""


@dataclass(frozen=True, slots=True)
class Gate:
    """What is compared, and where the results are kept.

    Attributes:
        sides: base and head by their names.
        folder: the folder of the records and the journal.
        seed: the seed of the orders in which runs are made, and of the runs.
    """

    settings: GateSettings
    sides: Mapping[str, Side]
    folder: Path
    seed: int


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What a run of each side showed, none of which is kept.

    Attributes:
        seconds: how long the runs took; ``counting_seconds`` is how long counting took.
        missing: default metrics that base does not have, or that cannot be counted here, and why.
    """

    seconds: float
    counting_seconds: float
    missing: Mapping[GateMetric, str]


@dataclass(slots=True)
class _Gathered:
    """What the runs of one side in a block have measured so far."""

    values: dict[str, list[float]] = field(default_factory=dict)
    repeated: list[str] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)
    missing: dict[GateMetric, str] = field(default_factory=dict)

    def add(self, metric: str, value: float) -> None:
        self.values.setdefault(metric, []).append(value)


def rehearse(gate: Gate, watch: Watch, clock: Clock = time.monotonic) -> Rehearsal:
    """Make a run of each side and count it, keeping nothing.

    Anything that happens only once on a machine, such as compiling modules, happens here. The
    largest number of blocks and what is judged have to be fixed before the first block; the
    rehearsal shows what they can be.

    Raises:
        HeadFailedError: head does not do what base does.
        GateError: base does not run.
    """
    maker = _Maker(gate, -1, watch)
    seconds, counting_seconds = 0.0, 0.0
    for name in (BASE, HEAD):
        began = clock()
        maker.rehearse(gate.sides[name])
        counting = clock()
        maker.count(gate.sides[name], "rehearsal")
        seconds += counting - began
        counting_seconds += clock() - counting
    return Rehearsal(seconds, counting_seconds, maker.missing_in(gate.sides[BASE]))


def run_gate(
    gate: Gate, done: Sequence[MeasuredBlock], watch: Watch, clock: Clock = time.monotonic
) -> tuple[GateDecision, tuple[MeasuredBlock, ...]]:
    """Make blocks until the gate is decided; return the decision and all blocks.

    Args:
        gate: what is compared.
        done: the blocks already made, if the gate is being resumed.
        watch: opens a live view, which receives the lines of each run.
        clock: the clock by which the budget is measured.

    Raises:
        GateError: a run stays unusable, however often it is made.
        InterruptedRunError: the user interrupted it; complete blocks are kept.
        JournalError: what was measured cannot be saved.
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
    """Return the decision if head does not do what base does."""
    verdict = GateVerdict.FAILS
    metrics = (*decision.metrics, MetricDecision("head does what base does", verdict, str(error)))
    return replace(decision, verdict=verdict, sentence=f"{verdict}: {error}", metrics=metrics)


def decided(plan: Plan, blocks: Sequence[MeasuredBlock], *, is_last: bool = False) -> GateDecision:
    """Return the decision from blocks: from their metrics, and from what went wrong in runs."""
    return decide(plan, list(map(_judged, blocks)), is_last=is_last)


def _judged(block: MeasuredBlock) -> Block:
    faults = (block.faults[BASE], block.faults[HEAD]) if block.faults else None
    return Block(block.base, block.head, faults)


def _is_used_up(gate: Gate, blocks: Sequence[MeasuredBlock]) -> bool:
    """Return whether the budget has no room for another block as long as the longest one."""
    if not blocks:
        return False
    used = sum(block.seconds + block.counting_seconds for block in blocks)
    further = max(block.seconds for block in blocks)
    if len(blocks) < COUNTED_BLOCKS:
        further += max(block.counting_seconds for block in blocks)
    return used + further > gate.settings.budget_seconds


class _Maker:
    """The maker of one block."""

    def __init__(self, gate: Gate, number: int, watch: Watch) -> None:
        self._gate = gate
        self._number = number
        self._watch = watch
        self._gathered = {BASE: _Gathered(), HEAD: _Gathered()}

    def make(self, clock: Clock) -> MeasuredBlock:
        """Make the block; counts are the same every time, so only the first blocks count."""
        began, counting_seconds = clock(), 0.0
        order = block_order(self._gate.seed, self._number)
        for turn, letter in enumerate(order, 1):
            side = self._gate.sides[_LETTERS[letter]]
            title = f"block {self._number + 1} of at most {self._gate.settings.blocks}, run {turn}"
            self._measure(side, f"{self._number + 1:02}-{turn}-{side.name}", title)
            if self._number < COUNTED_BLOCKS:
                counting = clock()
                self.count(side, title)
                counting_seconds += clock() - counting
        base, head = self._gathered[BASE], self._gathered[HEAD]
        return MeasuredBlock(
            block=self._number,
            order=order,
            seconds=clock() - began - counting_seconds,
            counting_seconds=counting_seconds,
            base=base.values,
            head=head.values,
            repeated=(*base.repeated, *head.repeated),
            faults=(
                {BASE: tuple(base.faults), HEAD: tuple(head.faults)}
                if self._gate.settings.loads
                else {}
            ),
        )

    def rehearse(self, side: Side) -> None:
        """Make a run of each load on a side."""
        self._measure(side, f"rehearsal-{side.name}", "rehearsal")

    def missing_in(self, side: Side) -> Mapping[GateMetric, str]:
        """Return the default metrics that a side did not have, and why."""
        gathered = self._gathered[side.name]
        usual = [it for it in self._gate.settings.metrics if it.is_usual]
        absent = {it: "not measured" for it in usual if it.name not in gathered.values}
        return absent | gathered.missing

    def _measure(self, side: Side, name: str, title: str) -> None:
        """Make one run of each load on a side."""
        into = self._gathered[side.name]
        for load in self._gate.settings.loads:
            path = self._gate.folder / f"{name}-{load}{RECORD_SUFFIX}"
            made = self._run(load, side, path, title)
            into.faults += [f"{fault} ({load})" for fault in faults_found(made.figures)]
            self._keep(load, made.figures, into)

    def _run(self, load: str, side: Side, path: Path, title: str) -> RunFigures:
        """Make a usable run; a server that fails counts as a fault and gets another attempt."""
        into, what = self._gathered[side.name], f"{load} on {side.name}"
        for number in range(1, TRIES + 1):
            again = beside(path, f"-again-{number}{RECORD_SUFFIX}")
            made = make_run(
                self._gate.settings.case(load, side.target),
                path if number == 1 else again,
                seed=self._gate.seed,
                title=f"{title}: {what}",
                watch=self._watch,
            )
            into.repeated += [f"{what}: {reason}" for reason in made.repeated]
            if made.valid:
                return made
            why = "; ".join(made.reasons)
            if not made.failures:
                raise GateError(f"{what}: {why}")
            into.repeated.append(f"{what}: {why}")
            into.faults.append(f"{why} ({load})")
        raise (HeadFailedError if side.name == HEAD else GateError)(f"{what}, {TRIES} times: {why}")

    def count(self, side: Side, title: str) -> None:
        """Count the code of a side.

        Raises:
            HeadFailedError: head does not do what should be counted.
            GateError: base does not, or this cannot be counted here.
        """
        for name, counted in self._gate.settings.counts.items():
            subject = Subject(counted.app, side.python, side.directory)
            metrics = [it for it in self._gate.settings.metrics if it.load == name]
            what = f"{name} of {side.name}"
            with self._watch(f"{title}: {what}"):
                try:
                    found = count(subject, counted.load, asked={it.figure for it in metrics})
                except CountError as error:
                    is_head = side.name == HEAD
                    raise (HeadFailedError if is_head else GateError)(f"{what}: {error}") from None
            self._miss(what, [it for it in metrics if it.figure not in found.figures], found)
            self._keep(name, found.figures, self._gathered[side.name])

    def _miss(self, what: str, metrics: Sequence[GateMetric], found: Count) -> None:
        """Note why default metrics cannot be counted. Raise GateError if one was requested."""
        for metric in metrics:
            kind = FIGURES[metric.figure][0]
            missing = found.missing.get(kind)
            reason = missing.reason if missing else "not counted"
            if not metric.is_usual:
                raise GateError(f"{what}: cannot count {kind}: {reason}; leave out their metrics")
            self._gathered[BASE].missing[metric] = reason

    def _keep(self, load: str, figures: Mapping[str, float], into: _Gathered) -> None:
        for metric in self._gate.settings.metrics:
            if metric.load == load and metric.figure in figures:
                into.add(metric.name, figures[metric.figure])
