"""The models that a scaling law may follow, each linear in its coefficients on some scale.

Linearity gives exact least squares, intervals in closed form, and no starting values to guess.
Coefficients are never below 0 (except for those of a power law, on its logarithms): none of our
costs shrinks as load grows, and an extrapolated parabola that bends down is nonsense.
"""

from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


class Scale(StrEnum):
    """The transform of a figure that is linear in a model's coefficients."""

    PLAIN = "plain"
    """The figure itself."""
    LOGARITHM = "logarithm"
    """Its natural logarithm."""
    COST = "cost"
    """The size over the figure: the cost of a unit of throughput, in workers."""


@dataclass(frozen=True, slots=True)
class Model:
    """One way in which a figure may grow with a size.

    Attributes:
        key: its machine-readable name; ``label`` is the human-readable one.
        formula: its formula, ``n`` being the size.
        coefficients: their names, in the order of the columns of ``basis``.
        scale: the transform of the figure that is linear in them.
        basis: returns a row of columns for each size.
    """

    key: str
    label: str
    formula: str
    coefficients: tuple[str, ...]
    scale: Scale
    basis: Callable[[Floats], Floats]

    def response(self, sizes: Floats, values: Floats) -> Floats:
        """Convert figures to the scale on which the model is linear."""
        match self.scale:
            case Scale.PLAIN:
                return values
            case Scale.LOGARITHM:
                return np.log(values)
            case Scale.COST:
                return sizes / values

    def figure(self, size: float, response: float) -> float:
        """Convert a response at a size back to the figure; infinite if it costs nothing."""
        match self.scale:
            case Scale.PLAIN:
                return response
            case Scale.LOGARITHM:
                return float(np.exp(response))
            case Scale.COST:
                return size / response if response > 0 else float("inf")


def _columns(*columns: Floats) -> Floats:
    return np.stack(columns, axis=-1)


LINE: Final = Model(
    "line",
    "line",
    "a + b·n",
    ("a", "b"),
    Scale.PLAIN,
    lambda n: _columns(np.ones_like(n), n),
)
QUADRATIC: Final = Model(
    "quadratic",
    "quadratic",
    "a + b·n + c·n²",
    ("a", "b", "c"),
    Scale.PLAIN,
    lambda n: _columns(np.ones_like(n), n, n * n),
)
LINEARITHMIC: Final = Model(
    "n_log_n",
    "n log n",
    "a + b·n·ln n",
    ("a", "b"),
    Scale.PLAIN,
    lambda n: _columns(np.ones_like(n), n * np.log(n)),
)
POWER: Final = Model(
    "power",
    "power law",
    "exp(a)·n^p",
    ("a", "p"),
    Scale.LOGARITHM,
    lambda n: _columns(np.ones_like(n), np.log(n)),
)
AMDAHL: Final = Model(
    "amdahl",
    "Amdahl",
    "n / (c + c·σ·(n−1))",
    ("c", "cσ"),
    Scale.COST,
    lambda n: _columns(np.ones_like(n), n - 1),
)
"""Speed-up bounded by a serial share (Amdahl 1967)."""
UNIVERSAL: Final = Model(
    "usl",
    "universal scalability law",
    "n / (c + c·σ·(n−1) + c·κ·n·(n−1))",
    ("c", "cσ", "cκ"),
    Scale.COST,
    lambda n: _columns(np.ones_like(n), n - 1, n * (n - 1)),
)
"""Contention σ and coherency κ (Gunther 1993; 2007, Guerrilla Capacity Planning, chapter 4)."""
