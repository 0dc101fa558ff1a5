"""Which laws a series has, when there is none, and when one says nothing of the server."""

import math
import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from benchmarks.scaling.analysis import Check, check, find, project
from benchmarks.scaling.fit import Interval
from benchmarks.scaling.laws import Axis
from benchmarks.scaling.machines import MachineSpec
from benchmarks.scaling.readings import Reading, Series
from benchmarks.scaling.report import report_on
from benchmarks.scaling.text import terminal_text
from reports.outcome import Verdict
from tests.reports.builders import header

SIZES = (1_000.0, 2_000.0, 4_000.0, 8_000.0)
WORKERS = (1.0, 2.0, 4.0, 8.0)
MACHINE = MachineSpec(2, 8e9, 20_000, 1_000_000, 1e9, 28_000)


def series(
    axis: Axis, readings: list[Reading], *, sends: bool = False, rate: float | None = None
) -> Series:
    load = {"connections": 100, "rate": rate}
    return Series(header(load=load), axis, tuple(readings), 1, sends, shares_machine=True)


def reading(size: float, figures: Mapping[str, float], *limit: str) -> Reading:
    return Reading(Path(f"{size:.0f}.run.jsonl"), size, figures, limit)


def memories(*changed: tuple[int, Any]) -> list[Reading]:
    values: dict[int, Any] = {number: 1e8 + 1e4 * size for number, size in enumerate(SIZES * 2)}
    values |= dict(changed)
    return [
        reading(size, {} if values[number] is None else {"server.memory_bytes": values[number]})
        for number, size in enumerate(SIZES * 2)
    ]


def test_a_series_against_connections_is_of_memory_cpu_and_what_it_sends() -> None:
    keys = [it.law.key for it in find(series(Axis.CONNECTIONS, memories()))]
    assert keys == ["server_memory", "kernel_memory", "idle_cpu"]
    keys = [it.law.key for it in find(series(Axis.CONNECTIONS, memories(), sends=True))]
    assert keys == ["server_memory", "kernel_memory", "load_cpu", "broadcast"]


@pytest.mark.parametrize(
    ("value", "reason", "missing"),
    [
        (None, "server.memory_bytes is missing in 4000.run.jsonl", True),
        (math.nan, "server.memory_bytes is nan in 4000.run.jsonl", True),
        (math.inf, "server.memory_bytes is inf in 4000.run.jsonl", True),
        (0.0, "0 B at 4,000 is too small to measure; use larger sizes", False),
        (-5e3, "-5.00 kB at 4,000 is too small to measure; use larger sizes", False),
    ],
)
def test_without_every_run_s_figure_there_is_no_law(
    value: float | None, reason: str, missing: bool
) -> None:
    memory = find(series(Axis.CONNECTIONS, memories((2, value))))[0]
    assert (memory.choice, memory.reason, memory.missing) == (None, reason, missing)
    assert project(memory, [1e6]) == ()


def test_a_figure_that_no_run_has_was_not_measured() -> None:
    kernel = find(series(Axis.CONNECTIONS, memories()))[1]
    assert kernel.reason == "not measured: no run has kernel.memory_growth_bytes"
    assert not kernel.missing


def test_cpu_against_rate_is_a_line_from_the_idle_share() -> None:
    rates = (500.0, 1_000.0, 2_000.0, 4_000.0)
    readings = [reading(rate, {"server.cpu_ratio": 0.01 + 1e-4 * rate}) for rate in rates * 2]
    (found,) = find(series(Axis.RATE, readings, sends=True))
    assert found.choice is not None
    assert found.choice.fit.coefficients == pytest.approx((0.01, 1e-4))


def throughputs(limit: tuple[str, ...]) -> list[Reading]:
    noise = np.exp(np.random.default_rng(1).normal(0, 0.01, 12))
    return [
        reading(
            n,
            {
                "messages.received_per_second": 1e4
                * n
                / (1 + 0.1 * (n - 1) + 0.02 * n * (n - 1))
                * factor
            },
            *limit,
        )
        for n, factor in zip(WORKERS * 3, noise, strict=True)
    ]


