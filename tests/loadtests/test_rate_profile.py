"""A rate that changes: its integral, its inverse, and arrivals that follow it."""

import math
from itertools import takewhile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loadtests.plan.rate_profile import Profile, Segment, parse_profile
from loadtests.plan.schedule import NEVER_NS, ArrivalKind, profile_arrivals

rates = st.sampled_from([0.0, 1.0, 10.0, 333.3])
segments = st.builds(Segment, rates, rates, st.sampled_from([0.1, 1.0, 7.5]))
profiles = st.builds(lambda *parts: Profile(parts), segments, segments, segments).filter(
    lambda profile: profile.arrivals > 0
)


def times(profile: Profile, kind: ArrivalKind, part: float = 1.0, phase: float = 0.0) -> list[int]:
    found = profile_arrivals(profile, kind, part=part, seed=1, phase=phase)
    return list(takewhile(lambda time: time < NEVER_NS, found))


def integral(profile: Profile, seconds: float) -> float:
    """Add up the area under a profile, by another way than its own."""
    area = 0.0
    for segment in profile.segments:
        part = min(max(seconds, 0.0), segment.seconds)
        rate = segment.begin + (segment.end - segment.begin) * part / segment.seconds
        area += (segment.begin + rate) / 2 * part
        seconds -= segment.seconds
    return area


@given(profiles, st.floats(0, 0.999))
def test_the_inverse_of_the_integral_is_exact(profile: Profile, share: float) -> None:
    arrivals = profile.arrivals * share
    assert integral(profile, profile.seconds_to(arrivals)) == pytest.approx(
        arrivals, rel=1e-6, abs=1e-6
    )


@given(profiles)
def test_nothing_arrives_past_the_end(profile: Profile) -> None:
    assert profile.seconds_to(profile.arrivals * 1.001 + 1) == math.inf
    found = times(profile, ArrivalKind.CONSTANT)
    assert found == sorted(found)
    assert abs(len(found) - profile.arrivals) <= 1
    assert all(time <= profile.seconds * 1e9 + 1 for time in found)


@given(profiles, st.integers(2, 5))
def test_the_parts_of_processes_interleave_and_add_up(profile: Profile, parts: int) -> None:
    together = sorted(
        time
        for part in range(parts)
        for time in times(profile, ArrivalKind.CONSTANT, 1 / parts, phase=part / parts)
    )
    alone = times(profile, ArrivalKind.CONSTANT)
    assert abs(len(together) - len(alone)) <= 1
    both = slice(0, min(len(alone), len(together)) - 1)
    # Where the rate is near zero, a rounding error in what has arrived is a long time; so what has
    # arrived by then is compared.
    arrived = [integral(profile, time / 1e9) for time in together[both]]
    assert arrived == pytest.approx([integral(profile, time / 1e9) for time in alone[both]])


def test_poisson_arrivals_follow_the_profile() -> None:
    profile = parse_profile("0..1000/s for 10s, 2k/s for 5s")
    found = np.array(times(profile, ArrivalKind.POISSON)) / 1e9
    # Mapped forward again, they are those of a Poisson process of rate 1.
    gaps = np.diff([integral(profile, time) for time in found])
    assert len(found) == pytest.approx(15_000, abs=4 * 15_000**0.5)
    assert stats.kstest(gaps, "expon").pvalue > 0.001
    assert np.count_nonzero(found < 5) == pytest.approx(1250, abs=4 * 1250**0.5)


@pytest.mark.parametrize(
    ("text", "seconds", "arrivals"),
    [
        ("100/s for 3s", 3.0, 300.0),
        ("0..1k/s for 10s, 1k/s for 30s, 5k/s for 2s, 1k..0/s for 5s", 47.0, 47_500.0),
        ("5 for 500ms", 0.5, 2.5),
    ],
)
def test_profiles_are_read_as_people_write_them(text: str, seconds: float, arrivals: float) -> None:
    profile = parse_profile(text)
    assert (profile.seconds, profile.arrivals) == (seconds, arrivals)
    assert parse_profile(str(profile)) == profile


@pytest.mark.parametrize("text", ["", "5", "5 for", "5/h for 3s", "5..x for 3s", "5 for 0s"])
def test_what_is_no_profile_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"write it like|negative rate"):
        parse_profile(text)
