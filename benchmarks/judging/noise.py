"""Simulated noise of the kinds that a gate meets: how much two equal servers would differ."""

import math
from enum import StrEnum
from typing import Final

import numpy as np

from benchmarks.judging.sequential import Floats

# As seen on fresh servers run in succession: one run of 24 took 26 % more CPU per message.
OUTLIER_SHARE: Final = 1 / 24
OUTLIER: Final = math.log(1.26)
# A machine that slows down within one gate by as much as ours did on its slowest day.
DRIFT: Final = math.log(1.4)
AUTOCORRELATION: Final = 0.9


class Noise(StrEnum):
    """The way in which the logarithms of successive runs scatter."""

    NORMAL = "normal"
    OUTLIERS = "normal, 1 run in 24 is 26 % higher"
    STUDENT = "Student's t, 2 degrees of freedom"
    DRIFT = "normal, drifting to 1.4 times"
    WALK = "random walk"
    AUTOREGRESSIVE = "autoregressive, 0.9"


def simulate_runs(noise: Noise, scale: float, shape: tuple[int, int], seed: int) -> Floats:
    """Return logarithms of what runs measure.

    Args:
        noise: the kind of noise.
        scale: the standard deviation of a run, of a step of the walk, or the scale of Student's t.
        shape: the number of gates, and of runs of each in the order in which they are made.
        seed: the seed of the random numbers.
    """
    generator = np.random.default_rng(seed)
    runs = generator.normal(0, scale, shape)
    match noise:
        case Noise.OUTLIERS:
            runs += OUTLIER * (generator.random(shape) < OUTLIER_SHARE)
        case Noise.STUDENT:
            runs = scale * generator.standard_t(2, shape)
        case Noise.DRIFT:
            runs += np.linspace(0, DRIFT, shape[1])
        case Noise.WALK:
            runs = runs.cumsum(axis=1)
        case Noise.AUTOREGRESSIVE:
            for run in range(1, shape[1]):
                runs[:, run] *= math.sqrt(1 - AUTOCORRELATION**2)
                runs[:, run] += AUTOCORRELATION * runs[:, run - 1]
    return runs


def simulate_differences(
    noise: Noise, scale: float, shape: tuple[int, int], seed: int, runs: int = 1
) -> Floats:
    """Return how far head lies above base in each block, as logarithms, when both are the same.

    Args:
        noise: the kind of noise.
        scale: as in :func:`simulate_runs`.
        shape: the number of gates, and of blocks of each.
        seed: the seed of the noise and of the order of runs.
        runs: the number of runs of each side in a block; one: AB or BA, two: ABBA or BAAB.
    """
    gates, blocks = shape
    logs = simulate_runs(noise, scale, (gates, blocks * 2 * runs), seed)
    by_block = logs.reshape(gates, blocks, runs, 2)
    # Every second pair of a block has the opposite order: AB, then BA.
    signs = np.where(np.arange(runs) % 2, -1, 1)
    first_is_base = np.random.default_rng([seed, 1]).choice((-1, 1), shape)
    within = (by_block[..., 1] - by_block[..., 0]) * signs
    return np.asarray(first_is_base * within.mean(axis=2), dtype=np.float64)
