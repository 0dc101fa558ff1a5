"""A message that is passed or failed by hand, like a response of Locust's clients."""

from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from locust.exception import (
    CatchResponseError,
    InterruptTaskSet,
    RescheduleTask,
    RescheduleTaskImmediately,
    ResponseError,
    StopTest,
    StopUser,
)

from loadtests.errors import UsageError
from loadtests.locust.gevent_connection import Message

Record = Callable[[Exception | None], None]

# Exceptions that end a task, a user or the test, and say nothing about a response.
_ENDS: Final = (InterruptTaskSet, RescheduleTask, RescheduleTaskImmediately, StopTest, StopUser)


class CaughtResponse:
    """The result of an operation with ``catch_response=True``; its request is counted on exit.

    ::

        with self.ask("order", within=5, name="order", catch_response=True) as response:
            if "sold out" in response.message:
                response.failure("sold out")

    The last verdict counts. Without one, the request has failed if no message came or if the block
    raises an exception, which names the failure. The exception propagates, except for a
    ``locust.exception.ResponseError`` that is the only verdict; the end of a task or a user is not
    a failure. The time is that until the message came, however long the block takes. Without
    ``with``, nothing is counted.

    Attributes:
        error: why no message came; None if one did.
    """

    __slots__ = (
        *("_cause", "_has_entered", "_has_left", "_is_judged", "_message", "_record", "error"),
    )

    def __init__(self, message: Message | None, error: Exception | None, record: Record) -> None:
        """Create a response that is yet to be entered.

        Args:
            message: the message that came.
            error: why none came.
            record: counts the request as passed, or as failed by its cause.
        """
        self.error = error
        self._message = message
        self._record = record
        self._has_entered = self._has_left = self._is_judged = False
        self._cause: Exception | None = None

    @property
    def message(self) -> Message:
        """The message that came.

        Raises:
            WebSocketUserError: none came.
        """
        if self._message is None:
            assert self.error is not None
            raise self.error
        return self._message

    def success(self) -> None:
        """Count the request as passed, even if no message came."""
        self._judge(None)

    def failure(self, why: object) -> None:
        """Count the request as failed.

        Args:
            why: an exception, or the text under which Locust counts it: the same for all that fail
                in this way.
        """
        self._judge(why if isinstance(why, Exception) else CatchResponseError(why))

    def __enter__(self) -> Self:
        if self._has_entered:
            raise UsageError("a response is counted only once: send another request")
        self._has_entered = True
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        raised: BaseException | None,
        trace: TracebackType | None,
    ) -> bool:
        self._has_left = True
        cause = self._cause if self._is_judged else self.error
        if isinstance(raised, Exception) and not (self._is_judged or isinstance(raised, _ENDS)):
            cause = raised
        self._record(cause)
        return isinstance(raised, ResponseError) and not self._is_judged

    def _judge(self, cause: Exception | None) -> None:
        if self._has_left or not self._has_entered:
            raise UsageError(
                "success() and failure() must be called within the response's with block"
            )
        self._is_judged, self._cause = True, cause
