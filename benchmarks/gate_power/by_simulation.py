"""Simulate how often the gate would be wrong, and what it would find, as Markdown tables.

``python -m benchmarks.gate_power.by_simulation`` takes a few minutes, ``--gates 100`` some seconds.
"""

import argparse
import math
import sys
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np

from benchmarks.judging.noise import Noise, simulate_differences
from benchmarks.judging.plan import SampledMetric, plan_gate
from benchmarks.judging.sequential import Floats, lower_limit, power_shares
from benchmarks.judging.simulation import run_gates
from reports.gate_decision import GateVerdict
from reports.units import significant

SMALLEST_EFFECT: Final = 0.05
MARGIN: Final = math.log1p(SMALLEST_EFFECT)
# Ten minutes of 96 runs, as in 24 blocks of four.
BLOCKS: Final = 48
METRICS: Final = ("cpu", "memory", "rate")
EFFECTS: Final = (0.0, 0.025, 0.05, 0.075, 0.10, 0.25)
SCALES: Final = (0.02, 0.05, 0.10)
RESAMPLES: Final = 999
# The looks of a gate that looks after each block, once an interval of the median is possible.
EVERY_BLOCK: Final = range(6, BLOCKS + 1)


def bootstrap_limit(differences: Floats, level: float, generator: np.random.Generator) -> float:
    """Return the lower end of the percentile bootstrap's interval of the median (Efron 1979)."""
    samples = generator.choice(differences, (RESAMPLES, differences.size))
    return float(np.quantile(np.median(samples, axis=1), level))


def bootstrap_alarms(differences: Floats, looks: Sequence[int], level: float, seed: int) -> float:
    """Return the share of the gates in which a bootstrap's limit is above 0 at any of the looks."""
    generator = np.random.default_rng(seed)
    alarms = [
        any(bootstrap_limit(gate[:look], level, generator) > 0 for look in looks)
        for gate in differences
    ]
    return float(np.mean(alarms))


