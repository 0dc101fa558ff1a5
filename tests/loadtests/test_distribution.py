"""Sizes and times that scatter: as people write them, and as they are then drawn."""

import numpy as np
import pytest

from loadtests.plan.distribution import parse_distribution
from reports.units import parse_bytes, parse_seconds


def test_one_number_is_always_that() -> None:
    assert set(parse_distribution("64B", parse_bytes).draw(1, 10)) == {64}


def test_a_uniform_one_stays_between_its_ends() -> None:
    drawn = parse_distribution("uniform 500ms..2s", parse_seconds).draw(1, 10_000)
    assert 0.5 <= min(drawn) < 0.51
    assert 1.99 < max(drawn) <= 2.0


def test_an_exponential_one_has_its_mean() -> None:
    drawn = parse_distribution("exp 1s", parse_seconds).draw(1, 100_000)
    assert np.mean(drawn) == pytest.approx(1.0, rel=0.02)
    assert np.median(drawn) == pytest.approx(np.log(2), rel=0.02)


def test_a_lognormal_one_has_its_median_and_spread() -> None:
    drawn = parse_distribution("lognormal 200B 1.5", parse_bytes).draw(1, 100_000)
    assert np.median(drawn) == pytest.approx(200, rel=0.03)
    assert np.std(np.log(drawn)) == pytest.approx(1.5, rel=0.02)


def test_a_choice_has_its_shares() -> None:
    drawn = parse_distribution("64B 70%, 4KiB 30%", parse_bytes).draw(1, 100_000)
    assert set(drawn) == {64, 4096}
    assert drawn.count(64) == pytest.approx(70_000, rel=0.02)


def test_the_same_seed_draws_the_same() -> None:
    one = parse_distribution("exp 1s", parse_seconds)
    assert one.draw(7, 100) == one.draw(7, 100) != one.draw(8, 100)


@pytest.mark.parametrize(
    "text",
    ["", "uniform 1s", "uniform 3s..1s", "exp", "lognormal 1s", "lognormal 0s 1", "1s 70%", "-1s"],
)
def test_what_is_no_distribution_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"\S"):
        parse_distribution(text, parse_seconds)
