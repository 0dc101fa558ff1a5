"""A threshold holds only for a figure that was measured and is within it."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from reports.threshold import Threshold, failures, parse_threshold


@pytest.mark.parametrize(
    ("text", "threshold"),
    [
        ("latency.p99_seconds<=5ms", Threshold("latency.p99_seconds", "<=", 0.005)),
        (" errors <= 0 ", Threshold("errors", "<=", 0)),
        ("say hello.p50_seconds<=1s", Threshold("say hello.p50_seconds", "<=", 1)),
        ("connections.opened>=10k", Threshold("connections.opened", ">=", 10_000)),
        ("server.cpu_ratio<50%", Threshold("server.cpu_ratio", "<", 0.5)),
        ("server.memory_bytes<2GB", Threshold("server.memory_bytes", "<", 2e9)),
    ],
)
def test_thresholds_are_written_with_units(text: str, threshold: Threshold) -> None:
    assert parse_threshold(text) == threshold


@pytest.mark.parametrize("text", ["p99", "p99<=", "<=5", "latency.p99_seconds<=5 apples", "a==1"])
def test_what_is_no_threshold_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"not a (threshold|duration|count)"):
        parse_threshold(text)


@given(st.floats(allow_nan=False, allow_infinity=False), st.floats(allow_nan=False))
def test_a_bound_and_its_opposite_never_both_hold(found: float, bound: float) -> None:
    below, above = Threshold("f", "<=", bound), Threshold("f", ">", bound)
    failed = [threshold for threshold, _ in failures((below, above), {"f": found})]
    assert len(failed) == 1


@pytest.mark.parametrize("relation", ["<=", "<", ">=", ">"])
@pytest.mark.parametrize("figures", [{}, {"f": math.nan}])
def test_what_was_not_measured_never_holds(relation: str, figures: dict[str, float]) -> None:
    assert list(failures((Threshold("f", relation, 1.0),), figures))
