"""What limited a run: the server, the generator, the machine, or none of them."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from reports.units import format_ratio

BUSY: Final = 0.9
"""The share of the time above which a thread has no headroom left: its queue grows."""
MACHINE_BUSY: Final = 0.95
"""The same for all cores together, which have room for one more thread until nearly the end."""

# What may be the limit: the figure that shows it, the bound from which it is, and the wording.
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
    """What limited a run.

    Attributes:
        parts: those of ``server``, ``generator`` and ``machine`` that were the limit.
        evidence: what was measured for each, one clause each.
        has_seen_server: whether the server's processes could be watched.
    """

    parts: tuple[str, ...]
    evidence: tuple[str, ...]
    has_seen_server: bool

    @property
    def who(self) -> str:
        """The limit in a few words."""
        if self.parts:
            return " and ".join(self.parts)
        return "none of them" if self.has_seen_server else "not the generator"

    def __str__(self) -> str:
        return f"{self.who} ({'; '.join(self.evidence)})"


def limit_of(figures: Mapping[str, float]) -> Limit | None:
    """Return what limited a run, or None if no load was measured.

    A server whose busiest thread is idle a tenth of the time could have done more, and so could a
    generator that neither ran nor waited for a core; then the load was all that was requested.
    """
    if "swarm.runnable_ratio" not in figures:
        return None
    measured = [
        (part, figures[name], bound, wording)
        for part, name, bound, wording in _PARTS
        if name in figures
    ]
    return Limit(
        parts=tuple(part for part, value, bound, _ in measured if value >= bound),
        # The kernel's clock misses anything that runs for less than one of its ticks: a machine
        # that it shows as lightly used may well have done more.
        evidence=tuple(
            wording.format(format_ratio(value))
            for part, value, bound, wording in measured
            if part != "machine" or value >= bound
        ),
        has_seen_server="server.busiest_thread_ratio" in figures,
    )
