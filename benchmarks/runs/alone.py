"""What a primitive costs by itself: a suspended coroutine, its task, a waiting thread.

Runs as ``python -m benchmarks.runs.alone coroutine|thread COUNT`` in a fresh process, because
Python seldom returns memory that it once took, and prints one JSON object of figures.
"""

import asyncio
import gc
import json
import sys
import threading
from collections.abc import Callable, Generator, Mapping
from pathlib import Path
from typing import Any, Final

import psutil

_THREAD_START_SECONDS: Final = 60.0


class _Suspend:
    """An awaitable that returns control to the coroutine's driver, and waits for ever."""

    def __await__(self) -> Generator[None, None, None]:
        yield


async def _wait_for_ever() -> None:
    await _Suspend()


def coroutine_memory(count: int) -> dict[str, float]:
    """Measure a suspended coroutine, and one with the asyncio task that it needs to be scheduled.

    Returns:
        ``coroutine.memory_bytes`` and ``coroutine.task_memory_bytes``: private memory of the
        process (USS) per coroutine, without and with its task.
    """
    # The first are kept while the second are made: freed memory would be reused unnoticed.
    bare, held = _growth_bytes(lambda: _suspended(count))
    for coroutine in held:
        coroutine.close()
    with_task = asyncio.run(_task_growth_bytes(count))
    return {
        "coroutine.memory_bytes": bare / count,
        "coroutine.task_memory_bytes": with_task / count,
    }


def _suspended(count: int) -> list[Any]:
    held = [_wait_for_ever() for _ in range(count)]
    for coroutine in held:
        coroutine.send(None)
    return held


async def _task_growth_bytes(count: int) -> float:
    loop = asyncio.get_running_loop()
    release = loop.create_future()

    async def wait() -> None:
        await release

    before = _private_bytes()
    held = [loop.create_task(wait()) for _ in range(count)]
    # One iteration of the loop runs every task up to its wait.
    await asyncio.sleep(0)
    growth = _private_bytes() - before
    release.set_result(None)
    await asyncio.gather(*held)
    return growth


def thread_memory(count: int) -> dict[str, float]:
    """Measure a thread that does nothing but wait.

    Returns:
        ``thread.resident_bytes``: private memory per thread; ``thread.virtual_bytes``: address
        space per thread, which is mostly a stack that was never touched;
        ``thread.kernel_stack_bytes``: the kernel's own stack for it.
    """
    release = threading.Event()
    started = threading.Barrier(count + 1)

    def wait() -> None:
        started.wait(_THREAD_START_SECONDS)
        release.wait()

    virtual, kernel = psutil.Process().memory_info().vms, _kernel_stack_bytes()

    def start() -> list[threading.Thread]:
        threads = [threading.Thread(target=wait) for _ in range(count)]
        for thread in threads:
            thread.start()
        started.wait(_THREAD_START_SECONDS)
        return threads

    resident, threads = _growth_bytes(start)
    figures = {
        "thread.resident_bytes": resident / count,
        "thread.virtual_bytes": (psutil.Process().memory_info().vms - virtual) / count,
        "thread.kernel_stack_bytes": (_kernel_stack_bytes() - kernel) / count,
    }
    release.set()
    for thread in threads:
        thread.join()
    return figures


def _growth_bytes(make: Callable[[], list[Any]]) -> tuple[float, list[Any]]:
    """Return how much private memory grew while ``make`` ran, and what it made."""
    gc.collect()
    before = _private_bytes()
    made = make()
    return _private_bytes() - before, made


def _private_bytes() -> float:
    return float(psutil.Process().memory_full_info().uss)


def _kernel_stack_bytes() -> float:
    for line in Path("/proc/meminfo").read_text().splitlines():
        if line.startswith("KernelStack:"):
            return float(line.split()[1]) * 1024
    raise KeyError("KernelStack")


SUBJECTS: Final[Mapping[str, Callable[[int], dict[str, float]]]] = {
    "coroutine": coroutine_memory,
    "thread": thread_memory,
}


def main() -> None:
    """Measure what the arguments name and print the figures."""
    subject, count = sys.argv[1], int(sys.argv[2])
    print(json.dumps(SUBJECTS[subject](count)))


if __name__ == "__main__":
    main()
