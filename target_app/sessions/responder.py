"""Who answers the questions of sessions: any function, found by its name."""

from __future__ import annotations

import asyncio
import ctypes
import importlib
import inspect
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from multiprocessing import get_context
from typing import TYPE_CHECKING, Final

from target_app.sessions.turns import Turns

if TYPE_CHECKING:
    from collections.abc import Callable

PROCESSES: Final = 2
"""For responders that are not ``async``: they may use the CPU for as long as they like."""

PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody wants to know."""

    session_id: str
    question_id: str
    text: str
    answer_seconds: float
    """How long the default responder takes."""


async def slow_echo(question: Question) -> str:
    """Answer with the question, after the time that the settings say: a stand-in for a model."""
    await asyncio.sleep(question.answer_seconds)
    return f"You asked: {question.text}"


def find_responder(name: str) -> Callable[[Question], object]:
    """Return the function ``module:function``; raise :class:`ValueError` if there is none."""
    module, _, function = name.partition(":")
    try:
        found = getattr(importlib.import_module(module), function)
    except (ImportError, AttributeError) as error:
        raise ValueError(f"no responder {name!r}: {error}") from error
    if not callable(found):
        raise ValueError(f"no responder {name!r}: it is not a function")
    return found  # type: ignore[no-any-return]


class Responder:
    """Produces answers: at most so many at once, to sessions in turns, never on the event loop.

    An ``async`` function runs here and is trusted to wait; any other one runs in a process of its
    own, started when first needed, so that it may use the CPU. If one of the processes dies, all
    are replaced, and what they had to answer is tried once more.
    """

    def __init__(self, name: str, at_once: int) -> None:
        self._function = find_responder(name)
        self._turns = Turns(at_once)
        self._processes: ProcessPoolExecutor | None = None

    async def answer(self, question: Question) -> str:
        """Return the answer; raise what the function raises."""
        async with self._turns.turn(question.session_id):
            if inspect.iscoroutinefunction(self._function):
                return str(await self._function(question))
            try:
                return await self._elsewhere(question)
            except BrokenProcessPool:
                # Only once: it may be this question that ends them.
                return await self._elsewhere(question)

    async def _elsewhere(self, question: Question) -> str:
        pool = self._pool()
        try:
            loop = asyncio.get_running_loop()
            return str(await loop.run_in_executor(pool, self._function, question))
        except BrokenProcessPool:
            if self._processes is pool:
                self._processes = None
                pool.shutdown(wait=False, cancel_futures=True)
            raise

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        if self._processes is not None:
            self._processes.shutdown(wait=False, cancel_futures=True)
            for process in list((self._processes._processes or {}).values()):  # noqa: SLF001
                process.terminate()

    def _pool(self) -> ProcessPoolExecutor:
        if self._processes is None:
            # Not forked: a fork would share the sockets of every client.
            self._processes = ProcessPoolExecutor(
                PROCESSES,
                mp_context=get_context("spawn"),
                initializer=_begin,
            )
        return self._processes


def _begin() -> None:
    # A terminal's Ctrl-C is for the server, which ends its processes; when it cannot, because it
    # was killed, the kernel does (prctl(2), PR_SET_PDEATHSIG).
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
