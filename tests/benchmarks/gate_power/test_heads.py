"""A head's burden follows from what servers took, and from nothing that was timed by itself."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.gate.sides import BASE
from benchmarks.gate_power.heads import Burden, doubling_loops, heads_by

MESSAGE = st.floats(1e-6, 1e-3)


@given(st.lists(MESSAGE, min_size=1, max_size=9), st.floats(0.01, 10), st.integers(1, 100_000))
def test_a_burden_costs_the_share_that_it_is_called_after(
    base: list[float], of_message: float, loops: int
) -> None:
    burdened = [it * (1 + of_message) for it in base]
    doubling = doubling_loops(base, burdened, loops)
    assert doubling * of_message == pytest.approx(loops)


def test_one_disturbed_run_does_not_size_a_burden() -> None:
    assert doubling_loops([1, 1, 1, 1, 9], [2, 2, 2, 2, 2], 5000) == pytest.approx(5000)


def test_a_loop_that_takes_nothing_sizes_no_burden() -> None:
    with pytest.raises(ValueError, match=r"5000 turns of the loop took no CPU: -10\.0%"):
        doubling_loops([1.0], [0.9], 5000)


def test_the_heads_are_base_with_more() -> None:
    heads = heads_by(4000)
    assert heads[BASE] == heads["the same"] == Burden()
    assert [heads[it].loops for it in ("+5 % CPU", "+10 % CPU", "+25 % CPU")] == [200, 400, 1000]
    assert heads["+2 KiB"] == Burden(kept_bytes=2048)
