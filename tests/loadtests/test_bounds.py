"""What the generator must keep to is written by people, and comes back from a record's command."""

from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.plan.bounds import Bounds, changed, formatted, parse_bounds

BOUNDS = st.builds(
    Bounds,
    **{field.name: st.floats(0, 1e3).map(lambda it: float(f"{it:g}")) for field in fields(Bounds)},
)


@given(BOUNDS)
def test_what_is_changed_is_all_there_is_to_say(bounds: Bounds) -> None:
    assert parse_bounds(changed(bounds)) == bounds
    assert len(list(formatted(bounds))) == len(list(changed(bounds)))


def test_a_unit_may_stand_with_it() -> None:
    bounds = parse_bounds(["lateness_p99_seconds=20ms", "runnable_ratio=99%"])
    assert bounds == Bounds(lateness_p99_seconds=0.02, runnable_ratio=0.99)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("lateness=20ms", "'lateness=20ms' is not a bound; write NAME=VALUE, with one of lateness"),
        ("gc_pause_seconds", "is not a bound"),
        ("gc_pause_seconds=soon", "'soon'"),
        ("runnable_ratio=-1", "0 or more"),
        ("runnable_ratio=nan", "'nan'"),
    ],
)
def test_what_is_no_bound_is_refused(text: str, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        parse_bounds([text])
