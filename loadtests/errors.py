"""The exceptions of this room: each carries one line for a person, for the command line."""


class LoadTestError(Exception):
    """Something a person can mend: the message names what was wrong, the value, and what to do."""


class UsageError(LoadTestError):
    """An invalid parameter: exit status 2."""


class HandshakeError(Exception):
    """The server's answer to a handshake was wrong; the message is the cause: ``http-403``."""


class LimitError(LoadTestError):
    """A limit of this machine that the load does not fit under: exit status 3."""


class TargetError(LoadTestError):
    """The server under test did not start, or did not answer: exit status 3."""
