"""Exceptions of this package; each message is one line for the command-line user."""


class LoadTestError(Exception):
    """An error the user can fix: the message names what was wrong, the value, and what to do."""


class UsageError(LoadTestError):
    """An invalid parameter: exit status 2."""


class HandshakeError(Exception):
    """An invalid answer of the server to a handshake; the message is the cause: ``http-403``."""


class LimitError(LoadTestError):
    """A limit of this machine that the load would exceed: exit status 3."""


class TargetError(LoadTestError):
    """A server under test that did not start, or did not answer: exit status 3."""
