"""Cancellation that a library has kept from a task."""

from __future__ import annotations

import asyncio


def heed_cancellation() -> None:
    """Raise CancelledError if this task was asked to end, and goes on all the same.

    Before Python 3.12 ``asyncio.wait_for`` swallows a cancellation that comes in the moment in
    which what it waits for is done (python/cpython#86296), and redis-py writes each command within
    one. A loop that looks at nothing else would go on for ever.
    """
    task = asyncio.current_task()
    if task is not None and task.cancelling():
        raise asyncio.CancelledError
