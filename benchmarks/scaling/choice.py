"""Choose between models by how well each predicts a size that it has not seen.

A law is fitted to be extrapolated, so that is how it is judged: each size is left out in turn, and
its runs are compared with the prediction from the others (leave-one-out cross-validation, Stone
1974, by size rather than by run, since other runs of the same size would give the answer away). The
score is the root mean square of ln(measured / predicted).

Scores are uncertain too. Runs are redrawn 400 times (each size's mean, times a residual of any run:
Efron & Tibshirani 1993, section 9.4), and a model that the best one beats in fewer than 95 % of the
draws cannot be distinguished from it. Of those, the one with the fewest coefficients is chosen, and
of equally many the one with the better score (in the spirit of the one-standard-error rule: Breiman
et al. 1984, section 3.4.3).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from benchmarks.scaling.fit import Fit, NotEnoughError, Points, fit, predict
from benchmarks.scaling.models import Floats, Model
from reports.units import rounded

DRAWS: Final = 400
TOLD_APART: Final = 0.95
_SEED: Final = 20_260
# A score below this is floating-point rounding.
_ROUNDING: Final = 1e-9


@dataclass(frozen=True, slots=True)
class Candidate:
    """A model that was tried.

    Attributes:
        fit: None if there was too little data; ``reason`` says so.
        score: its typical relative error at a left-out size, as a logarithm; None if it has as many
            coefficients as there are sizes, or was not fitted.
        beaten: the share of the draws in which the best model was better; None for the best one,
            and if there is no scatter of runs to draw from.
        in_question: whether it cannot be distinguished from the best.
    """

    model: Model
    fit: Fit | None
    reason: str = ""
    score: float | None = None
    beaten: float | None = None
    in_question: bool = False


@dataclass(frozen=True, slots=True)
class Choice:
    """The models tried on a series, and which was chosen.

    Attributes:
        chosen: the key of the chosen model; its rivals are the others in question.
    """

    candidates: tuple[Candidate, ...]
    chosen: str

    @property
    def fit(self) -> Fit:
        """The fit of the chosen model."""
        found = next(it.fit for it in self.candidates if it.model.key == self.chosen)
        assert found is not None
        return found

    @property
    def rivals(self) -> tuple[Fit, ...]:
        """The fits of the models that cannot be distinguished from the chosen one."""
        return tuple(
            it.fit
            for it in self.candidates
            if it.fit is not None and it.in_question and it.model.key != self.chosen
        )


def choose(models: Sequence[Model], points: Points) -> Choice:
    """Fit every model and choose one.

    Raises:
        NotEnoughError: none of them can be fitted and scored.
        ValueError: a figure or a size that is not finite and above 0.
    """
    tried = [_tried(model, points) for model in models]
    scored = [it for it in tried if it.score is not None]
    if not scored:
        raise NotEnoughError("; ".join(it.reason for it in tried))
    best = min(scored, key=lambda it: (rounded(it.score or 0.0, 6), len(it.model.coefficients)))
    wins = _wins(best.model, [it.model for it in scored if it is not best], points)
    judged = tuple(_judged(it, best, wins) for it in tried)
    chosen = min(
        (it for it in judged if it.in_question and it.score is not None),
        key=lambda it: (len(it.model.coefficients), it.score or 0.0),
    )
    return Choice(judged, chosen.model.key)


def _tried(model: Model, points: Points) -> Candidate:
    try:
        fitted = fit(model, points)
    except NotEnoughError as error:
        return Candidate(model, None, str(error))
    needed = len(model.coefficients) + 1
    if len(points.distinct) < needed:
        return Candidate(model, fitted, f"{model.label} needs {needed} sizes to be tested")
    return Candidate(model, fitted, score=score(model, points))


def score(model: Model, points: Points) -> float:
    """Return the root mean square of ln(measured / predicted), leaving out each size in turn."""
    return float(_scores(model, np.array(points.sizes), np.array([points.values]))[0])


def _scores(model: Model, sizes: Floats, samples: Floats) -> Floats:
    """Return the score of each sample of figures at the same sizes, one sample per row."""
    squares = [
        (
            np.mean(np.log(samples[:, sizes == left_out]), axis=1)
            - np.log(
                predict(model, sizes[sizes != left_out], samples[:, sizes != left_out], left_out)
            )
        )
        ** 2
        for left_out in np.unique(sizes)
    ]
    scores: Floats = np.sqrt(np.mean(squares, axis=0))
    return np.where(scores < _ROUNDING, 0.0, scores)


def _wins(best: Model, others: Sequence[Model], points: Points) -> dict[str, float] | None:
    """Return the share of draws in which the best beats each other; None without scatter."""
    if len(points.sizes) == len(points.distinct):
        return None
    sizes, drawn = np.array(points.sizes), _draws(points)
    bar = _scores(best, sizes, drawn)
    wins = {}
    for other in others:
        theirs = _scores(other, sizes, drawn)
        # A tie is not a win: a model that includes the best one ties with it if that one is right.
        wins[other.key] = float(np.mean((bar < theirs) & ~np.isclose(bar, theirs)))
    return wins


def _draws(points: Points) -> Floats:
    """Redraw the runs, one draw per row."""
    generator = np.random.default_rng(_SEED)
    logs, sizes = np.log(points.values), np.array(points.sizes)
    means = np.array([np.mean(logs[sizes == size]) for size in points.sizes])
    # Residuals understate the scatter, because each mean has followed its own runs.
    free = len(sizes) - len(points.distinct)
    residuals = (logs - means) * math.sqrt(len(sizes) / free)
    drawn: Floats = np.exp(means + generator.choice(residuals, (DRAWS, len(sizes))))
    return drawn


def _judged(candidate: Candidate, best: Candidate, wins: dict[str, float] | None) -> Candidate:
    if candidate.fit is None:
        return candidate
    if candidate is best:
        beaten, in_question = None, True
    elif candidate.score is None:
        # It was not tested, so nothing speaks against it.
        beaten, in_question = None, True
    else:
        beaten = None if wins is None else wins[candidate.model.key]
        in_question = beaten is None or beaten < TOLD_APART
    return Candidate(
        candidate.model, candidate.fit, candidate.reason, candidate.score, beaten, in_question
    )
