"""The model that runs speak for is chosen, and where they do not tell it is said."""

from collections.abc import Callable

import numpy as np
import pytest

from benchmarks.scaling.choice import choose, score
from benchmarks.scaling.fit import Points
from benchmarks.scaling.models import LINE, LINEARITHMIC, POWER, QUADRATIC, Floats, Model

SIZES = (2_000.0, 5_000.0, 10_000.0, 20_000.0)
TIMES = 40
GROWTH = (LINE, LINEARITHMIC, POWER)


def runs(law: Callable[[Floats], Floats], scatter: float, seed: int, repeats: int = 3) -> Points:
    n = np.repeat(SIZES, repeats)
    noise = np.exp(np.random.default_rng(seed).normal(0, scatter, len(n)))
    return Points(tuple(n.tolist()), tuple((law(n) * noise).tolist()))


@pytest.mark.parametrize(
    ("law", "scatter", "models", "right"),
    [
        (lambda n: 0.01 + 1e-5 * n + 1e-9 * n * n, 0.03, (LINE, QUADRATIC), QUADRATIC),
        (lambda n: 1e-7 * n**1.5, 0.03, GROWTH, POWER),
        (lambda n: 1e-3 * n**0.6, 0.03, GROWTH, POWER),
        (lambda n: 0.1 + 1e-5 * n, 0.003, GROWTH, LINE),
    ],
)
def test_where_runs_tell_the_right_model_is_chosen_and_others_are_excluded(
    law: Callable[[Floats], Floats], scatter: float, models: tuple[Model, ...], right: Model
) -> None:
    choices = [choose(models, runs(law, scatter, seed)) for seed in range(TIMES)]
    assert sum(it.chosen == right.key for it in choices) >= 0.9 * TIMES
    assert sum(not it.rivals for it in choices) >= 0.6 * TIMES


def test_n_log_n_is_told_from_a_line_once_runs_are_close_enough() -> None:
    choices = [
        choose((LINE, LINEARITHMIC), runs(lambda n: 1e-6 * n * np.log(n), 0.005, seed))
        for seed in range(TIMES)
    ]
    assert sum(it.chosen == "n_log_n" and not it.rivals for it in choices) >= 0.9 * TIMES


def test_the_right_model_is_hardly_ever_excluded() -> None:
    """Of a hundred at 95 % some are: with this many, no more than a fifth but by great bad luck."""
    laws: tuple[tuple[Callable[[Floats], Floats], str], ...] = (
        (lambda n: 0.002 + 1.3e-5 * n, "line"),
        (lambda n: 1e-6 * n * np.log(n), "n_log_n"),
        (lambda n: 1e-5 * n**1.05, "power"),
    )
    for law, right in laws:
        kept = 0
        for seed in range(TIMES // 2):
            choice = choose(GROWTH, runs(law, 0.1, seed))
            kept += any(it.model.key == right and it.in_question for it in choice.candidates)
        assert kept >= 0.8 * TIMES // 2


def test_where_runs_do_not_tell_it_is_said_and_the_simpler_model_is_taken() -> None:
    choices = [
        choose((LINE, QUADRATIC), runs(lambda n: 5e7 + 15_000 * n, 0.01, seed))
        for seed in range(TIMES)
    ]
    assert sum(it.chosen == "line" for it in choices) >= 0.9 * TIMES
    undecided = sum(bool(it.rivals) for it in choices if it.chosen == "line")
    # Only a quadratic that is worse, and not one that comes to the same line, can be excluded.
    assert undecided >= 0.9 * TIMES


def test_one_run_a_size_tells_no_models_apart() -> None:
    choice = choose(GROWTH, runs(lambda n: 1e-7 * n**1.5, 0.01, 1, repeats=1))
    assert len(choice.rivals) == 2
    assert all(it.beaten is None for it in choice.candidates)


def test_a_model_with_as_many_coefficients_as_sizes_is_told_of_and_not_chosen() -> None:
    n = np.repeat([1_000.0, 2_000.0, 4_000.0], 3)
    noise = np.exp(np.random.default_rng(1).normal(0, 0.01, 9))
    points = Points(tuple(n.tolist()), tuple(((1e7 + n * n) * noise).tolist()))
    choice = choose((LINE, QUADRATIC), points)
    assert choice.chosen == "line"
    assert [it.model.key for it in choice.rivals] == ["quadratic"]
    assert choice.candidates[1].reason == "quadratic needs 4 sizes to be tested"
    assert choice.candidates[1].score is None


def test_a_size_is_predicted_from_the_others_alone() -> None:
    """By hand: a power law through two of three sizes, the third left out in turn."""
    points = Points((1.0, 2.0, 4.0), (1.0, 2.0, 8.0))
    errors = (np.log(8 / 4), np.log(2 / 8**0.5), np.log(1 / 0.5))
    assert score(POWER, points) == pytest.approx(np.sqrt(np.mean(np.square(errors))))


def test_the_same_runs_give_the_same_answer() -> None:
    points = runs(lambda n: 0.002 + 1.3e-5 * n, 0.2, 1)
    assert choose(GROWTH, points) == choose(GROWTH, points)
