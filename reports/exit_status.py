"""The exit statuses of every command, named once."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """What a command's exit status says."""

    HELD = 0
    """Everything that was asked about holds."""
    FAILED = 1
    """The target or a script failed, or a threshold, a claim or a gate."""
    USAGE = 2
    """The command was wrong; nothing was run."""
    INVALID = 3
    """The run cannot be judged: the generator was saturated, or met a limit of its machine."""
    INCONCLUSIVE = 4
    """It was measured and the figures do not decide."""
    INTERRUPTED = 130
    """A person or a signal ended it; the record is complete up to then."""
