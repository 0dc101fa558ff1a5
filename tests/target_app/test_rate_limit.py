"""The token bucket, at given times."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from target_app.connections.rate_limit import TokenBucket

pauses = st.lists(st.floats(min_value=0, max_value=10), max_size=200)


@given(st.floats(min_value=0.1, max_value=100), st.floats(min_value=1, max_value=50), pauses)
def test_never_more_passes_than_the_burst_and_what_was_earned(rate, burst, steps):
    now, passed = 1000.0, 0
    bucket = TokenBucket(rate, burst, now)
    for step in steps:
        now += step
        passed += bucket.take(now)
        assert passed <= burst + (now - 1000.0) * rate + 1e-6


@given(st.floats(min_value=0.1, max_value=100), st.integers(min_value=1, max_value=100))
def test_whoever_keeps_to_the_rate_is_never_stopped(rate, count):
    bucket = TokenBucket(rate, 1.0, 0.0)
    assert all(bucket.take(n * (1.001 / rate)) for n in range(count))


def test_a_full_burst_passes_at_once_and_no_more():
    bucket = TokenBucket(5.0, 3.0, 0.0)
    assert [bucket.take(0.0) for _ in range(5)] == [True, True, True, False, False]
    assert bucket.take(0.2)
    assert not bucket.take(0.2)
