"""Target shutdown: ask a target to stop, then watch what it refuses and when it exits."""

import asyncio
import base64
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from time import perf_counter_ns
from typing import Any, Final

import psutil

from loadtests.plan.plan import Endpoint, split_url
from loadtests.plan.template import fill
from loadtests.run import probe

PROBE_NUMBER: Final = 999_999_999
_POLL_SECONDS: Final = 0.01
_PROBE_SECONDS: Final = 0.1
# How long a process's helpers, such as Python's resource tracker, take to see that it has ended.
_GRACE_SECONDS: Final = 5.0


@dataclass(slots=True)
class TargetEnd:
    """The end of a target shutdown; times are nanoseconds since the signal.

    Attributes:
        refused_status: HTTP status of the first refused handshake, None if none was requested in
            time or nothing answered.
        accepted: handshakes that were still completed after the signal.
        exit_ns: when the root process had ended, None if it has not.
        exit_status: its exit status, if the run started it.
        left: processes of its tree that kept running without it.
    """

    refused_status: int | None = None
    refused_ns: int | None = None
    accepted: int = 0
    exit_ns: int | None = None
    exit_status: int | None = None
    left: list[int] = field(default_factory=list)

    def detail(self, errors: Mapping[str, int]) -> dict[str, Any]:
        """Return it as the detail of an event of the record."""
        return {
            "refused_status": self.refused_status,
            "refused_seconds": _seconds(self.refused_ns),
            "accepted": self.accepted,
            "exit_seconds": _seconds(self.exit_ns),
            "exit_status": self.exit_status,
            "left": self.left,
            "errors": dict(errors),
        }


@dataclass(frozen=True, slots=True)
class TargetShutdown:
    """The shutdown of a target.

    Attributes:
        pid: the root of its process tree.
        url, endpoint: where handshakes are tried while it stops; only for ``ws://``.
        within_seconds: how long after the signal it may take to exit.
        expected_status: the exit status that it should have.
        exit_status: returns its exit status once it has one; None if the run did not start it.
        restart: starts it again, if wanted, and returns its new process.
    """

    pid: int
    url: str
    endpoint: Endpoint
    signum: signal.Signals
    within_seconds: float
    expected_status: int
    exit_status: Callable[[], int | None] | None
    restart: Callable[[], Awaitable[int]] | None = None

    def processes(self) -> tuple[psutil.Process, ...]:
        """Return the target's process tree as it is now."""
        root = psutil.Process(self.pid)
        return (root, *root.children(recursive=True))

    def send(self) -> int:
        """Signal the root process; return the time just before, by CLOCK_MONOTONIC."""
        now_ns = perf_counter_ns()
        os.kill(self.pid, self.signum)
        return now_ns

    async def watch(self, signal_ns: int, tree: tuple[psutil.Process, ...]) -> TargetEnd:
        """Watch the target until it and its processes have ended, or the time is up."""
        end = TargetEnd()
        probing = asyncio.create_task(self._try_handshakes(signal_ns, end))
        try:
            async with asyncio.timeout(self.within_seconds):
                await self._until_exit()
            end.exit_ns = perf_counter_ns() - signal_ns
            end.exit_status = None if self.exit_status is None else self.exit_status()
            await _until_gone(tree)
        except TimeoutError:
            pass
        finally:
            probing.cancel()
            await asyncio.wait((probing,))
        end.left = [process.pid for process in tree[1:] if _runs(process)]
        return end

    def errors(self, end: TargetEnd) -> dict[str, int]:
        """Name what was not as expected."""
        errors = {}
        if end.exit_ns is None:
            errors["drain:target did not exit"] = 1
        elif end.exit_status not in (None, self.expected_status):
            errors[f"drain:exit status {end.exit_status}"] = 1
        if end.left and end.exit_ns is not None:
            errors["drain:process left behind"] = len(end.left)
        return errors

    async def _until_exit(self) -> None:
        # The start time of a process distinguishes it from a later one with the same number.
        while self._is_running():  # noqa: ASYNC110 - another process's state
            await asyncio.sleep(_POLL_SECONDS)

    def _is_running(self) -> bool:
        if self.exit_status is not None:
            return self.exit_status() is None
        return probe.is_alive(self.pid)

    async def _try_handshakes(self, signal_ns: int, end: TargetEnd) -> None:
        """Request a connection at intervals until one is refused."""
        if split_url(self.url).scheme != "ws":
            return
        while True:
            status = await self._handshake_status()
            if status == 101:
                end.accepted += 1
            elif status is not None:
                end.refused_status = status
                end.refused_ns = perf_counter_ns() - signal_ns
                return
            await asyncio.sleep(_PROBE_SECONDS)

    async def _handshake_status(self) -> int | None:
        """Return the HTTP status of a handshake (RFC 6455 section 4.1), None if nothing answers."""
        parts = split_url(fill(self.url, PROBE_NUMBER))
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        key = base64.b64encode(os.urandom(16)).decode()
        request = (
            f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n"
            f"Connection: Upgrade\r\nSec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        writer = None
        try:
            reader, writer = await asyncio.open_connection(self.endpoint.host, self.endpoint.port)
            writer.write(request.encode())
            words = (await reader.readline()).split()
            return int(words[1])
        except (OSError, IndexError, ValueError):
            return None
        finally:
            if writer is not None:
                writer.transport.abort()
                # Otherwise asyncio may log that the error with which the target ended it was never
                # retrieved.
                with suppress(OSError):
                    await writer.wait_closed()


async def _until_gone(tree: tuple[psutil.Process, ...]) -> None:
    async with asyncio.timeout(_GRACE_SECONDS):
        while any(_runs(process) for process in tree):  # noqa: ASYNC110 - the same
            await asyncio.sleep(_POLL_SECONDS)


def _runs(process: psutil.Process) -> bool:
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _seconds(ns: int | None) -> float | None:
    return None if ns is None else ns / 1e9
