"""What a run measured, as it is judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Key = tuple[str, str]
"""An experiment, and the server that it is made on."""


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What one run measured: its figures by name, or why they may not be judged.

    Attributes:
        repeated: why earlier tries of it were invalid, one text for each try.
        failures: those of the reasons that are the server's or a script's doing.
        errors: how many there were of each kind.
        is_final: whether it would be the same, made again.
        record: the name of the file that it was read from; empty if none was written.
    """

    valid: bool
    reasons: tuple[str, ...]
    figures: Mapping[str, float]
    repeated: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    errors: Mapping[str, float] = field(default_factory=dict)
    is_final: bool = False
    record: str = ""
