"""Swarm processes, started before their load is known: they import what they need meanwhile."""

from asyncio.subprocess import PIPE, Process, create_subprocess_exec
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Final

from loadtests.run.child_process import own_environment, own_module, sheltered

_LINE_LIMIT_BYTES: Final = 2**26


@asynccontextmanager
async def swarm_processes(count: int) -> AsyncIterator[tuple[Process, ...]]:
    """Start ``count`` processes that wait for their first command; none outlives the context."""
    processes: list[Process] = []
    async with AsyncExitStack() as ends:
        for _ in range(count):
            process = await _start()
            ends.push_async_callback(end, process)
            processes.append(process)
        yield tuple(processes)


async def _start() -> Process:
    with sheltered():
        return await create_subprocess_exec(
            *own_module("loadtests.run.swarm"),
            stdin=PIPE,
            stdout=PIPE,
            stderr=PIPE,
            limit=_LINE_LIMIT_BYTES,
            env={**own_environment(), "PYTHONUNBUFFERED": "1"},
        )


async def end(process: Process) -> None:
    """End a process that has not ended; what watches for that must not outlive the loop."""
    if process.returncode is None:
        process.kill()
    await process.wait()
