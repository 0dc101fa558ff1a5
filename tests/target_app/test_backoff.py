"""How long to wait before trying again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from target_app.backoff import Backoff

draws = st.floats(min_value=0, max_value=1)
failures = st.integers(min_value=0, max_value=100_000)


@pytest.mark.parametrize(
    ("failed", "shortest", "longest"), [(0, 2.5, 5), (1, 5, 10), (2, 10, 20), (4, 30, 60)]
)
def test_the_wait_doubles_up_to_its_limit(failed, shortest, longest):
    backoff = Backoff(5.0, 60.0)
    assert backoff.seconds(failed, 0.0) == shortest
    assert backoff.seconds(failed, 1.0) == longest


@given(failures, draws, st.floats(min_value=1e-3, max_value=100))
def test_every_wait_is_between_half_the_first_and_the_longest(failed, draw, first):
    seconds = Backoff(first, 60.0).seconds(failed, draw)
    assert first / 2 <= seconds <= max(first, 60.0)


@given(failures, draws)
def test_another_failure_never_shortens_the_wait(failed, draw):
    backoff = Backoff(0.1, 60.0)
    assert backoff.seconds(failed + 1, draw) >= backoff.seconds(failed, draw)
