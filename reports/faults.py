"""What is wrong with a server however fast it is: errors, and what the ledger counts against it.

If a run has any, its other figures cover only the messages that arrived, and say little about the
server.
"""

from collections.abc import Mapping
from typing import Final

from reports.units import format_count

LEDGER_FAULTS: Final = ("lost", "duplicated", "reordered", "corrupted")
"""What can be wrong with a message. A corrupted one also counts as lost: it is not a second one."""
FAULTS: Final[Mapping[str, str]] = {
    "errors": "errors",
    **{f"integrity.{fault}": f"messages {fault}" for fault in LEDGER_FAULTS},
}
"""The figures that count faults, and what each counts."""


def faults_found(figures: Mapping[str, float]) -> tuple[str, ...]:
    """Return the number of faults of each kind that occurred in a run."""
    counted = ((figures.get(name, 0.0), what) for name, what in FAULTS.items())
    return tuple(f"{format_count(count)} {what}" for count, what in counted if count)


def counts_faults(name: str) -> bool:
    """Return whether a figure itself counts faults, or the total that they are a share of."""
    return name in FAULTS or name.startswith(("integrity.", "errors."))
