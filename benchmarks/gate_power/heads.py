"""The heads of the series: what each does more than base, sized by its cost on this machine."""

import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.gate.sides import BASE

CPU: Final = "server.cpu_per_message_seconds"
MEMORY: Final = "server.memory_growth_per_connection_bytes"
SAME: Final = "the same"
LARGER: Final = "+2 KiB"
SHARES: Final = {"+5 % CPU": 0.05, "+10 % CPU": 0.10, "+25 % CPU": 0.25}
"""The heads that take more CPU per message, and the extra as a share of what base takes."""
WORSE: Final = {**dict.fromkeys(SHARES, CPU), LARGER: MEMORY}
"""The figure in which each head is worse; in the others it is the same as base."""


@dataclass(frozen=True, slots=True)
class Burden:
    """What a head does more than base: per message, and per connection."""

    loops: int = 0
    kept_bytes: int = 0
    calls: int = 0

    def words(self) -> tuple[str, ...]:
        """Return it as arguments of the burden's own command."""
        return str(self.loops), str(self.kept_bytes), str(self.calls)


def doubling_loops(base: Sequence[float], burdened: Sequence[float], loops: int) -> float:
    """Return how many iterations of the loop take as much CPU as base takes for a message.

    This is based on what servers took under load: a loop that is timed on its own, with the caches
    and the processor to itself, gives a number that is a quarter too high.

    Args:
        base: CPU per message of runs of base.
        burdened: the same for runs of base with the loop, each next to its run of base.
        loops: iterations of the loop per message in them.

    Raises:
        ValueError: the loop took nothing.
    """
    pairs = zip(base, burdened, strict=True)
    more = statistics.median(with_loop / without for without, with_loop in pairs) - 1
    if not more > 0:
        raise ValueError(f"{loops} turns of the loop took no CPU: {more:+.1%}")
    return loops / more


def heads_by(doubling: float) -> dict[str, Burden]:
    """Return base and the heads, given the iterations that take as long as a message in base."""
    slower = {name: Burden(loops=round(doubling * share)) for name, share in SHARES.items()}
    return {BASE: Burden(), SAME: Burden(), **slower, LARGER: Burden(kept_bytes=2048)}
