"""What a run measured, in the form in which it is judged."""

from collections.abc import Mapping
from dataclasses import dataclass, field

Key = tuple[str, str]
"""An experiment, and the server that it is run on."""


@dataclass(frozen=True, slots=True)
class RunFigures:
    """What one run measured: its figures by name, or why they may not be judged.

    Attributes:
        repeated: why earlier attempts at it were invalid, one text for each attempt.
        failures: those of the reasons that the server or a script is to blame for.
        errors: the number of errors of each kind.
        is_final: whether repeating it would give the same.
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