def false_alarm_table(gates: int) -> Iterable[str]:
    """Yield the share of gates that fail although head is not too much worse, by kind of noise."""
    heads = "head the same | head 5 % worse | head 5 % worse: bootstrap, each block"
    yield f"| noise, 5 % a run | {heads} |"
    yield "|---|---|---|---|"
    plan = plan_gate([SampledMetric("cpu", SMALLEST_EFFECT)], BLOCKS)
    for seed, noise in enumerate(Noise):
        found = simulate_differences(noise, 0.05, (gates, BLOCKS), seed)
        same, worse = (
            run_gates(plan, [found + effect]).verdicts[GateVerdict.FAILS]
            for effect in (0.0, MARGIN)
        )
        # Only a tenth of the gates: each takes thousands of resamples.
        some = found[: max(1, gates // 10)]
        resampled = bootstrap_alarms(some, EVERY_BLOCK, plan.false_alarm, seed)
        counts = f"{same} of {gates:,} | {worse} of {gates:,}"
        yield f"| {noise} | {counts} | {resampled * len(some):.0f} of {len(some):,} |"


def power_table(gates: int) -> Iterable[str]:
    """Yield the outcomes of gates with three metrics, one of which is worse."""
    yield "| noise a run | head is worse by | fails | passes | inconclusive | blocks, mean |"
    yield "|---|---|---|---|---|---|"
    plan = plan_gate([SampledMetric(name, SMALLEST_EFFECT) for name in METRICS], BLOCKS)
    for scale in SCALES:
        found = [
            simulate_differences(Noise.OUTLIERS, scale, (gates, BLOCKS), seed)
            for seed in range(len(METRICS))
        ]
        for effect in EFFECTS:
            ended = run_gates(plan, [found[0] + math.log1p(effect), *found[1:]])
            shares = " | ".join(
                f"{100 * ended.share(verdict):.1f} %"
                for verdict in (GateVerdict.FAILS, GateVerdict.PASSES, GateVerdict.INCONCLUSIVE)
            )
            cells = f"{100 * scale:g} % | {100 * effect:g} %"
            yield f"| {cells} | {shares} | {significant(ended.blocks)} |"


def budget_table(gates: int) -> Iterable[str]:
    """Yield the outcomes of gates of three metrics by smallest effect that matters and budget."""
    yield "| noise a run | smallest effect | blocks | fails at +10 % | passes at 0 % |"
    yield "|---|---|---|---|---|"
    cases = (
        (scale, least, blocks)
        for scale in (0.02, 0.05)
        for least in (0.03, 0.05)
        for blocks in (36, 48, 60)
    )
    for scale, least, blocks in cases:
        plan = plan_gate([SampledMetric(name, least) for name in METRICS], blocks)
        found = [
            simulate_differences(Noise.OUTLIERS, scale, (gates, blocks), seed)
            for seed in range(len(METRICS))
        ]
        slower = run_gates(plan, [found[0] + math.log1p(0.10), *found[1:]])
        fails = slower.share(GateVerdict.FAILS)
        passes = run_gates(plan, found).share(GateVerdict.PASSES)
        cells = f"{100 * scale:g} % | {100 * least:g} % | {blocks}"
        yield f"| {cells} | {100 * fails:.1f} % | {100 * passes:.1f} % |"


def design_table(gates: int) -> Iterable[str]:
    """Yield how often the same 96 runs find +10 %, as blocks of two and of four, at one look."""
    yield "| noise a run | 48 blocks of AB or BA | 24 blocks of ABBA or BAAB |"
    yield "|---|---|---|"
    level, effect = 0.01 / len(METRICS), math.log1p(0.10) - MARGIN
    for noise, scale in ((kind, size) for kind in Noise for size in (0.02, 0.05)):
        powers = []
        for runs in (1, 2):
            shape = (gates, BLOCKS // runs)
            found = simulate_differences(noise, scale, shape, seed=1, runs=runs) + effect
            powers.append(np.mean([lower_limit(gate.tolist(), level) > 0 for gate in found]))
        cells = " | ".join(f"{100 * power:.1f} %" for power in powers)
        yield f"| {100 * scale:g} %: {noise} | {cells} |"


def looks_table(gates: int) -> Iterable[str]:
    """Yield how often +10 % is found by number of looks and spending, and the blocks it takes."""
    exponents = (1.0, 2.0, 3.0, 4.0)
    yield "| looks |" + "".join(f" exponent {exponent:g} |" for exponent in exponents)
    yield "|---|" + "---|" * len(exponents)
    level, effect = 0.01 / len(METRICS), math.log1p(0.10) - MARGIN
    found = [
        (simulate_differences(Noise.OUTLIERS, scale, (gates, BLOCKS), seed=2) + effect)
        for scale in (0.02, 0.05)
    ]
    for count in (1, 2, 4, 6, 12, 48):
        looks = range(BLOCKS // count, BLOCKS + 1, BLOCKS // count)
        cells = []
        for exponent in exponents:
            shares = power_shares(looks, exponent)
            cells.append("; ".join(_found(some, looks, shares, level) for some in found))
        yield f"| {count} | {' | '.join(cells)} |"
    sequences = "; ".join(_found_by_confidence_sequence(some, level, effect) for some in found)
    yield f"| each block, by a confidence sequence | {sequences} |" + " |" * (len(exponents) - 1)


def _found(differences: Floats, looks: Sequence[int], shares: Sequence[float], level: float) -> str:
    ends = [_first_alarm(gate.tolist(), looks, shares, level) for gate in differences]
    power = np.mean([end is not None for end in ends])
    blocks = np.mean([BLOCKS if end is None else end for end in ends])
    return f"{100 * power:.1f} %, {blocks:.1f}"


def _found_by_confidence_sequence(differences: Floats, level: float, effect: float) -> str:
    """Return how often the one-sided normal mixture for symmetric variables finds it, and when.

    Howard, Ramdas, McAuliffe and Sekhon, Annals of Statistics 49, 2021, equation 14, with the sum
    of squares as the variance process (symmetric variables: the same authors, 2020). Its free
    parameter is set from the true variance, which no gate knows, for the middle of the budget.
    """
    from scipy import special  # noqa: PLC0415 - as in statistics.py

    sums, squares = differences.cumsum(axis=1), (differences**2).cumsum(axis=1)
    rho = np.var(differences - effect) * BLOCKS / 2 / (2 * math.log(1 / level))
    scaled = sums / np.sqrt(squares + rho)
    evidence = math.log(2) + np.log(rho / (squares + rho)) / 2 + scaled**2 / 2
    alarms = evidence + special.log_ndtr(scaled) >= math.log(1 / level)
    found = alarms.any(axis=1)
    blocks = np.where(found, alarms.argmax(axis=1) + 1, BLOCKS)
    return f"{100 * found.mean():.1f} %, {blocks.mean():.1f}"


def _first_alarm(
    differences: Sequence[float], looks: Sequence[int], shares: Sequence[float], level: float
) -> int | None:
    tries = zip(looks, shares, strict=True)
    alarms = (n for n, share in tries if lower_limit(differences[:n], level * share) > 0)
    return next(alarms, None)


def main() -> None:
    """Print the tables of docs/gate-statistics.md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--gates", type=int, default=2000, help="of each cell of the tables")
    gates = parser.parse_args().gates
    for title, table in (
        ("False alarms", false_alarm_table),
        ("Power", power_table),
        ("Smallest effect and budget", budget_table),
        ("Blocks of two and of four", design_table),
        ("Looks and spending", looks_table),
    ):
        sys.stdout.write(f"\n{title}, {gates} gates each:\n\n")
        for line in table(gates):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
