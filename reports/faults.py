"""What is wrong with a server however fast it is: errors, and what its ledger counts against it.

Where a run has some, its other figures are of the messages that came, and say little of the server.
"""

from collections.abc import Mapping
from typing import Final

from reports.units import format_count

FAULTS: Final[Mapping[str, str]] = {
    "errors": "errors",
    "integrity.lost": "messages lost",
    "integrity.duplicated": "messages duplicated",
    "integrity.reordered": "messages reordered",
    "integrity.corrupted": "messages corrupted",
}
"""The figures that count them, and what each counts."""


def told_faults(figures: Mapping[str, float]) -> tuple[str, ...]:
    """Return how many faults a run has of each kind that it has any of."""
    counted = ((figures.get(name, 0.0), what) for name, what in FAULTS.items())
    return tuple(f"{format_count(count)} {what}" for count, what in counted if count)


def counts_faults(name: str) -> bool:
    """Return whether a figure itself is a count of faults, or of what they are a share of."""
    return name in FAULTS or name.startswith(("integrity.", "errors."))