def test_throughput_against_workers_has_contention_and_coherency() -> None:
    (found,) = find(series(Axis.WORKERS, throughputs(("server",)), sends=True))
    assert found.choice is not None
    assert found.choice.chosen == "usl"
    assert not found.doubt
    for number, truth in ((1, 0.1), (2, 0.02)):
        interval = found.choice.fit.ratio(number, 0)
        assert interval.low <= truth <= interval.high


@pytest.mark.parametrize("limit", ["generator", "machine"])
def test_a_throughput_that_the_generator_bounds_says_nothing_of_the_server(limit: str) -> None:
    (found,) = find(series(Axis.WORKERS, throughputs((limit,)), sends=True))
    assert found.choice is not None
    assert found.doubt.startswith("in 12 of 12 runs the generator or the machine was the limit")


def test_a_throughput_that_was_asked_for_is_no_throughput() -> None:
    (found,) = find(series(Axis.WORKERS, throughputs(()), sends=True, rate=500.0))
    assert found.choice is None
    assert "throughput is what was asked of them" in found.reason


@pytest.mark.parametrize(
    ("low", "high", "verdict"),
    [
        (0.9, 1.1, Verdict.HOLDS),
        (1.1, 1.2, Verdict.REFUTED),
        (0.1, 0.9, Verdict.REFUTED),
        (0.3, 3.0, Verdict.INCONCLUSIVE),
        (0.0, 2.0, Verdict.INCONCLUSIVE),
    ],
)
def test_a_projection_that_holds_nearly_anything_has_not_held(
    low: float, high: float, verdict: Verdict
) -> None:
    assert Check(1e5, (1.0,), 1.0, Interval(1.0, low, high)).verdict is verdict


def test_beyond_ten_times_the_largest_size_is_far() -> None:
    memory = find(series(Axis.CONNECTIONS, memories()))[0]
    near, far = project(memory, [80_000, 81_000])
    assert (near.is_far, far.is_far) == (False, True)


def test_checks_are_at_95_percent_over_all_of_them_together() -> None:
    noise = np.exp(np.random.default_rng(2).normal(0, 0.05, 8))
    readings = [
        reading(size, {"server.memory_bytes": (1e8 + 1e4 * size) * factor})
        for size, factor in zip(SIZES * 2, noise, strict=True)
    ]
    one = checks(readings)[0]
    two = find(series(Axis.CONNECTIONS, readings), 2_000)[0]
    assert two.choice is None
    fit = find(series(Axis.CONNECTIONS, readings), 4_000)[0].choice
    assert fit is not None
    assert one.projected == fit.fit.prediction(8_000, 2, 0.95)
    more = [*readings, reading(16_000, {"server.memory_bytes": 2.6e8})]
    assert checks(more)[0].projected == fit.fit.prediction(8_000, 2, 0.975)
    # Those of another series of the same report count as well.
    assert checks(readings, readings)[0] == replace(
        one, projected=fit.fit.prediction(8_000, 2, 0.975)
    )


def checks(*readings: list[Reading]) -> tuple[Check, ...]:
    """Return the checks on the memory of the first of several series, fitted up to 4,000."""
    found = [find(series(Axis.CONNECTIONS, it), 4_000)[:1] for it in readings]
    return check(found)[0][0].checks


def test_throughput_that_falls_from_the_first_size_on_is_told_without_a_number_for_one() -> None:
    sizes = (2.0, 4.0, 8.0)
    figure = "messages.received_per_second"
    readings = [
        reading(n, {figure: 1000 * factor}, "server")
        for n, factor in zip(sizes * 2, (1, 0.4, 0.08) * 2, strict=True)
    ]
    report = report_on([series(Axis.WORKERS, readings, sends=True)], (), (), MACHINE)
    text = terminal_text(report, 100)
    assert "1/c, one worker    unbounded" in re.sub(" {5,}", "    ", text)
