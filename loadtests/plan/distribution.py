"""Random numbers as users write them: a fixed size or time, or a distribution.

``1s`` is always that; ``uniform 0.5s..2s`` is anything in between; ``exp 1s`` has that mean;
``lognormal 200B 1.5`` has that median and that standard deviation of its logarithm;
``64B 70%, 4KiB 30%`` is one of these values.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np

from reports.units import parse_ratio

_TOLERANCE: Final = 1e-6
_FORMS: Final = "1s, uniform 1s..2s, exp 1s, lognormal 1s 0.5, or 1s 70%, 2s 30%"


class DistributionKind(StrEnum):
    """The shape of a distribution."""

    UNIFORM = "uniform"
    EXPONENTIAL = "exp"
    LOGNORMAL = "lognormal"
    CHOICE = "choice"


@dataclass(frozen=True, slots=True)
class Distribution:
    """A distribution of non-negative numbers.

    Attributes:
        numbers: lowest and highest; the mean; median and standard deviation of the logarithm; or
            the numbers to choose from.
        weights: weights of the numbers to choose from; they add up to 1.
        text: the distribution as it was written.
    """

    kind: DistributionKind
    numbers: tuple[float, ...]
    text: str
    weights: tuple[float, ...] = ()

    def draw(self, seed: int, count: int) -> list[float]:
        """Return ``count`` numbers; the same seed gives the same numbers."""
        generator = np.random.default_rng(seed)
        numbers = self.numbers
        match self.kind:
            case DistributionKind.UNIFORM:
                drawn = generator.uniform(numbers[0], numbers[1], count)
            case DistributionKind.EXPONENTIAL:
                drawn = generator.exponential(numbers[0], count)
            case DistributionKind.LOGNORMAL:
                drawn = generator.lognormal(math.log(numbers[0]), numbers[1], count)
            case DistributionKind.CHOICE:
                drawn = generator.choice(np.array(numbers), count, p=np.array(self.weights))
        return [float(number) for number in drawn]

    def __str__(self) -> str:
        return self.text


def parse_distribution(text: str, parse: Callable[[str], float]) -> Distribution:
    """Parse a distribution.

    Args:
        text: in the notation of this module's docstring.
        parse: parses one number with its unit.

    Raises:
        ValueError: invalid text; the message shows the notation.
    """
    words = text.split()
    try:
        kind, numbers, weights = _parse(text, words, parse)
    except IndexError:
        raise ValueError(f"{text!r} is not a distribution; write it like {_FORMS}") from None
    if min(numbers) < 0 or (kind is DistributionKind.LOGNORMAL and numbers[0] <= 0):
        raise ValueError(
            f"{text!r} contains a number that is too small; numbers must not be negative, and a "
            "lognormal median must be above 0"
        )
    if kind is DistributionKind.UNIFORM and numbers[0] > numbers[1]:
        raise ValueError(f"{text!r} starts above its end; write the lower number first")
    return Distribution(kind, numbers, text, weights)


def _parse(
    text: str, words: list[str], parse: Callable[[str], float]
) -> tuple[DistributionKind, tuple[float, ...], tuple[float, ...]]:
    match words[0] if words else "":
        case "uniform":
            low, _, high = " ".join(words[1:]).partition("..")
            return DistributionKind.UNIFORM, (parse(low), parse(high)), ()
        case "exp":
            return DistributionKind.EXPONENTIAL, (parse(" ".join(words[1:])),), ()
        case "lognormal":
            return DistributionKind.LOGNORMAL, (parse(words[1]), float(words[2])), ()
    if "%" not in text:
        return DistributionKind.CHOICE, (parse(text),), (1.0,)
    pairs = [part.rsplit(maxsplit=1) for part in text.split(",")]
    weights = tuple(parse_ratio(pair[1]) for pair in pairs)
    if abs(sum(weights) - 1) > _TOLERANCE:
        raise ValueError(f"the shares in {text!r} add up to {sum(weights):.0%}, not to 100 %")
    scaled = tuple(weight / sum(weights) for weight in weights)
    return DistributionKind.CHOICE, tuple(parse(pair[0]) for pair in pairs), scaled
