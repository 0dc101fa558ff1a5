"""Where a server begins to break, with its interval: a curve through all runs of a search.

As a load grows, how often it holds falls from always to never, as a logistic curve over its
logarithm. A few runs, most of which agree, do not determine a single curve: each curve of a grid is
weighted by how likely it makes what was seen (Kontsevich and Tyler 1999, Vision Research 39:2729,
who also choose loads by it). Which loads were tried, and when the search ended, followed from what
had been seen before, and so changes no weight.
"""

from collections.abc import Sequence
from typing import Final

import numpy as np

from benchmarks.judging.capacity import STEP, Trial, TrialResult

CONFIDENCE: Final = 0.95
_KNEES: Final = 600
# The relative change of a load that changes its odds by a factor of e: from a wall to a slope.
_SPREADS: Final = np.geomspace(0.005, 0.2, 10)
# One run in fifty goes against the curve: a hiccup of the machine (Wichmann and Hill 2001).
_LAPSE: Final = 0.02


def knee_interval(trials: Sequence[Trial]) -> tuple[float, float]:
    """Return the 95 % credible interval of the load that holds in half of all runs.

    The prior is flat: within what was tried, every load and every steepness of the curve is equally
    likely. The interval reaches at most one step beyond the loads that were tried.

    Raises:
        ValueError: no run could be judged.
    """
    judged = [trial for trial in trials if trial.result is not TrialResult.NOTHING]
    if not judged:
        raise ValueError("no run could be judged")
    loads = np.log([trial.load for trial in judged])
    held = np.array([trial.result is TrialResult.HELD for trial in judged])
    knees = np.linspace(loads.min() - np.log(STEP), loads.max() + np.log(STEP), _KNEES)
    away = (loads - knees[:, None, None]) / _SPREADS[:, None]
    chance = _LAPSE + (1 - 2 * _LAPSE) * 0.5 * (1 - np.tanh(away / 2))
    weight = np.exp(np.log(np.where(held, chance, 1 - chance)).sum(axis=2)).sum(axis=1)
    share = np.cumsum(weight) / weight.sum()
    outside = (1 - CONFIDENCE) / 2
    low, high = np.searchsorted(share, (outside, 1 - outside))
    return float(np.exp(knees[low])), float(np.exp(knees[high]))
