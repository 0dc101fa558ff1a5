"""Which limit bites first, and how many machines that means, is arithmetic on what was stated."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.scaling.fit import Fit, Points, fit
from benchmarks.scaling.machines import MachineSpec, bounds_of, workers_needed
from benchmarks.scaling.models import LINE

MACHINE = MachineSpec(
    cores=4,
    memory_bytes=16e9,
    files=10_000,
    files_machine=500_000,
    tcp_memory_bytes=4096 * 300_000,
    ports=28_000,
)


def exact(start: float, slope: float) -> Fit:
    """A line without scatter: what is projected is known."""
    sizes = np.array([1e3, 2e3, 4e3, 1e3, 2e3, 4e3])
    return fit(LINE, Points(tuple(sizes.tolist()), tuple((start + slope * sizes).tolist())))


def test_each_limit_is_what_one_would_reckon_by_hand() -> None:
    laws = {
        "server_memory": exact(1e9, 20_000),
        "kernel_memory": exact(1e6, 10_000),
        "idle_cpu": exact(0.01, 1e-4),
    }
    held = {it.key: it for it in bounds_of(MACHINE, laws)}
    assert held["files"].fits == 40_000
    assert held["idle_cpu"].fits == pytest.approx((4 - 0.01) / 1e-4, abs=2)
    assert held["files_machine"].fits == 500_000
    assert held["tcp_memory"].fits == 300_000
    assert held["memory"].fits == pytest.approx((16e9 - 1.001e9) / 30_000, abs=2)
    assert [it.machines(1e6) for it in held.values()] == [26, 25, 4, 3, 2]
    assert next(iter(held)) == "idle_cpu"


def test_a_proxy_in_front_bounds_by_its_ports() -> None:
    assert "ports" not in {it.key for it in bounds_of(MACHINE, {})}
    spec = MachineSpec(4, 16e9, 10**6, 10**7, 1e12, 28_000, proxy_sources=2)
    first = bounds_of(spec, {})[0]
    assert (first.key, first.fits, first.machines(1e6)) == ("ports", 56_000, 18)


def test_what_was_not_measured_bounds_nothing_and_is_not_told() -> None:
    assert {it.key for it in bounds_of(MACHINE, {})} == {"files", "files_machine", "tcp_memory"}


def test_a_machine_that_holds_none_is_no_machine() -> None:
    tiny = MachineSpec(4, 1e6, 10_000, 500_000, 1e9, 28_000)
    memory = next(
        it for it in bounds_of(tiny, {"server_memory": exact(1e9, 1.0)}) if it.key == "memory"
    )
    assert memory.fits == 0
    assert math.isinf(memory.machines(10))


def test_workers_are_as_many_as_need_a_core_each() -> None:
    assert workers_needed(exact(0.01, 1e-4), 1e6) == 101
    assert workers_needed(exact(0.01, 1e-6), 1e3) == 1


@given(st.floats(1, 1e8), st.floats(1.0, 50))
def test_more_connections_never_need_fewer_machines(connections: float, more: float) -> None:
    laws = {"server_memory": exact(1e9, 20_000), "idle_cpu": exact(0.01, 1e-4)}
    for bound in bounds_of(MACHINE, laws):
        machines = bound.machines(connections)
        assert bound.machines(connections * more) >= machines
        # And as many machines do hold them.
        assert machines * bound.fits >= connections
