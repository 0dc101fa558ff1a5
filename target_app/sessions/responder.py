"""The responder to the questions of sessions: any function, found by its name."""

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
"""Processes for responders that are not ``async``: these may use the CPU as long as they like."""

PR_SET_PDEATHSIG: Final = 1


@dataclass(frozen=True, slots=True)
class Question:
    """A question of a session, as passed to a responder."""

    session_id: str
    question_id: str
    text: str
    answer_seconds: float
    """How long the default responder takes."""


async def slow_echo(question: Question) -> str:
    """Return the question as its answer, after the configured time: a stand-in for a model."""
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
    """A producer of answers: ``at_once`` at most, sessions in turn, never blocking the event loop.

    An ``async`` function runs here and is trusted not to block; any other function runs in separate
    processes, started when first needed, so that it may use the CPU. If one of these dies, all are
    replaced, and whatever they had to answer is tried once more: one question after the other, each
    alone in a process, so that only a question that kills its process gets no answer.
    """

    def __init__(self, name: str, at_once: int) -> None:
        self._function = find_responder(name)
        self._turns = Turns(at_once)
        self._processes = Processes(PROCESSES)
        self._suspect = asyncio.Lock()

    async def answer(self, question: Question) -> str:
        """Return the answer; raise whatever the function raises."""
        async with self._turns.turn(question.session_id):
            if inspect.iscoroutinefunction(self._function):
                return str(await self._function(question))
            try:
                return str(await self._processes.run(self._function, question))
            except BrokenProcessPool:
                return await self._answer_alone(question)

    async def _answer_alone(self, question: Question) -> str:
        async with self._suspect:
            alone = Processes(1)
            try:
                return str(await alone.run(self._function, question))
            finally:
                alone.close()

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        self._processes.close()


class Processes:
    """A pool of ``count`` processes, started when first needed and replaced if one dies."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._pool: ProcessPoolExecutor | None = None

    async def run(self, function: Callable[[Question], object], question: Question) -> object:
        """Return what the function returns; raise :class:`BrokenProcessPool` if a process dies."""
        if self._pool is None:
            # Not forked: a fork would share the sockets of every client.
            self._pool = ProcessPoolExecutor(
                self._count, mp_context=get_context("spawn"), initializer=_begin
            )
        pool = self._pool
        try:
            return await asyncio.get_running_loop().run_in_executor(pool, function, question)
        except BrokenProcessPool:
            if self._pool is pool:
                self.close()
            raise

    def close(self) -> None:
        """End the processes, whatever they are doing."""
        if self._pool is not None:
            # Read before the pool is shut down, which forgets them.
            processes = list((self._pool._processes or {}).values())  # noqa: SLF001
            self._pool.shutdown(wait=False, cancel_futures=True)
            for process in processes:
                process.terminate()
            self._pool = None


def _begin() -> None:
    # A terminal's Ctrl-C is for the server, which ends its processes; when it cannot, because it
    # was killed, the kernel does (prctl(2), PR_SET_PDEATHSIG).
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
