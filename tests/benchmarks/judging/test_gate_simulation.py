"""The simulations behind docs/gate-statistics.md show what they say."""

import math
import sys

import pytest

from benchmarks.gate_power import by_simulation
from benchmarks.gate_power.by_simulation import bootstrap_alarms
from benchmarks.judging.noise import Noise, simulate_differences
from benchmarks.judging.sequential import lower_limit_so_far, power_shares


def test_a_bootstrap_of_the_median_cries_wolf_where_the_exact_limit_does_not() -> None:
    gates, level, looks = 120, 0.01, range(6, 25)
    found = simulate_differences(Noise.STUDENT, 0.05, (gates, looks[-1]), seed=3)
    shares = power_shares(looks, 3)
    exact = sum(lower_limit_so_far(gate.tolist(), looks, shares, level) > 0 for gate in found)
    allowed = gates * level + 5 * math.sqrt(gates * level)
    assert exact <= allowed
    assert bootstrap_alarms(found, looks, level, seed=3) * gates > allowed


def test_every_table_is_made_with_its_rows(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", ["by_simulation", "--gates", "1"])
    by_simulation.main()
    tables = capsys.readouterr().out.split("1 gates each:")[1:]
    rows = [sum(line.startswith("|") for line in table.splitlines()) - 2 for table in tables]
    assert rows == [6, 18, 12, 12, 7]
