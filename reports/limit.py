"""Who was the limit of a run: the server, the generator, the machine, or nobody."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reports.units import format_ratio

BUSY: Final = 0.9
"""The share of the time from which on a thread has no room left: what waits for it grows."""
MACHINE_BUSY: Final = 0.95
"""Of all cores, which have room for one more thread until nearly the end."""

# What may be the limit: by which figure, from where on, and in which words.
_PARTS: Final = (
    (
        "server",
        "server.busiest_thread_ratio",
        BUSY,
        "the server's busiest thread used {} of a core",
    ),
    (
        "generator",
        "swarm.runnable_ratio",
        BUSY,
        "the generator ran or waited for a core {} of the time",
    ),
    ("machine", "machine.cpu_ratio", MACHINE_BUSY, "the machine's cores were busy {} of the time"),
)


@dataclass(frozen=True, slots=True)
class Limit:
    """Who was the limit.

    Attributes:
        parts: ``server``, ``generator`` and ``machine``, those of them that were.
        evidence: what was measured of each, a clause apiece.
        has_seen_server: whether the server's processes could be watched.
    """

    parts: tuple[str, ...]
    evidence: tuple[str, ...]
    has_seen_server: bool

    @property
    def who(self) -> str:
        """Name it in a word or two."""
        if self.parts:
            return " and ".join(self.parts)
        return "none of them" if self.has_seen_server else "not the generator"

    def __str__(self) -> str:
        return f"{self.who} ({'; '.join(self.evidence)})"


def limit_of(figures: Mapping[str, float]) -> Limit | None:
    """Return who was the limit of a run, None where no load was measured.

    A server whose busiest thread is idle a tenth of the time could have done more, and so could a
    generator that neither ran nor waited for a core; then the load was all that was asked for.
    """
    if "swarm.runnable_ratio" not in figures:
        return None
    measured = [
        (part, figures[name], bound, told) for part, name, bound, told in _PARTS if name in figures
    ]
    return Limit(
        parts=tuple(part for part, value, bound, _ in measured if value >= bound),
        # The kernel's clock misses what runs for less than one of its ticks: a machine of which it
        # tells little may well have done more.
        evidence=tuple(
            told.format(format_ratio(value))
            for part, value, bound, told in measured
            if part != "machine" or value >= bound
        ),
        has_seen_server="server.busiest_thread_ratio" in figures,
    )
