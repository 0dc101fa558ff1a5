"""Running a coroutine up to its first suspension without the cost of a task."""

from __future__ import annotations

import types
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Awaitable, Coroutine, Generator


def advance(coroutine: Coroutine[Any, Any, None]) -> Awaitable[None] | None:
    """Run ``coroutine`` until it first has to wait.

    Return None if it ended without waiting, otherwise the rest of it, to be awaited once, in any
    task. What it raises before it waits is raised here. The coroutine begins in the caller's task,
    so before its first wait it must not bind itself to a task (``asyncio.timeout``,
    ``current_task``).

    This is what makes a fan-out both cheap and safe: a send to a client that keeps up does not
    wait, and costs no more than an ``await``; one that would wait is noticed before anything waits
    for it. ``asyncio.eager_task_factory`` does the same from Python 3.12 on, with a task for each.
    """
    try:
        waiting_for = coroutine.send(None)
    except StopIteration:
        return None
    return _rest(coroutine, waiting_for)


@types.coroutine
def _rest(coroutine: Coroutine[Any, Any, None], waiting_for: Any) -> Generator[Any, Any, None]:  # noqa: ANN401
    # The future that the coroutine waits for is passed to the event loop as it is: the loop does
    # not care which task made the coroutine reach it.
    try:
        while True:
            try:
                answer = yield waiting_for
            except GeneratorExit:
                coroutine.close()
                raise
            except BaseException as error:  # noqa: BLE001 - cancellation belongs to the coroutine
                waiting_for = coroutine.throw(error)
            else:
                waiting_for = coroutine.send(answer)
    except StopIteration:
        return
