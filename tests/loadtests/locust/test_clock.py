"""The offset of another clock is never further off than its stated uncertainty."""

from hypothesis import given
from hypothesis import strategies as st

from loadtests.locust.clock import ClockEstimate, Reading

ways = st.integers(0, 50_000_000)
# (there and back, when asked) of each reading, by our clock.
readings = st.lists(st.tuples(ways, ways, st.integers(0, 10**11)), min_size=1, max_size=80)


@given(readings, st.integers(-(10**15), 10**15), st.floats(-100e-6, 100e-6))
def test_the_true_offset_lies_within_the_uncertainty(
    found: list[tuple[int, int, int]], offset_ns: int, drift: float
) -> None:
    """However long each way took, and though the other clock runs a little too fast or slow."""

    def theirs(ours_ns: int) -> int:
        return round(ours_ns * (1 + drift)) + offset_ns

    estimate = ClockEstimate()
    now_ns = 0
    for there_ns, back_ns, gap_ns in found:
        asked_ns = now_ns + gap_ns
        arrived_ns = asked_ns + there_ns
        now_ns = arrived_ns + back_ns
        estimate.add(Reading(asked_ns, theirs(arrived_ns), now_ns))
    now_ns += 10**9
    best = estimate.best(now_ns)
    assert best is not None
    assert abs(theirs(now_ns) - now_ns - best.offset_ns) <= best.uncertainty_ns + 1


@given(readings)
def test_more_readings_make_it_surer(found: list[tuple[int, int, int]]) -> None:
    estimate = ClockEstimate()
    last_ns = sum(sum(reading) for reading in found)
    before = None
    now_ns = 0
    for there_ns, back_ns, gap_ns in found[:60]:
        asked_ns = now_ns + gap_ns
        now_ns = asked_ns + there_ns + back_ns
        estimate.add(Reading(asked_ns, asked_ns + there_ns, now_ns))
        best = estimate.best(last_ns)
        assert best is not None
        assert before is None or best.uncertainty_ns <= before
        before = best.uncertainty_ns


def test_nothing_is_known_before_the_first_reading() -> None:
    assert ClockEstimate().best(0) is None
