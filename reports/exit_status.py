"""The exit statuses of all commands, defined once."""

from enum import IntEnum


class ExitStatus(IntEnum):
    """The meaning of a command's exit status."""

    HELD = 0
    """Everything that was checked holds."""
    FAILED = 1
    """The target, a script, a threshold, a claim or a gate failed."""
    USAGE = 2
    """The command was wrong; nothing was run."""
    INVALID = 3
    """The run cannot be judged: the generator was saturated, or hit a limit of its machine."""
    INCONCLUSIVE = 4
    """The measurements were made, but the figures do not decide."""
    INTERRUPTED = 130
    """A user or a signal ended it; the record is complete up to then."""
